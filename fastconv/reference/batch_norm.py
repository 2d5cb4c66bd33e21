"""Batch normalization, per channel over the batch and the spatial axes.

Source: Ioffe & Szegedy 2015, "Batch normalization: accelerating deep network training by reducing
internal covariate shift", arXiv:1502.03167: Algorithm 1 (forward), section 3 (gradients), section
3.1 (inference) and section 3.2 (why all positions of a channel share their statistics).

A convolutional layer treats all positions alike, so its batch norm does too: with the channels
last, it is the plain one on x reshaped to (N * H * W, C).
"""

import numpy as np

from ._geometry import channels_first, check_shape, float_dtype, in_layout


@np.errstate(all="ignore")
def batch_norm_forward(
    x, gamma, beta, *, eps=1e-5, activation=None, residual=None, layout=None
):  # fmt: skip
    """Normalize each channel to mean 0 and variance 1, then scale and shift it.

    With sums over the m = N * H * W values of channel c::

        mean[c]    = 1 / m * sum x[:, c]
        var[c]     = 1 / m * sum (x[:, c] - mean[c])**2        the biased variance
        inv_std[c] = 1 / sqrt(var[c] + eps)
        y[:, c]    = gamma[c] * (x[:, c] - mean[c]) * inv_std[c] + beta[c]

    Then a residual is added, and ReLU taken, if there are any.

    Parameters
    ----------
    x : (N, C, *size) or, channels last, (N, *size, C); also (N, C) without spatial axes
    gamma, beta : (C,)
    eps : added to the variance, against division by zero
    activation : None or "relu"
    residual : None or the shape of x

    Returns
    -------
    y : the shape and dtype of x
    mean, inv_std : (C,), in the dtype of x; NaN for an empty batch, which has no mean
    """
    x, dtype = _checked(x, layout, gamma=gamma, beta=beta)
    gamma, beta = np.asarray(gamma, np.float64), np.asarray(beta, np.float64)
    C = x.shape[1]

    y, mean, inv_std = np.empty(x.shape), np.empty(C), np.empty(C)
    for c in range(C):
        m = x[:, c].size
        mean[c] = x[:, c].sum() / m
        var = ((x[:, c] - mean[c]) ** 2).sum() / m
        inv_std[c] = 1 / np.sqrt(var + eps)
        y[:, c] = gamma[c] * (x[:, c] - mean[c]) * inv_std[c] + beta[c]
    if residual is not None:
        check_shape("residual", np.asarray(residual), in_layout(x, layout, dtype).shape)
        y += channels_first(np.asarray(residual), layout)
    if activation is not None:
        y = np.where(y < 0, 0, y)
    return in_layout(y, layout, dtype), mean.astype(dtype), inv_std.astype(dtype)


@np.errstate(all="ignore")
def batch_norm_backward(
    dy, x, gamma, mean, inv_std, *, y=None, activation="auto", layout=None
):  # fmt: skip
    """Gradients of a scalar loss with respect to x, gamma and beta.

    With x_hat[:, c] = (x[:, c] - mean[c]) * inv_std[c], and sums over the m values of channel c::

        dbeta[c]  = sum dy[:, c]
        dgamma[c] = sum dy[:, c] * x_hat[:, c]
        dx[:, c]  = gamma[c] * inv_std[c] * (dy[:, c] - dbeta[c] / m - x_hat[:, c] * dgamma[c] / m)

    With y, the result of a ReLU, dy is first set to 0 where y is not positive; that is the gradient
    of a residual, too.

    In dx, the first term is the way through x itself, the second through the mean, the third
    through the variance.

    Parameters
    ----------
    dy, x : the shape of x in :func:`batch_norm_forward`
    gamma : (C,)
    mean, inv_std : (C,), as returned there
    y : None or, where a residual or an activation was fused, as returned there
    activation : what was fused, None or "relu"; "auto": ReLU unless an element of y is below 0

    Returns
    -------
    dx, dgamma, dbeta : the shapes of x, gamma and beta, in the dtype of x
    dresidual : the shape of x; with y only
    """
    dy = np.asarray(dy)
    check_shape("dy", dy, np.shape(x))
    if y is not None:
        is_relu = activation == "relu" or (activation == "auto" and not (np.asarray(y) < 0).any())
        dy = np.where(np.asarray(y) > 0, dy, 0).astype(dy.dtype) if is_relu else dy.copy()
        return *batch_norm_backward(dy, x, gamma, mean, inv_std, layout=layout), dy
    x, dtype = _checked(x, layout, gamma=gamma, mean=mean, inv_std=inv_std)
    dy = channels_first(dy, layout).astype(np.float64, order="C")
    gamma, mean = np.asarray(gamma, np.float64), np.asarray(mean, np.float64)
    inv_std = np.asarray(inv_std, np.float64)
    C = x.shape[1]

    dx, dgamma, dbeta = np.empty(x.shape), np.empty(C), np.empty(C)
    for c in range(C):
        m = x[:, c].size
        x_hat = (x[:, c] - mean[c]) * inv_std[c]
        dbeta[c] = dy[:, c].sum()
        dgamma[c] = (dy[:, c] * x_hat).sum()
        dx[:, c] = gamma[c] * inv_std[c] * (dy[:, c] - dbeta[c] / m - x_hat * dgamma[c] / m)
    return in_layout(dx, layout, dtype), dgamma.astype(dtype), dbeta.astype(dtype)


@np.errstate(all="ignore")
def batch_norm_inference(x, gamma, beta, running_mean, running_var, *, eps=1e-5, layout=None):
    """Normalize with given statistics, so that one example does not depend on the others.

    ::

        y[:, c] = gamma[c] * (x[:, c] - running_mean[c]) / sqrt(running_var[c] + eps) + beta[c]

    Parameters and result are as in :func:`batch_norm_forward`; running_mean and running_var are
    (C,), gathered while training.
    """
    x, dtype = _checked(
        x, layout, gamma=gamma, beta=beta, running_mean=running_mean, running_var=running_var
    )
    gamma, beta = np.asarray(gamma, np.float64), np.asarray(beta, np.float64)
    running_mean = np.asarray(running_mean, np.float64)
    running_var = np.asarray(running_var, np.float64)

    y = np.empty(x.shape)
    for c in range(x.shape[1]):
        inv_std = 1 / np.sqrt(running_var[c] + eps)
        y[:, c] = gamma[c] * (x[:, c] - running_mean[c]) * inv_std + beta[c]
    return in_layout(y, layout, dtype)


def _checked(x, layout, **per_channel):
    """x as (N, C, *size) in float64, and its dtype; each other argument must be (C,)."""
    x = np.asarray(x)
    dtype = float_dtype(x)
    if not 2 <= x.ndim <= 5:
        raise ValueError(f"x has {x.ndim} axes, expected 2 to 5")
    x = channels_first(x, layout).astype(np.float64, order="C")
    for name, value in per_channel.items():
        check_shape(name, np.asarray(value), (x.shape[1],))
    return x, dtype
