"""Drop-in for the layer code of Stanford CS231n and Berkeley CS182, compiled.

In a course notebook, after the course's own imports, two lines swap the implementation:

    from fastconv.cs231n import conv_forward_fast, conv_backward_fast
    from fastconv.cs231n import max_pool_forward_fast, max_pool_backward_fast

The names, arguments, results and caches' use are those of ``layers.py``, ``fast_layers.py``,
``layer_utils.py``, ``im2col.py`` and ``im2col_cython.pyx``. A ``*_naive`` function is the plain
loops of `fastconv.reference`, a ``*_fast`` one the compiled function of `fastconv`; the course's
``*_im2col``, ``*_strides`` and ``*_reshape`` names are other names of the fast ones. A cache is
for the matching backward function; what it holds is not part of the interface.

Letters are the course's: x (N, C, H, W), w (F, C, HH, WW), b (F,), out (N, F, OH, OW).

dtypes: float32 and float64. Arrays of different dtypes are promoted as NumPy promotes them, since
the course mixes them: float64 images with float32 weights, a bias written as ``[0, 128]``. Results
have the promoted dtype. Any strides and any memory order will do; no array is modified.

Right where the course code is not, or where it refuses:

- kernels and pools that are not square, strides and padding that differ between the axes;
- windows that do not tile the input: those that do not fit are dropped, as in the course's naive
  functions, where its fast ones assert;
- pools that overlap (stride smaller than the window);
- x in Fortran order, sliced or transposed.
"""

import numpy as np

from . import _problem, _values, reference
from .columns import col2im, im2col
from .conv import conv_backward, conv_forward
from .costs import conv_output_shape
from .layers import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    relu_backward,
    relu_forward,
)
from .pool import max_pool_backward, max_pool_forward

__all__ = [
    "col2im_6d_cython",
    "col2im_cython",
    "col2im_indices",
    "conv_backward_fast",
    "conv_backward_im2col",
    "conv_backward_naive",
    "conv_backward_strides",
    "conv_bn_relu_backward",
    "conv_bn_relu_forward",
    "conv_forward_fast",
    "conv_forward_im2col",
    "conv_forward_naive",
    "conv_forward_strides",
    "conv_relu_backward",
    "conv_relu_forward",
    "conv_relu_pool_backward",
    "conv_relu_pool_forward",
    "get_im2col_indices",
    "im2col_cython",
    "im2col_indices",
    "max_pool_backward_fast",
    "max_pool_backward_im2col",
    "max_pool_backward_naive",
    "max_pool_backward_reshape",
    "max_pool_forward_fast",
    "max_pool_forward_im2col",
    "max_pool_forward_naive",
    "max_pool_forward_reshape",
]


def conv_forward_naive(x, w, b, conv_param):
    """Convolution as plain loops: small arrays only.

    Shapes, dtypes and errors are those of `conv_forward_fast`.
    """
    return _conv_forward(reference.conv_forward, x, w, b, conv_param)


def conv_backward_naive(dout, cache):
    """Gradients of `conv_forward_naive` as plain loops: small arrays only.

    Shapes, dtypes and errors are those of `conv_backward_fast`.
    """
    return _conv_backward(reference.conv_backward, dout, cache)


def conv_forward_fast(x, w, b, conv_param):
    """Convolution of a batch with F filters.

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    w : (F, C, HH, WW) float32 or float64
    b : (F,)
    conv_param : dict
        "stride" and "pad": an integer, or a pair for height and width. Cells of padding are zeros.

    Returns
    -------
    out : (N, F, OH, OW)
        OH = 1 + floor((H + 2 * pad - HH) / stride), OW alike.
    cache
        For `conv_backward_fast`.

    Raises
    ------
    KeyError
        conv_param lacks a key.
    ValueError
        Shapes that do not fit each other, or bad geometry: see `fastconv.conv_forward`.
    TypeError
        The promoted dtype is neither float32 nor float64; geometry that is no integer.
    """
    return _conv_forward(conv_forward, x, w, b, conv_param)


def conv_backward_fast(dout, cache):
    """Gradients of `conv_forward_fast`.

    Parameters
    ----------
    dout : (N, F, OH, OW) float32 or float64
    cache
        From `conv_forward_fast` or `conv_forward_naive`.

    Returns
    -------
    dx : (N, C, H, W)
    dw : (F, C, HH, WW)
    db : (F,)

    Raises
    ------
    ValueError
        dout does not have the shape of the output.
    TypeError
        The promoted dtype is neither float32 nor float64.
    """
    return _conv_backward(conv_backward, dout, cache)


