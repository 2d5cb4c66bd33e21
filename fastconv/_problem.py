"""Arguments in, a frozen problem out: everything a caller passes is checked here, once.

The messages about arguments are written here. Sizes are Python integers, so they cannot overflow;
what a kernel would have to count beyond 64 bits is refused. Nothing of the size of the data is
allocated before all checks have passed, except a native copy of an array in foreign byte order.
"""

import math
import operator
import reprlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ._geometry import Window, array_shape, channels_and_size, first_window_off_data

INT64_MAX = 2**63 - 1
CHANNELS_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
CHANNELS_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}
GRADIENTS = ("dx", "dw", "db")


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

    @property
    def x_shape(self):
        in_size = self.window.of_caller(self.window.in_size)
        return array_shape(self.batch, self.channels, in_size, self.channels_last)

    @property
    def y_shape(self):
        out_size = self.window.of_caller(self.window.out_size)
        return array_shape(self.batch, self.channels, out_size, self.channels_last)


# ---------------------------------------------------------------------------------------------
# Single values


def shown(value):
    """A short repr(value), where there is one: not of an integer of thousands of digits."""
    try:
        return reprlib.repr(value)
    except ValueError:
        return "too long to print"


def integer(name, value, minimum):
    """`value` as a Python integer from `minimum` to 2**63 - 1."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value}, expected an integer")
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} is {shown(value)} of type {type(value).__name__}, expected an integer"
        ) from None
    if not minimum <= value <= INT64_MAX:
        raise ValueError(
            f"{name} is {shown(value)}, expected an integer from {minimum} to 2**63 - 1"
        )
    return value


def flag(name, value):
    """`value` if it is a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {shown(value)}, expected a bool")
    return bool(value)


def is_sequence(value):
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def per_axis(name, value, axes, minimum, expected=None):
    """An integer, or one per spatial axis, as a tuple of `axes` integers."""
    if not is_sequence(value):
        return (integer(name, value, minimum),) * axes
    if len(value) != axes:
        raise ValueError(
            f"{name} is {shown(value)} with {len(value)} entries, expected an integer or "
            f"{expected or f'{axes}, one per spatial axis'}"
        )
    return tuple(integer(f"{name}[{i}]", entry, minimum) for i, entry in enumerate(value))


