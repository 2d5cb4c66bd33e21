"""Pools, columns, norms and activations as one writes them in NumPy; channels first."""

from __future__ import annotations

import numpy as np
from library import Way
from operators import BATCH_NORM_EPS, max_pool, sigmoid


def _windows(x, layer):
    """(N, C, P, Q, R, S), zeros in the padding."""
    stride_h, stride_w = layer.stride
    padded = np.pad(x, ((0, 0), (0, 0), *((pad, pad) for pad in layer.padding)))
    view = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, (2, 3))
    return view[:, :, ::stride_h, ::stride_w]


def _scattered(taps, layer):
    """The adjoint of _windows: taps, (N, C, R, S, P, Q), are added up where they came from."""
    (stride_h, stride_w), (pad_h, pad_w) = layer.stride, layer.padding
    padded = np.zeros((layer.N, layer.C, layer.H + 2 * pad_h, layer.W + 2 * pad_w), taps.dtype)
    for r in range(layer.R):
        for s in range(layer.S):
            rows = slice(r, r + layer.P * stride_h, stride_h)
            cols = slice(s, s + layer.Q * stride_w, stride_w)
            padded[:, :, rows, cols] += taps[:, :, r, s]
    return padded[:, :, pad_h:, pad_w:][:, :, : layer.H, : layer.W]


def _max_pool_forward(layer, x):
    return max_pool(x, layer)


def _max_pool_backward(layer, dy, indices):
    dx = np.zeros(layer.x_shape, dy.dtype)
    plane = layer.H * layer.W
    first = np.arange(layer.N * layer.C).reshape(layer.N, layer.C, 1, 1) * plane
    np.add.at(dx.reshape(-1), (indices + first).reshape(-1), dy.reshape(-1))
    return dx


def _tiles(layer):
    """Whether the windows are a mosaic of x."""
    return (layer.P * layer.R, layer.Q * layer.S, layer.padding[0]) == (layer.H, layer.W, 0)


def _avg_pool_forward(layer, x):
    if _tiles(layer):
        return x.reshape(layer.N, layer.C, layer.P, layer.R, layer.Q, layer.S).mean((3, 5))
    return _windows(x, layer).mean((4, 5))


def _avg_pool_backward(layer, dy):
    share = dy / (layer.R * layer.S)
    if _tiles(layer):
        return share.repeat(layer.R, 2).repeat(layer.S, 3)
    taps = np.broadcast_to(
        share[:, :, None, None], (layer.N, layer.C, layer.R, layer.S, *dy.shape[2:])
    )
    return _scattered(taps, layer)


def _global_forward(layer, x):
    return x.mean((2, 3), keepdims=True)


def _global_backward(layer, dy):
    return np.broadcast_to(dy / (layer.H * layer.W), layer.x_shape).copy()


def _im2col(layer, x):
    taps = _windows(x, layer).transpose(0, 1, 4, 5, 2, 3)
    return taps.reshape(layer.N, layer.K, layer.P * layer.Q)


def _col2im(layer, cols):
    return _scattered(cols.reshape(layer.N, layer.C, layer.R, layer.S, layer.P, layer.Q), layer)


def _over(x):
    """All axes but the channel's, and the shape in which channels broadcast."""
    return (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))


def _batch_norm_forward(x, gamma, beta):
    axes, shape = _over(x)
    mean = x.mean(axes, keepdims=True)
    inv_std = 1 / np.sqrt(x.var(axes, keepdims=True) + x.dtype.type(BATCH_NORM_EPS))
    y = gamma.reshape(shape) * ((x - mean) * inv_std) + beta.reshape(shape)
    return y, mean.reshape(-1), inv_std.reshape(-1)


def _batch_norm_backward(dy, x, gamma, mean, inv_std):
    axes, shape = _over(x)
    x_hat = (x - mean.reshape(shape)) * inv_std.reshape(shape)
    dgamma, dbeta = (dy * x_hat).sum(axes), dy.sum(axes)
    count = x.size // len(gamma)
    means = (dbeta.reshape(shape) + x_hat * dgamma.reshape(shape)) / count
    return (gamma * inv_std).reshape(shape) * (dy - means), dgamma, dbeta


def _softmax_cross_entropy(scores, labels):
    rows = np.arange(len(labels))
    dscores = np.exp(scores - scores.max(1, keepdims=True))
    dscores /= dscores.sum(1, keepdims=True)
    loss = -np.log(dscores[rows, labels]).mean()
    dscores[rows, labels] -= 1
    return loss, dscores / len(labels)


WINDOWED = {
    "max_pool_forward": _max_pool_forward,
    "max_pool_backward": _max_pool_backward,
    "avg_pool_forward": _avg_pool_forward,
    "avg_pool_backward": _avg_pool_backward,
    "adaptive_avg_pool_forward": _global_forward,
    "adaptive_avg_pool_backward": _global_backward,
    "im2col": _im2col,
    "col2im": _col2im,
}
OTHERS = {
    "batch_norm_forward": _batch_norm_forward,
    "batch_norm_backward": _batch_norm_backward,
    "relu_forward": lambda x: np.maximum(x, 0),
    "relu_backward": lambda dy, y: dy * (y > 0),
    "sigmoid_forward": sigmoid,
    "sigmoid_backward": lambda dy, y: dy * y * (1 - y),
    "softmax_cross_entropy": _softmax_cross_entropy,
}


def ways(problem):
    arguments, function = problem.operands, OTHERS.get(problem.op)
    if function is None:
        arguments, function = [problem.operator.layer, *arguments], WINDOWED[problem.op]
    return [Way("NumPy", lambda: function(*arguments), problem.as_arrays)]


OPS = (*WINDOWED, *OTHERS)