conv_forward_im2col = conv_forward_fast
conv_backward_im2col = conv_backward_fast
conv_forward_strides = conv_forward_fast
conv_backward_strides = conv_backward_fast


def max_pool_forward_naive(x, pool_param):
    """Max pooling as plain loops: small arrays only.

    Shapes, dtypes and errors are those of `max_pool_forward_fast`.
    """
    return _max_pool_forward(reference.max_pool_forward, x, pool_param)


def max_pool_backward_naive(dout, cache):
    """Gradient of `max_pool_forward_naive` as plain loops: small arrays only.

    Shapes, dtypes, ties and errors are those of `max_pool_backward_fast`.
    """
    return _max_pool_backward(reference.max_pool_backward, dout, cache)


def max_pool_forward_fast(x, pool_param):
    """Maximum of every window.

    Parameters
    ----------
    x : (N, C, H, W), any real dtype
    pool_param : dict
        "pool_height" and "pool_width": integers. "stride": an integer, or a pair for height and
        width; smaller than the window, the windows overlap.

    Returns
    -------
    out : (N, C, OH, OW), dtype of x
        OH = 1 + floor((H - pool_height) / stride), OW alike: windows that do not fit are dropped.
        A NaN in a window is its maximum.
    cache
        For `max_pool_backward_fast`.

    Raises
    ------
    KeyError
        pool_param lacks a key.
    ValueError
        Bad geometry, such as a window larger than x: see `fastconv.max_pool_forward`.
    TypeError
        x is not of a real dtype.
    """
    return _max_pool_forward(max_pool_forward, x, pool_param)


def max_pool_backward_fast(dout, cache):
    """Gradient of `max_pool_forward_fast`.

    Where several positions of a window tie for its maximum, the first in row-major order gets the
    whole gradient. The course's reshape method gives every tied position a gradient: its result
    differs there, and only there.

    Parameters
    ----------
    dout : (N, C, OH, OW), any real dtype
    cache
        From `max_pool_forward_fast` or `max_pool_forward_naive`.

    Returns
    -------
    dx : (N, C, H, W), dtype of dout
        A position that is the maximum of several windows gets the sum of their gradients.

    Raises
    ------
    ValueError
        dout does not have the shape of the output.
    TypeError
        dout is not of a real dtype.
    """
    return _max_pool_backward(max_pool_backward, dout, cache)


max_pool_forward_im2col = max_pool_forward_fast
max_pool_backward_im2col = max_pool_backward_fast
max_pool_forward_reshape = max_pool_forward_fast
max_pool_backward_reshape = max_pool_backward_fast


def conv_relu_forward(x, w, b, conv_param):
    """Convolution, then ReLU, in one pass over the output.

    Parameters, errors and the shape and dtype of ``out`` are those of `conv_forward_fast`.
    Returns out (N, F, OH, OW) and a cache for `conv_relu_backward`. The cache holds out itself:
    leave it unmodified until then.
    """
    out, conv_cache = _conv_forward(conv_forward, x, w, b, conv_param, activation="relu")
    return out, (conv_cache, out)


def conv_relu_backward(dout, cache):
    """Gradients of `conv_relu_forward`: dx (N, C, H, W), dw (F, C, HH, WW), db (F,).

    dout: (N, F, OH, OW), float32 or float64. Errors are those of `conv_backward_fast`.
    """
    conv_cache, out = cache
    return conv_backward_fast(relu_backward(*_promoted(dout=dout, out=out)), conv_cache)


def conv_relu_pool_forward(x, w, b, conv_param, pool_param):
    """Convolution, ReLU, then max pooling.

    Parameters and errors are those of `conv_forward_fast` and `max_pool_forward_fast`.
    Returns out (N, F, OH, OW), in the sizes the pool leaves and the promoted dtype of x, w and b,
    and a cache for `conv_relu_pool_backward`.
    """
    activated, conv_relu_cache = conv_relu_forward(x, w, b, conv_param)
    out, pool_cache = max_pool_forward_fast(activated, pool_param)
    return out, (conv_relu_cache, pool_cache)


