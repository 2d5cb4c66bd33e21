"""The affine (fully connected) layer.

Source of the gradients: Rumelhart, Hinton & Williams 1986, "Learning representations by
back-propagating errors".
"""

import numpy as np

from ._geometry import check_shape, float_dtype


@np.errstate(over="ignore", invalid="ignore")
def affine_forward(x, w, b):
    """y = x w + b: a weighted sum of all inputs for each output.

    ::

        y[n, m] = b[m] + sum over d of x[n, d] * w[d, m]

    Parameters
    ----------
    x : (N, D)
    w : (D, M)
    b : (M,)

    Returns
    -------
    y : (N, M), in the dtype of x
    """
    x, w, b = np.asarray(x), np.asarray(w), np.asarray(b)
    dtype = float_dtype(x)
    (N, D), M = x.shape, w.shape[-1]
    check_shape("w", w, (D, M))
    check_shape("b", b, (M,))
    x, w, b = x.astype(np.float64), w.astype(np.float64), b.astype(np.float64)

    y = np.empty((N, M))
    for n, m in np.ndindex(N, M):
        y[n, m] = b[m] + (x[n] * w[:, m]).sum()
    return y.astype(dtype)


@np.errstate(over="ignore", invalid="ignore")
def affine_backward(dy, x, w):
    """Gradients of a scalar loss with respect to x, w and b: dx = dy w^T, dw = x^T dy, db = sum dy.

    The chain rule, one output at a time::

        for every n, m:
            dx[n]    += dy[n, m] * w[:, m]
            dw[:, m] += dy[n, m] * x[n]
            db[m]    += dy[n, m]

    Parameters
    ----------
    dy : (N, M)
    x : (N, D)
    w : (D, M)

    Returns
    -------
    dx, dw, db : (N, D), (D, M) and (M,), in the dtype of x
    """
    dy, x, w = np.asarray(dy), np.asarray(x), np.asarray(w)
    dtype = float_dtype(x)
    (N, D), M = x.shape, w.shape[-1]
    check_shape("w", w, (D, M))
    check_shape("dy", dy, (N, M))
    dy, x, w = dy.astype(np.float64), x.astype(np.float64), w.astype(np.float64)

    dx, dw, db = np.zeros((N, D)), np.zeros((D, M)), np.zeros(M)
    for n, m in np.ndindex(N, M):
        dx[n] += dy[n, m] * w[:, m]
        dw[:, m] += dy[n, m] * x[n]
        db[m] += dy[n, m]
    return dx.astype(dtype), dw.astype(dtype), db.astype(dtype)
