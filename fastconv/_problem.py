"""Arguments in, a frozen problem out: everything a caller passes is checked here, once.

The messages about arguments are written here and, about one argument alone, in _values.py. Nothing
of the size of the data is allocated before all checks have passed, except a native copy of an array
in foreign byte order.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ._geometry import Window, array_shape, channels_and_size, first_window_off_data
from ._values import (
    INT64_MAX,
    check_countable,
    check_rank,
    check_same_dtype,
    check_shape,
    flag,
    float_array,
    float_arrays,
    index_array,
    integer,
    is_channels_last,
    padding_pairs,
    per_axis,
    real_array,
    shape,
)

# ---------------------------------------------------------------------------------------------
# The problem


@dataclass(frozen=True, slots=True)
class ConvProblem:
    """One convolution: sizes without data."""

    batch: int
    groups: int
    in_channels: int
    out_channels: int
    channels_last: bool
    window: Window
    x_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    # What _core makes of it, once.
    native: object = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class PoolProblem:
    """One pooling: sizes without data."""

    batch: int
    channels: int
    channels_last: bool
    window: Window
    x_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    # What _core makes of it, once.
    native: object = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ColumnsProblem:
    """One im2col or col2im, channels first: sizes without data."""

    x_shape: tuple[int, ...]
    cols_shape: tuple[int, ...]
    window: Window
    # What _core makes of it, once.
    native: object = field(default=None, compare=False, repr=False)


# ---------------------------------------------------------------------------------------------
# Whole problems


def window(in_size, kernel, kernel_name, *, stride, padding, dilation, ceil_mode=False):
    """Window of checked tuples `in_size` and `kernel` and the caller's geometry arguments."""
    axes = len(in_size)
    stride = per_axis("stride", stride, axes, 1)
    dilation = per_axis("dilation", dilation, axes, 1)
    effective = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    if max(effective) > INT64_MAX:
        raise ValueError(
            f"{kernel_name} {kernel} with dilation {dilation} spans {effective} elements, "
            f"expected at most 2**63 - 1"
        )
    pairs = padding_pairs(padding, axes, in_size, effective, stride)
    out_size = []
    for i, (size, extent, step, pair) in enumerate(
        zip(in_size, effective, stride, pairs, strict=True)
    ):
        padded = size + sum(pair)
        if padded > INT64_MAX:
            raise ValueError(
                f"padding {pair} makes spatial axis {i} of {size} elements {padded} long, "
                f"expected at most 2**63 - 1"
            )
        room = padded - extent
        windows = (-(-room // step) if ceil_mode else room // step) + 1
        if ceil_mode and windows > 1 and (windows - 1) * step >= size + pair[0]:
            windows -= 1
        if windows < 1:
            raise ValueError(
                f"{kernel_name} {kernel} with dilation {dilation} spans {extent} elements on "
                f"spatial axis {i}, expected at most the {padded} of the padded input"
            )
        out_size.append(windows)
    return Window(
        axes,
        *(
            (fill,) * (3 - axes) + tuple(values)
            for fill, values in (
                (1, in_size),
                (1, kernel),
                (1, out_size),
                (1, stride),
                (1, dilation),
                (0, (before for before, _ in pairs)),
                (0, (after for _, after in pairs)),
            )
        ),
    )


def conv_problem(
    x_shape,
    w_shape,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    layout=None,
    *,
    x_name="shape of x",
    w_name="shape of w",
):
    """The problem of `conv_forward` for arrays of these shapes."""
    w_shape = shape(w_name, w_shape, minimum=1)
    axes = len(w_shape) - 2
    x_shape = shape(x_name, x_shape, axes)
    channels_last = is_channels_last(layout, axes)
    groups = integer("groups", groups, 1)
    in_channels, in_size = channels_and_size(x_shape, channels_last)
    if in_channels % groups:
        raise ValueError(f"groups is {groups}, expected a divisor of x's {in_channels} channels")
    if w_shape[1] != in_channels // groups:
        raise ValueError(
            f"w has {w_shape[1]} channels per group, but x has {in_channels} channels in "
            f"{groups} group(s): expected {in_channels // groups}"
        )
    if w_shape[0] % groups:
        raise ValueError(
            f"w has {w_shape[0]} output channels, expected a multiple of groups = {groups}"
        )
    windows = window(
        in_size, w_shape[2:], "kernel", stride=stride, padding=padding, dilation=dilation
    )
    out_size = windows.of_caller(windows.out_size)
    y_shape = array_shape(x_shape[0], w_shape[0], out_size, channels_last)
    check_countable("y", y_shape)
    return ConvProblem(
        x_shape[0], groups, in_channels, w_shape[0], channels_last, windows, x_shape, y_shape
    )


def conv_arguments(x, w, b, geometry):
    """(x, w, b, problem) of conv_forward; geometry: conv_problem's arguments from stride on."""
    x, w = float_arrays(x=x, w=w)
    problem = conv_problem(x.shape, w.shape, *geometry)
    return x, w, bias_array(b, x, problem.out_channels), problem


def conv_gradient_arguments(dy, x, w, geometry):
    """(dy, x, w, problem) of conv_backward."""
    x, w, dy = float_arrays(x=x, w=w, dy=dy)
    problem = conv_problem(x.shape, w.shape, *geometry)
    check_shape("dy", dy, problem.y_shape)
    return dy, x, w, problem


def transposed_problem(x_shape, w_shape, stride, padding, output_padding, dilation, groups, layout):
    """The problem of the convolution whose dx is `conv_transpose_forward`'s y: from y to x."""
    w_shape = shape("shape of w", w_shape, minimum=1)
    axes = len(w_shape) - 2
    x_shape = shape("shape of x", x_shape, axes)
    channels_last = is_channels_last(layout, axes)
    groups = integer("groups", groups, 1)
    channels, in_size = channels_and_size(x_shape, channels_last)
    if w_shape[0] != channels:
        raise ValueError(f"w has {w_shape[0]} input channels, expected the {channels} of x")
    if channels % groups:
        raise ValueError(f"groups is {groups}, expected a divisor of x's {channels} channels")
    stride = per_axis("stride", stride, axes, 1)
    dilation = per_axis("dilation", dilation, axes, 1)
    extra = per_axis("output_padding", output_padding, axes, 0)
    by_name = isinstance(padding, str) and padding != "valid"
    effective = tuple((k - 1) * d + 1 for k, d in zip(w_shape[2:], dilation, strict=True))
    whole = tuple(size * step for size, step in zip(in_size, stride, strict=True))
    pairs = padding_pairs(padding, axes, whole, effective, stride)
    out_size = []
    for axis in range(axes):
        limit = 1 if by_name else max(stride[axis], dilation[axis])
        if extra[axis] >= limit:
            what = f"padding {padding!r}" if by_name else "the larger of stride and dilation"
            raise ValueError(
                f"output_padding is {extra[axis]} on spatial axis {axis}, expected less than "
                f"{limit}: {what}"
            )
        reach = (in_size[axis] - 1) * stride[axis] + effective[axis] + extra[axis]
        size = whole[axis] if by_name else reach - sum(pairs[axis])
        if size < 1:
            raise ValueError(
                f"padding {pairs[axis]} on spatial axis {axis} leaves {size} of the {reach} "
                f"elements that the windows span, expected at least 1"
            )
        out_size.append(size)
    y_shape = array_shape(x_shape[0], w_shape[1] * groups, tuple(out_size), channels_last)
    check_countable("y", y_shape)
    problem = conv_problem(y_shape, w_shape, stride, padding, dilation, groups, layout)
    # Of padding beyond the windows the convolution has more outputs than x has elements.
    out = problem.window.of_caller(problem.window.out_size)
    if out != in_size:
        window_of_x = replace(problem.window, out_size=(1,) * (3 - axes) + in_size)
        problem = replace(problem, window=window_of_x, y_shape=x_shape)
    return problem


def transposed_arguments(x, w, b, geometry):
    """(x, w, b, problem) of conv_transpose_forward; geometry: stride and so on, in its order."""
    x, w = float_arrays(x=x, w=w)
    problem = transposed_problem(x.shape, w.shape, *geometry)
    return x, w, bias_array(b, x, problem.in_channels), problem


def transposed_gradient_arguments(dy, x, w, geometry):
    """(dy, x, w, problem) of conv_transpose_backward."""
    x, w, dy = float_arrays(x=x, w=w, dy=dy)
    problem = transposed_problem(x.shape, w.shape, *geometry)
    check_shape("dy", dy, problem.x_shape)
    return dy, x, w, problem


def tangent_arguments(x, w, x_dot, w_dot, b_dot, geometry):
    """(x, w, x_dot, w_dot, b_dot, problem) of conv_jvp."""
    x, w = float_arrays(x=x, w=w)
    problem = conv_problem(x.shape, w.shape, *geometry)
    tangents = []
    for name, tangent, like in (("x_dot", x_dot, x), ("w_dot", w_dot, w)):
        if tangent is not None:
            tangent = float_array(name, tangent)
            check_same_dtype(x=x, **{name: tangent})
            check_shape(name, tangent, like.shape)
        tangents.append(tangent)
    return x, w, *tangents, bias_array(b_dot, x, problem.out_channels, "b_dot"), problem


def plan_arguments(x_shape, w, b, dtype, geometry):
    """(w, b, problem) of a ConvPlan, w and b its own."""
    w = real_array("w", w)
    try:
        dtype = (w.dtype if dtype is None else np.dtype(dtype)).newbyteorder("=")
    except TypeError:
        raise TypeError(f"dtype is {dtype!r}, expected float32 or float64") from None
    if dtype.char not in "fd":
        raise TypeError(f"dtype is {dtype}, expected float32 or float64")
    w = np.array(w, dtype, order="C")
    problem = conv_problem(x_shape, w.shape, *geometry, x_name="x_shape")
    if b is not None:
        b = bias_array(real_array("b", b).astype(dtype), w, problem.out_channels)
    return w, b, problem


def plan_input(x, x_shape, dtype):
    """x of a ConvPlan made for this shape."""
    x = float_array("x", x)
    if x.dtype != dtype:
        raise TypeError(f"x has dtype {x.dtype}, but the plan was made for {dtype}")
    check_shape("x", x, x_shape)
    return x


def bias_array(b, like, channels, name="b"):
    """The bias as a contiguous vector of `channels` elements in the dtype of `like`, or None."""
    if b is None:
        return None
    array = float_array(name, b)
    check_same_dtype(x=like, **{name: array})
    check_shape(name, array, (channels,))
    return np.ascontiguousarray(array)


def pool_problem(
    x_shape,
    kernel_size,
    *,
    stride=None,
    padding=0,
    layout=None,
    dilation=1,
    ceil_mode=False,
    name="x_shape",
):
    """The problem of a pool over an array of this shape."""
    x_shape = shape(name, x_shape)
    axes = len(x_shape) - 2
    channels_last = is_channels_last(layout, axes)
    kernel = per_axis("kernel_size", kernel_size, axes, 1)
    channels, in_size = channels_and_size(x_shape, channels_last)
    w = window(
        in_size,
        kernel,
        "kernel_size",
        stride=kernel if stride is None else stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=flag("ceil_mode", ceil_mode),
    )
    check_windows_overlap(w)
    y_shape = array_shape(x_shape[0], channels, w.of_caller(w.out_size), channels_last)
    check_countable("y", y_shape)
    return PoolProblem(x_shape[0], channels, channels_last, w, x_shape, y_shape)


def adaptive_problem(x_shape, output_size, layout, name="x_shape"):
    """The problem of an adaptive pool over an array of this shape."""
    x_shape = shape(name, x_shape)
    axes = len(x_shape) - 2
    channels_last = is_channels_last(layout, axes)
    out_size = per_axis("output_size", output_size, axes, 1)
    channels, in_size = channels_and_size(x_shape, channels_last)
    for axis, (size, out) in enumerate(zip(in_size, out_size, strict=True)):
        if (size + 1) * (out + 1) > INT64_MAX:
            raise ValueError(
                f"output_size is {out} on spatial axis {axis} of {size} elements, expected a "
                f"product of less than 2**63"
            )
    ones, zeros, rest = (1, 1, 1), (0, 0, 0), (1,) * (3 - axes)
    w = Window(axes, rest + in_size, ones, rest + out_size, ones, ones, zeros, zeros, adaptive=True)
    y_shape = array_shape(x_shape[0], channels, w.of_caller(w.out_size), channels_last)
    check_countable("y", y_shape)
    return PoolProblem(x_shape[0], channels, channels_last, w, x_shape, y_shape)


def adaptive_gradient_sizes(dy, x_shape, layout):
    """(x_shape, output_size) of adaptive_avg_pool_backward: output_size is in dy's shape."""
    x_shape = shape("x_shape", x_shape)
    check_rank("dy", dy, (len(x_shape),))
    channels_last = is_channels_last(layout, len(x_shape) - 2)
    _, out_size = channels_and_size(dy.shape, channels_last)
    if 0 in out_size:
        raise ValueError(f"dy has shape {dy.shape}, expected at least one element on each axis")
    return x_shape, out_size


def check_windows_overlap(w):
    """Refuses a pool with a window, all of whose taps are padding."""
    for axis in range(3):
        size, taps, step = w.in_size[axis], w.kernel[axis], w.dilation[axis]
        extent = (taps - 1) * step + 1
        before, after = w.pad_before[axis], w.pad_after[axis]
        if max(before, after) >= extent:
            raise ValueError(
                f"padding is {(before, after)} on spatial axis {axis - 3 + w.axes}, expected less "
                f"than the {extent} elements that the dilated kernel spans"
            )
        # Taps further apart than the axis is long may straddle it: an output that starts before
        # the data hits it only if its first tap >= 0 does.
        if step > size:
            o = first_window_off_data(size, step, w.stride[axis], before)
            if o is not None and o < min(-(-before // w.stride[axis]), w.out_size[axis]):
                raise ValueError(
                    f"window {o} on spatial axis {axis - 3 + w.axes} has all of its taps in the "
                    f"padding, expected at least one on the data: kernel_size {taps}, dilation "
                    f"{step}, padding {(before, after)}, input {size}"
                )


def columns_problem(x_shape, kernel_size, *, stride, padding, dilation, name="x_shape"):
    """The problem of im2col and col2im."""
    x_shape = shape(name, x_shape)
    kernel = per_axis("kernel_size", kernel_size, len(x_shape) - 2, 1)
    w = window(
        x_shape[2:], kernel, "kernel_size", stride=stride, padding=padding, dilation=dilation
    )
    cols_shape = x_shape[0], x_shape[1] * w.taps, w.out_pixels
    check_countable("cols", cols_shape)
    return ColumnsProblem(x_shape, cols_shape, w)


def divisor(override):
    """`divisor_override` as a number; 0 stands for none."""
    return 0 if override is None else integer("divisor_override", override, 1)


def indexed_arguments(dy, indices, x_shape, layout, name="dy"):
    """(dy, indices, x_shape, channels_last) of what puts elements where indices say."""
    dy, indices = real_array(name, dy), index_array("indices", indices)
    x_shape = shape("x_shape", x_shape)
    channels_last = is_channels_last(layout, len(x_shape) - 2)
    channels, _ = channels_and_size(x_shape, channels_last)
    channel = -1 if channels_last else 1
    if dy.ndim != len(x_shape) or (dy.shape[0], dy.shape[channel]) != (x_shape[0], channels):
        raise ValueError(
            f"{name} has shape {dy.shape}, expected {len(x_shape)} axes with batch {x_shape[0]} "
            f"and {channels} channels as in x_shape {x_shape}"
        )
    check_shape("indices", indices, dy.shape)
    return dy, indices, x_shape, channels_last


def raise_index_outside(indices, x_shape, channels_last):
    plane = math.prod(channels_and_size(x_shape, channels_last)[1])
    outside = indices[(indices < 0) | (indices >= plane)]
    raise ValueError(
        f"indices contains {outside[0]}, expected positions from 0 to {plane - 1} in the spatial "
        f"plane of x_shape {x_shape}"
    )


# ---------------------------------------------------------------------------------------------
# The layers around a convolution


def channel_axis(x, layout):
    """The channel axis of a (N, D) matrix or of a batch of images."""
    if x.ndim == 2:
        if layout is not None:
            raise ValueError(f"layout is {layout!r}, expected None for x of shape {x.shape}")
        return 1
    check_rank("x", x, (2, 3, 4, 5))
    return x.ndim - 1 if is_channels_last(layout, x.ndim - 2) else 1


def channel_vector(name, value, x, channel):
    """One value per channel in the dtype of x."""
    vector = float_array(name, value)
    check_same_dtype(x=x, **{name: vector})
    check_shape(name, vector, (x.shape[channel],))
    return vector


def affine_arrays(**arrays):
    """x (N, D), w (D, M) and b (M,) or dy (N, M), of one dtype."""
    checked = dict(zip(arrays, float_arrays(**arrays), strict=True))
    x, w = checked["x"], checked["w"]
    check_rank("x", x, (2,))
    check_rank("w", w, (2,))
    if w.shape[0] != x.shape[1]:
        raise ValueError(f"w has shape {w.shape}, expected {x.shape[1]} rows, as x has columns")
    if "b" in checked:
        check_shape("b", checked["b"], (w.shape[1],))
    if "dy" in checked:
        check_shape("dy", checked["dy"], (x.shape[0], w.shape[1]))
    return checked.values()


def class_labels(labels, scores):
    """Labels as int64 indices into the columns of scores (N, classes)."""
    check_rank("scores", scores, (2,))
    if scores.shape[1] == 0:
        raise ValueError(f"scores has shape {scores.shape}, expected at least one column")
    labels = index_array("labels", labels)
    check_shape("labels", labels, scores.shape[:1])
    wrong = labels[(labels < 0) | (labels >= scores.shape[1])]
    if wrong.size:
        raise ValueError(f"labels contains {wrong[0]}, expected 0 to {scores.shape[1] - 1}")
    return labels
