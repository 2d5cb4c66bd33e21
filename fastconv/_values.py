"""One argument at a time: what a caller passes becomes a value or an array of the kind expected.

Sizes are Python integers, so they cannot overflow; what a kernel would have to count beyond 64 bits
is refused.
"""

import math
import operator
import reprlib

import numpy as np

INT64_MAX = 2**63 - 1
CHANNELS_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
CHANNELS_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}
# NumPy's own integers and floating types, as dtype.char has them: of other kinds of "f" there are
# such that have one byte.
REAL = "bBhHiIlLqQefdg"
GRADIENTS = ("dx", "dw", "db")


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
    if array.dtype.char not in REAL:
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


def float_arrays(**arrays):
    """x, w, dy, ... as float arrays of one dtype."""
    checked = {name: float_array(name, value) for name, value in arrays.items()}
    check_same_dtype(**checked)
    return checked.values()


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