def conv_relu_pool_backward(dout, cache):
    """Gradients of `conv_relu_pool_forward`: dx (N, C, H, W), dw (F, C, HH, WW), db (F,).

    dout: (N, F, OH, OW), float32 or float64. Ties are resolved as in `max_pool_backward_fast`;
    errors are its and those of `conv_backward_fast`.
    """
    conv_relu_cache, pool_cache = cache
    return conv_relu_backward(max_pool_backward_fast(dout, pool_cache), conv_relu_cache)


def conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param):
    """Convolution, batch normalisation per channel, then ReLU.

    Parameters
    ----------
    x, w, b, conv_param
        As in `conv_forward_fast`.
    gamma, beta : (F,) float32 or float64
        Scale and shift of each channel.
    bn_param : dict
        "mode": "train" normalises with the mean and the (biased) variance over batch and space,
        "test" with the running ones. Optional: "eps", default 1e-5; "momentum", default 0.9;
        "running_mean" and "running_var", (F,), default (or None) zeros. Modified: "train" stores
        momentum * running + (1 - momentum) * batch under the last two keys.

    Returns
    -------
    out : (N, F, OH, OW), the promoted dtype of the arrays
    cache
        For `conv_bn_relu_backward`. It holds out itself: leave it unmodified until then.

    Raises
    ------
    KeyError
        bn_param lacks "mode", or conv_param a key.
    ValueError
        An unknown mode, eps that is not positive, an empty batch in mode "train", shapes that do
        not fit each other, running statistics included, or bad geometry. bn_param is as it was.
    TypeError
        The promoted dtype is neither float32 nor float64.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", 2015, arXiv:1502.03167, algorithms 1 and 2.
    """
    mode = _item(bn_param, "mode", "bn_param")
    if mode not in ("train", "test"):
        raise ValueError(f"bn_param['mode'] is {mode!r}: expected 'train' or 'test'")
    convolved, conv_cache = conv_forward_fast(x, w, b, conv_param)
    convolved, gamma, beta = _promoted(x=convolved, gamma=gamma, beta=beta)
    if mode == "train":
        normalised, bn_cache = _batch_norm_train(convolved, gamma, beta, bn_param)
    else:
        normalised, bn_cache = _batch_norm_test(convolved, gamma, beta, bn_param), None
    out = relu_forward(normalised)
    return out, (conv_cache, bn_cache, out)


def conv_bn_relu_backward(dout, cache):
    """Gradients of `conv_bn_relu_forward` in mode "train".

    Parameters
    ----------
    dout : (N, F, OH, OW) float32 or float64
    cache
        From `conv_bn_relu_forward`.

    Returns
    -------
    dx : (N, C, H, W)
    dw : (F, C, HH, WW)
    db : (F,)
        Zero but for rounding: the normalisation subtracts what a bias adds.
    dgamma, dbeta : (F,)

    Raises
    ------
    ValueError
        dout does not have the shape of the output, or the forward pass ran in mode "test", which
        has no gradient in the course.
    TypeError
        The promoted dtype is neither float32 nor float64.
    """
    conv_cache, bn_cache, out = cache
    if bn_cache is None:
        raise ValueError("cache is of a forward pass in mode 'test': expected mode 'train'")
    dnormalised = relu_backward(*_promoted(dout=dout, out=out))
    bn_arrays = _promoted(dout=dnormalised, **bn_cache)
    dconvolved, dgamma, dbeta = batch_norm_backward(*bn_arrays)
    dx, dw, db = conv_backward_fast(dconvolved, conv_cache)
    return dx, dw, db, dgamma, dbeta


def get_im2col_indices(x_shape, field_height, field_width, padding=1, stride=1):
    """Where the columns of `im2col_indices` come from.

    Parameters
    ----------
    x_shape : (N, C, H, W)
    field_height, field_width : int
        HH and WW.
    padding, stride
        An integer, or a pair for height and width.

    Returns
    -------
    k : (C * HH * WW, 1) intp
        The channel of each row.
    i, j : (C * HH * WW, OH * OW) intp
        Row and column in the padded image: ``x_padded[:, k, i, j]`` is
        (N, C * HH * WW, OH * OW).

    Raises
    ------
    ValueError, TypeError
        Bad geometry: see `fastconv.conv_output_shape`.
    """
    (_, channels, out_h, out_w), field, (stride_h, stride_w) = _column_sizes(
        x_shape, field_height, field_width, padding, stride
    )
    k, row, column = np.indices((channels, *field), np.intp).reshape(3, -1, 1)
    top, left = np.indices((out_h, out_w), np.intp).reshape(2, 1, -1)
    return k, row + stride_h * top, column + stride_w * left