def padding_pairs(padding, axes, in_size, effective, stride):
    """Any form of `padding` as one (before, after) pair per spatial axis."""
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * axes
        if padding not in ("same", "same_lower"):
            raise ValueError(
                f"padding is {padding!r}, expected integers, 'valid', 'same' or 'same_lower'"
            )
        pairs = []
        for size, extent, step in zip(in_size, effective, stride, strict=True):
            out = -(-size // step)
            total = max((out - 1) * step + extent - size, 0)
            half = total // 2
            pairs.append((half, total - half) if padding == "same" else (total - half, half))
        return tuple(pairs)
    if not is_sequence(padding):
        return ((integer("padding", padding, 0),) * 2,) * axes
    if len(padding) != axes:
        raise ValueError(
            f"padding is {shown(padding)} with {len(padding)} entries, expected an integer, {axes} "
            f"integers or (before, after) pairs, one per spatial axis, 'valid', 'same' or "
            f"'same_lower'"
        )
    return tuple(
        per_axis(f"padding[{i}]", entry, 2, 0, "a (before, after) pair")
        for i, entry in enumerate(padding)
    )


def shape(name, value, axes=None, minimum=0):
    """A tuple of sizes: the first >= `minimum`, the rest >= 1; `axes` spatial axes, or 1 to 3."""
    if not is_sequence(value):
        raise TypeError(f"{name} is {shown(value)}, expected a tuple of integers")
    spatial = len(value) - 2
    if spatial != axes if axes is not None else not 1 <= spatial <= 3:
        expected = "3 to 5 (one to three spatial axes)" if axes is None else f"{axes + 2}"
        raise ValueError(
            f"{name} is {shown(tuple(value))} with {len(value)} axes, expected {expected}"
        )
    sizes = tuple(
        integer(f"{name}[{i}]", size, 1 if i else minimum) for i, size in enumerate(value)
    )
    check_countable(name, sizes)
    return sizes


def check_countable(name, sizes):
    """Refuses a shape whose bytes a 64-bit integer cannot count."""
    if math.prod(max(size, 1) for size in sizes) * 16 > INT64_MAX:
        raise ValueError(f"{name} would have shape {sizes}, expected fewer than 2**59 elements")


def is_channels_last(layout, axes):
    """Whether `layout`, checked for the number of spatial axes, has its channels last."""
    if layout is None:
        return False
    if isinstance(layout, str) and layout in (CHANNELS_FIRST[axes], CHANNELS_LAST[axes]):
        return str(layout) == CHANNELS_LAST[axes]
    raise ValueError(
        f"layout is {layout!r}, expected None, {CHANNELS_FIRST[axes]!r} or "
        f"{CHANNELS_LAST[axes]!r} for {axes} spatial axis(es)"
    )


def activation_is_relu(activation):
    if activation is None:
        return False
    if isinstance(activation, str) and activation == "relu":
        return True
    raise ValueError(f"activation is {activation!r}, expected None or 'relu'")


def algorithm_name(algorithm, names):
    """`algorithm` if it is "auto" or one of `names`."""
    if not isinstance(algorithm, str) or algorithm not in ("auto", *names):
        raise ValueError(f"algorithm is {algorithm!r}, expected 'auto' or one of {names}")
    return str(algorithm)


def needed_gradients(need):
    """`need` as a frozenset of names."""
    try:
        names = (need,) if isinstance(need, str) else tuple(need)
    except TypeError:
        raise TypeError(f"need is {need!r}, expected names out of {GRADIENTS}") from None
    for name in names:
        if not isinstance(name, str) or name not in GRADIENTS:
            raise ValueError(f"need contains {name!r}, expected names out of {GRADIENTS}")
    return frozenset(names)


# ---------------------------------------------------------------------------------------------
# Arrays


def any_array(name, value):
    """`value` as a base-class array in native byte order and aligned; a copy only if it is not."""
    if type(value) is np.ndarray:
        flags = value.flags
        if flags.c_contiguous and flags.aligned and value.dtype.isnative:
            return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, expected a plain array: fill it first")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(f"{name} is not a rectangular array: {error}") from None
    whole_elements = all(step % max(array.itemsize, 1) == 0 for step in array.strides)
    if array.dtype.isnative and array.flags.aligned and whole_elements:
        return array
    return array.astype(array.dtype.newbyteorder("="), order="C")


def float_array(name, value):
    """`value` as a float32 or float64 array."""
    array = any_array(name, value)
    if array.dtype.char not in "fd":
        raise TypeError(f"{name} has dtype {array.dtype}, expected float32 or float64")
    return array


def real_array(name, value):
    """`value` as an array of signed, unsigned or floating numbers."""
    array = any_array(name, value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} has dtype {array.dtype}, expected a real number type")
    return array


def check_same_dtype(**arrays):
    """Refuses arrays whose dtype differs from that of the first; None is skipped."""
    (first, reference), *others = arrays.items()
    for name, array in others:
        if array is not None and array.dtype != reference.dtype:
            raise TypeError(
                f"{name} has dtype {array.dtype}, but {first} has {reference.dtype}: "
                f"expected the same"
            )


def check_shape(name, array, expected):
    if array.shape != expected:
        raise ValueError(f"{name} has shape {array.shape}, expected {expected}")


def check_rank(name, array, ranks):
    if array.ndim not in ranks:
        raise ValueError(
            f"{name} has shape {array.shape} with {array.ndim} axes, "
            f"expected {' or '.join(map(str, ranks))}"
        )


def widened(array):
    """`array`; half precision, which has no C type, as single, which represents it exactly."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def result_array(out, expected_shape, dtype, inputs):
    """(where to compute, where the result belongs): two arrays if `out` overlaps an input."""
    if out is None:
        fresh = np.empty(expected_shape, dtype)
        return fresh, fresh
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out is of type {type(out).__name__}, expected a NumPy array")
    out = out.view(np.ndarray)
    if out.shape != expected_shape or out.dtype != dtype:
        raise ValueError(
            f"out has shape {out.shape} and dtype {out.dtype}, "
            f"expected shape {expected_shape} and dtype {dtype}"
        )
    if not (out.flags.c_contiguous and out.flags.aligned and out.dtype.isnative):
        raise ValueError("out is strided, unaligned or byte-swapped, expected C-contiguous memory")
    if not out.flags.writeable:
        raise ValueError("out is read-only, expected a writable array")
    if any(np.may_share_memory(out, array) for array in inputs if array is not None):
        return np.empty(expected_shape, dtype), out
    return out, out


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


def is_plain(value, depth=3):
    """Whether `value` equals only values that are checked alike: 1 == True == 1.0 are not."""
    kind = type(value)
    return (
        kind is int
        or kind is str
        or value is None
        or (kind is tuple and depth > 0 and all(is_plain(entry, depth - 1) for entry in value))
    )


def conv_problem(x_shape, w_shape, *, stride=1, padding=0, dilation=1, groups=1, layout=None):
    """The problem of `conv_forward` for arrays of these shapes; kept for plain arguments."""
    key = (x_shape, w_shape, stride, padding, dilation, groups, layout)
    make = kept_conv_problem if is_plain(key) else new_conv_problem
    return make(*key)


def new_conv_problem(x_shape, w_shape, stride, padding, dilation, groups, layout):
    w_shape = shape("shape of w", w_shape, minimum=1)
    axes = len(w_shape) - 2
    x_shape = shape("shape of x", x_shape, axes)
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
    return ConvProblem(x_shape[0], groups, in_channels, w_shape[0], channels_last, windows, y_shape)


kept_conv_problem = lru_cache(maxsize=1024)(new_conv_problem)


def float_arrays(**arrays):
    """x, w, dy, ... as float arrays of one dtype."""
    checked = {name: float_array(name, value) for name, value in arrays.items()}
    check_same_dtype(**checked)
    return checked.values()


def conv_arguments(x, w, b, **geometry):
    """(x, w, b, problem) of conv_forward."""
    x, w = float_arrays(x=x, w=w)
    problem = conv_problem(x.shape, w.shape, **geometry)
    return x, w, bias_array(b, x, problem.out_channels), problem


def conv_gradient_arguments(dy, x, w, **geometry):
    """(dy, x, w, problem) of conv_backward."""
    x, w, dy = float_arrays(x=x, w=w, dy=dy)
    problem = conv_problem(x.shape, w.shape, **geometry)
    check_shape("dy", dy, problem.y_shape)
    return dy, x, w, problem


def bias_array(b, like, channels):
    """The bias as a contiguous vector of `channels` elements in the dtype of `like`, or None."""
    if b is None:
        return None
    array = float_array("b", b)
    check_same_dtype(x=like, b=array)
    check_shape("b", array, (channels,))
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
    problem = PoolProblem(x_shape[0], channels, channels_last, w)
    check_countable("y", problem.y_shape)
    return problem


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
    """(x_shape, window) of im2col and col2im, channels first."""
    x_shape = shape(name, x_shape)
    kernel = per_axis("kernel_size", kernel_size, len(x_shape) - 2, 1)
    w = window(
        x_shape[2:], kernel, "kernel_size", stride=stride, padding=padding, dilation=dilation
    )
    check_countable("cols", (x_shape[0], x_shape[1] * w.taps, w.out_pixels))
    return x_shape, w


def divisor(override):
    """`divisor_override` as a number; 0 stands for none."""
    return 0 if override is None else integer("divisor_override", override, 1)


def index_array(name, value):
    """`value` as an int64 array."""
    array = any_array(name, value)
    if array.size == 0 and isinstance(value, (list, tuple)):
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}, expected an integer type")
    if array.dtype == np.uint64 and array.size and array.max() > INT64_MAX:
        raise ValueError(f"{name} contains {array.max()}, expected at most 2**63 - 1")
    return array.astype(np.int64, copy=False)


def max_pool_gradient_arguments(dy, indices, x_shape, layout):
    """(dy, indices, x_shape, channels_last) of max_pool_backward."""
    dy, indices = real_array("dy", dy), index_array("indices", indices)
    x_shape = shape("x_shape", x_shape)
    channels_last = is_channels_last(layout, len(x_shape) - 2)
    channels, _ = channels_and_size(x_shape, channels_last)
    channel = -1 if channels_last else 1
    if dy.ndim != len(x_shape) or (dy.shape[0], dy.shape[channel]) != (x_shape[0], channels):
        raise ValueError(
            f"dy has shape {dy.shape}, expected {len(x_shape)} axes with batch {x_shape[0]} and "
            f"{channels} channels as in x_shape {x_shape}"
        )
    check_shape("indices", indices, dy.shape)
    return dy, indices, x_shape, channels_last


def raise_index_outside(index, x_shape, channels_last):
    plane = math.prod(channels_and_size(x_shape, channels_last)[1])
    raise ValueError(
        f"indices contains {index}, expected positions from 0 to {plane - 1} in the spatial "
        f"plane of x_shape {x_shape}"
    )


# ---------------------------------------------------------------------------------------------
# The layers around a convolution


def channel_axes(x, layout):
    """(channel axis, the others) of a (N, D) matrix or of a batch of images."""
    if x.ndim == 2:
        if layout is not None:
            raise ValueError(f"layout is {layout!r}, expected None for x of shape {x.shape}")
        return 1, (0,)
    check_rank("x", x, (2, 3, 4, 5))
    channel = x.ndim - 1 if is_channels_last(layout, x.ndim - 2) else 1
    return channel, tuple(axis for axis in range(x.ndim) if axis != channel)


def channel_vector(name, value, x, channel):
    """One value per channel in the dtype of x, shaped to broadcast against it."""
    vector = float_array(name, value)
    check_same_dtype(x=x, **{name: vector})
    check_shape(name, vector, (x.shape[channel],))
    return vector.reshape([-1 if axis == channel else 1 for axis in range(x.ndim)])


def positive_float(name, value):
    numbers = (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, numbers):
        raise TypeError(f"{name} is {shown(value)}, expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0 < number < math.inf:
        raise ValueError(f"{name} is {shown(value)}, expected a positive finite number")
    return number


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
