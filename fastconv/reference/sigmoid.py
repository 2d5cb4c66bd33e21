"""The logistic sigmoid.

Source: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors".
"""

import numpy as np

from ._geometry import check_shape, float_dtype


def sigmoid_forward(x):
    """y = 1 / (1 + exp(-x)), element by element. Any shape; y has the dtype of x.

    For x < 0 the fraction is expanded by exp(x): exp(x) / (exp(x) + 1). The argument of exp is then
    never positive, so nothing overflows.
    """
    x = np.asarray(x)
    e = np.exp(-np.abs(x.astype(np.float64)))
    y = np.where(x >= 0, 1 / (1 + e), e / (1 + e))
    return np.array(y, dtype=float_dtype(x), order="C")


@np.errstate(over="ignore", invalid="ignore")
def sigmoid_backward(dy, y):
    """dx = dy * y * (1 - y), element by element: the derivative needs only the output.

    Parameters
    ----------
    dy, y : the same shape

    Returns
    -------
    dx : that shape, in the dtype of y
    """
    dy, y = np.asarray(dy), np.asarray(y)
    check_shape("dy", dy, y.shape)
    dtype = float_dtype(y, "y")
    y = y.astype(np.float64)
    return np.array(dy * y * (1 - y), dtype=dtype, order="C")