def im2col_indices(x, field_height, field_width, padding=1, stride=1):
    """Every window of x as a column, the batch varying fastest.

    Parameters
    ----------
    x : (N, C, H, W), any real dtype
    field_height, field_width : int
        HH and WW.
    padding, stride
        An integer, or a pair for height and width.

    Returns
    -------
    cols : (C * HH * WW, OH * OW * N), dtype of x, contiguous
        Row (c * HH + i) * WW + j, column (oy * OW + ox) * N + n.

    Raises
    ------
    ValueError, TypeError
        Bad geometry or dtype: see `fastconv.im2col`.
    """
    cols = im2col(x, _field(field_height, field_width), stride=stride, padding=padding)
    batch, rows, positions = cols.shape
    return np.ascontiguousarray(cols.transpose(1, 2, 0)).reshape(rows, positions * batch)


def col2im_indices(cols, x_shape, field_height=3, field_width=3, padding=1, stride=1):
    """Adjoint of `im2col_indices`: windows summed back to where they came from.

    Parameters
    ----------
    cols : (C * HH * WW, OH * OW * N), any real dtype
        In the order of `im2col_indices`.
    x_shape : (N, C, H, W)
    field_height, field_width : int
        HH and WW.
    padding, stride
        An integer, or a pair for height and width.

    Returns
    -------
    x : (N, C, H, W), dtype of cols
        Where windows overlap, their values add up; what fell on the padding is dropped.

    Raises
    ------
    ValueError
        cols is not of the shape that x_shape and the geometry give, or bad geometry.
    TypeError
        Bad dtype: see `fastconv.col2im`.
    """
    (batch, channels, out_h, out_w), field, _ = _column_sizes(
        x_shape, field_height, field_width, padding, stride
    )
    rows, positions = channels * field[0] * field[1], out_h * out_w
    cols = _shaped(cols, (rows, positions * batch))
    cols = cols.reshape(rows, positions, batch).transpose(2, 0, 1)
    return col2im(cols, x_shape, field, stride=stride, padding=padding)


def im2col_cython(x, field_height, field_width, padding, stride):
    """`im2col_indices`, as the course's Cython module has it: same shapes, dtypes and errors."""
    return im2col_indices(x, field_height, field_width, padding, stride)


def col2im_cython(cols, N, C, H, W, field_height, field_width, padding, stride):
    """`col2im_indices` with x's sizes as arguments: same shapes, dtypes and errors."""
    return col2im_indices(cols, (N, C, H, W), field_height, field_width, padding, stride)


def col2im_6d_cython(cols, N, C, H, W, HH, WW, pad, stride):
    """Adjoint of im2col with the columns kept apart by axis.

    Parameters
    ----------
    cols : (C, HH, WW, N, OH, OW), any real dtype
    N, C, H, W, HH, WW : int
    pad, stride
        An integer, or a pair for height and width.

    Returns
    -------
    x : (N, C, H, W), dtype of cols
        Where windows overlap, their values add up; what fell on the padding is dropped.

    Raises
    ------
    ValueError
        cols is not of the shape that the sizes and the geometry give, or bad geometry.
    TypeError
        Bad dtype: see `fastconv.col2im`.
    """
    (N, C, out_h, out_w), (HH, WW), _ = _column_sizes((N, C, H, W), HH, WW, pad, stride)
    cols = _shaped(cols, (C, HH, WW, N, out_h, out_w))
    cols = cols.transpose(3, 0, 1, 2, 4, 5).reshape(N, C * HH * WW, out_h * out_w)
    return col2im(cols, (N, C, H, W), (HH, WW), stride=stride, padding=pad)


def _item(params, key, name):
    try:
        return params[key]
    except KeyError:
        raise KeyError(f"{name} has no key {key!r}") from None


