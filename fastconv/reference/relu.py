"""The rectified linear unit.

Source: Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".
"""

import numpy as np

from ._geometry import check_shape, float_dtype


def relu_forward(x):
    """y = max(x, 0), element by element. NaN stays NaN. Any shape; y has the dtype of x."""
    x = np.asarray(x)
    return np.array(np.maximum(x, 0), dtype=float_dtype(x), order="C")


def relu_backward(dy, y):
    """dx = dy where y > 0, else 0, element by element.

    The derivative is taken as 0 at the kink. y > 0 exactly where x > 0, so the output is enough and
    x need not be kept. Where y is NaN, y > 0 is false and dx is 0.

    Parameters
    ----------
    dy, y : the same shape

    Returns
    -------
    dx : that shape, in the dtype of y
    """
    dy, y = np.asarray(dy), np.asarray(y)
    check_shape("dy", dy, y.shape)
    return np.array(np.where(y > 0, dy, 0), dtype=float_dtype(y, "y"), order="C")