def _promoted(**arrays):
    """The arrays in their common dtype, None as it is. Where fastconv does not compute in that
    dtype they keep theirs, for the message that names the offender."""
    arrays = {n: a if a is None else _values.any_array(n, a) for n, a in arrays.items()}
    try:
        common = np.result_type(*(array.dtype for array in arrays.values() if array is not None))
    except TypeError:
        return arrays.values()
    if common not in (np.float32, np.float64):
        return arrays.values()
    return [None if a is None else a.astype(common, copy=False) for a in arrays.values()]


def _conv_options(conv_param):
    return {
        "stride": _values.per_axis("stride", _item(conv_param, "stride", "conv_param"), 2, 1),
        "padding": _values.per_axis("pad", _item(conv_param, "pad", "conv_param"), 2, 0),
    }


def _conv_forward(forward, x, w, b, conv_param, **options):
    options |= (geometry := _conv_options(conv_param))
    x, w, b = _promoted(x=x, w=w, b=b)
    if forward is reference.conv_forward:
        x, w, b, _ = _problem.conv_arguments(x, w, b, tuple(geometry.values()))
    return forward(x, w, b, **options), (x, w, b, conv_param)


def _conv_backward(backward, dout, cache):
    x, w, _, conv_param = cache
    options = _conv_options(conv_param)
    dout, x, w = _promoted(dout=dout, x=x, w=w)
    if backward is reference.conv_backward:
        dout, x, w, _ = _problem.conv_gradient_arguments(dout, x, w, tuple(options.values()))
    return tuple(backward(dout, x, w, **options))


def _max_pool_forward(forward, x, pool_param):
    names = ("pool_height", "pool_width")
    kernel_size = tuple(
        _values.integer(name, _item(pool_param, name, "pool_param"), 1) for name in names
    )
    stride = _item(pool_param, "stride", "pool_param")
    x = _values.real_array("x", x)
    if forward is reference.max_pool_forward:
        _problem.pool_problem(x.shape, kernel_size, stride=stride, name="shape of x")
    out, indices = forward(x, kernel_size, stride=stride)
    return out, (x.shape, indices)


def _max_pool_backward(backward, dout, cache):
    x_shape, indices = cache
    if backward is reference.max_pool_backward:
        dout, *_ = _problem.indexed_arguments(dout, indices, x_shape, None)
    return backward(dout, indices, x_shape)


def _batch_norm_train(x, gamma, beta, bn_param):
    if x.size == 0:
        raise ValueError("x has an empty batch: expected at least one image in mode 'train'")
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    running_mean, running_var = _running_statistics(x, bn_param)
    y, mean, inv_std = batch_norm_forward(x, gamma, beta, eps=eps)
    # inv_std = 1 / sqrt(var + eps): exact enough, since var only ever serves next to eps again.
    # Rounding can leave it just below zero.
    var = np.maximum(inv_std**-2.0 - eps, 0)
    bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mean
    bn_param["running_var"] = momentum * running_var + (1 - momentum) * var
    return y, {"x": x, "gamma": gamma, "mean": mean, "inv_std": inv_std}


def _batch_norm_test(x, gamma, beta, bn_param):
    running_mean, running_var = _running_statistics(x, bn_param)
    eps = bn_param.get("eps", 1e-5)
    return batch_norm_inference(x, gamma, beta, running_mean, running_var, eps=eps)


def _running_statistics(x, bn_param):
    """running_mean and running_var, in the dtype of x; zeros at first."""
    statistics = []
    for key in ("running_mean", "running_var"):
        value = bn_param.get(key)
        value = np.zeros(x.shape[1], x.dtype) if value is None else np.asarray(value, x.dtype)
        _values.check_shape(f"bn_param[{key!r}]", value, (x.shape[1],))
        statistics.append(value)
    return statistics


def _column_sizes(x_shape, field_height, field_width, padding, stride):
    """(N, C, OH, OW), checked as for a convolution, and (HH, WW), (stride_h, stride_w)."""
    x_shape = _values.shape("x_shape", x_shape, 2)
    field = _field(field_height, field_width)
    stride = _values.per_axis("stride", stride, 2, 1)
    w_shape = (1, x_shape[1], *field)
    _, _, *out_size = conv_output_shape(x_shape, w_shape, stride=stride, padding=padding)
    return (*x_shape[:2], *out_size), field, stride


def _field(height, width):
    return _values.integer("field_height", height, 1), _values.integer("field_width", width, 1)


def _shaped(cols, shape):
    cols = _values.real_array("cols", cols)
    _values.check_shape("cols", cols, shape)
    return cols
