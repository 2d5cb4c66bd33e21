"""The named problems that the tests share, and how near a result must be."""

import functools
import inspect
import math
from dataclasses import dataclass, field

import numpy as np

import fastconv
from fastconv.plans import CONV_OPS


def paths():
    """(op, path, whether it is exact on sums of small whole numbers) of everything that runs."""
    for op in CONV_OPS:
        for row in fastconv.explain(op, (1, 1, 4), (1, 1, 2))["candidates"]:
            yield op, row["path"], row["exact"]


def algorithm_of(path):
    return path.partition("/")[0]


# Algorithms all of whose paths are exact. What the others give is near, and has tests of its own.
INEXACT = {algorithm_of(path) for _, path, exact in paths() if not exact}
EXACT = [
    name
    for name in dict.fromkeys(algorithm_of(path) for path in fastconv.algorithms())
    if name not in INEXACT
]
# (algorithm, instruction set): the naive loops are compiled once, for the baseline.
IMPLEMENTATIONS = [
    (algorithm, isa)
    for algorithm in EXACT
    for isa in (fastconv.isas() if algorithm != "naive" else fastconv.isas()[-1:])
]


def is_refusal(error, algorithm):
    """Whether an exception says that an algorithm cannot do the problem that it was asked for."""
    said = f"algorithm {str(algorithm)!r} cannot do this problem: "
    return isinstance(error, ValueError) and str(error).startswith(said)


def but_for_refusals(test):
    """A test of drawn problems that is content where the `implementation` it drew refuses one."""

    @functools.wraps(test)
    def content(*arguments, **named):
        bound = inspect.signature(test).bind(*arguments, **named).arguments
        try:
            test(*arguments, **named)
        except ValueError as error:
            if not is_refusal(error, bound["implementation"][0]):
                raise

    return content


def unless_refused(algorithm, function, *arguments, **options):
    """What the function gives, or None where the algorithm refuses."""
    try:
        return function(*arguments, algorithm=algorithm, **options)
    except ValueError as error:
        if is_refusal(error, algorithm):
            return None
        raise


def paths_that_can(algorithm, op, x, w, options):
    """The paths of an algorithm that do not refuse a problem of arrays like these."""
    rows = fastconv.explain(op, x.shape, w.shape, dtype=x.dtype, **options)["candidates"]
    names = [row["path"] for row in rows if row["refusal"] is None]
    return [name for name in names if algorithm_of(name) == algorithm]


@dataclass(frozen=True)
class Case:
    """One convolution, shapes channels first; `options` are keywords of conv_forward."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    options: dict = field(default_factory=dict, hash=False)

    def __str__(self):
        return self.name

    @property
    def depth(self):
        """Terms in one sum of the forward, and more than in one of dx."""
        return int(np.prod(self.w[1:])) + self.w[0] * int(np.prod(self.w[2:]))

    def random(self, seed=0, dtype=np.float64):
        """x, w, b uniform in [-1, 1)."""
        rng = np.random.default_rng(seed)
        shapes = (self.x, self.w, self.w[:1])
        return tuple(rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes)

    def integers(self, seed=0, dtype=np.float32):
        """x, w, b of small integers: every sum is exact in every order."""
        rng = np.random.default_rng(seed)
        shapes = (self.x, self.w, self.w[:1])
        return tuple(rng.integers(-4, 5, shape).astype(dtype) for shape in shapes)


CONV = [
    Case("one_element", (1, 1, 1, 1), (1, 1, 1, 1)),
    Case("kernel_covers_input", (2, 3, 4, 5), (2, 3, 4, 5)),
    Case("same_3x3", (2, 3, 7, 8), (4, 3, 3, 3), {"padding": 1}),
    Case("course_7x7", (2, 3, 16, 16), (5, 3, 7, 7), {"padding": 3}),
    Case("course_stride_2", (3, 3, 15, 15), (4, 3, 3, 3), {"stride": 2, "padding": 1}),
    Case("wide_kernel", (2, 2, 6, 11), (3, 2, 2, 5), {"padding": (0, 2)}),
    Case("tall_kernel", (2, 2, 11, 6), (3, 2, 5, 1), {"padding": (2, 0)}),
    Case("pointwise", (3, 5, 6, 7), (4, 5, 1, 1)),
    Case("pointwise_stride_2", (2, 5, 6, 7), (4, 5, 1, 1), {"stride": 2}),
    Case("pointwise_padded", (2, 3, 4, 4), (4, 3, 1, 1), {"padding": 1}),
    Case("pointwise_one_padded_pixel", (2, 3, 1, 1), (4, 3, 1, 1), {"padding": 1, "stride": 3}),
    Case("stride_beyond_kernel", (2, 2, 9, 10), (3, 2, 2, 2), {"stride": (4, 3)}),
    Case("stride_leaves_a_rest", (2, 2, 8, 9), (3, 2, 3, 3), {"stride": (3, 4)}),
    Case("padding_beyond_kernel", (1, 2, 3, 3), (2, 2, 2, 2), {"padding": 4}),
    Case("uneven_padding", (2, 2, 5, 6), (3, 2, 3, 3), {"padding": ((0, 2), (3, 1))}),
    Case("same_even_kernel", (2, 2, 5, 6), (3, 2, 2, 4), {"padding": "same"}),
    Case("same_stride_2", (2, 2, 7, 6), (3, 2, 3, 3), {"padding": "same", "stride": 2}),
    Case("same_lower", (2, 2, 5, 6), (3, 2, 2, 4), {"padding": "same_lower", "stride": (1, 2)}),
    Case("dilated", (2, 3, 9, 10), (2, 3, 3, 3), {"dilation": (2, 3), "padding": 2}),
    Case("dilated_beyond_input", (1, 2, 3, 3), (2, 2, 3, 3), {"dilation": 5, "padding": 5}),
    Case("stride_and_dilation", (2, 2, 11, 9), (3, 2, 3, 2), {"stride": 3, "dilation": 2}),
    Case("groups_2", (2, 4, 6, 6), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    Case("depthwise", (2, 5, 6, 6), (5, 1, 3, 3), {"groups": 5, "padding": 1}),
    Case("depthwise_multiplier_2", (2, 3, 6, 6), (6, 1, 3, 3), {"groups": 3, "stride": 2}),
    Case("many_small_images", (40, 3, 5, 5), (4, 3, 3, 3), {"padding": 1}),
    Case("many_small_images_grouped", (33, 4, 4, 4), (6, 2, 3, 3), {"groups": 2}),
    Case("odd_channels", (2, 17, 5, 5), (19, 17, 3, 3), {"padding": 1}),
    Case("line", (2, 3, 12), (4, 3, 3), {"padding": 1}),
    Case("line_stride_dilation", (2, 4, 25), (6, 2, 4), {"stride": 2, "dilation": 3, "groups": 2}),
    Case("line_causal", (1, 2, 10), (3, 2, 3), {"padding": ((4, 0),), "dilation": 2}),
    Case("volume", (2, 2, 4, 5, 6), (3, 2, 2, 3, 3), {"padding": (0, 1, 1)}),
    Case("volume_stride", (1, 2, 5, 6, 7), (4, 1, 3, 2, 3), {"stride": (2, 1, 2), "groups": 2}),
    Case(
        "plane_between_outputs",
        (1, 2, 1, 4, 4),
        (3, 2, 1, 2, 2),
        {"padding": (1, 0, 0), "stride": 2},
    ),
    Case("volume_pairs", (1, 1, 3, 4, 3), (2, 1, 2, 2, 2), {"padding": ((1, 0), (0, 1), (1, 1))}),
]

CONV_BY_NAME = {case.name: case for case in CONV}


def kept(expected):
    """`expected`, a function that returns arrays, computed once for tests that follow one another.

    What an oracle says of a case is then read by each instruction set. Nobody writes to it.
    """

    @functools.lru_cache(maxsize=16)
    def once(*arguments):
        arrays = tuple(expected(*arguments))
        for array in arrays:
            array.flags.writeable = False
        return arrays

    return once


def channels_last(array):
    """(N, C, *size) to (N, *size, C), contiguous."""
    return np.moveaxis(array, 1, -1).copy()


def channels_first(array):
    return np.moveaxis(array, -1, 1).copy()


REAL = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g"]
LAYOUT_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


def assert_close(actual, expected, depth, scale=1.0):
    """Equal up to the rounding of `depth` terms of size `scale` at most, in actual's dtype."""
    assert actual.shape == expected.shape
    atol = np.finfo(actual.dtype).eps * (depth + 8) * scale
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def assert_same_bits(actual, expected):
    """Equal to the sign of a zero."""
    assert actual.dtype == expected.dtype
    bits = f"u{actual.itemsize}"
    np.testing.assert_array_equal(actual.view(bits), expected.view(bits))


def odd_strides(array):
    """The same values in every memory layout that must not matter, by name."""
    padded = np.zeros(tuple(2 * n + 1 for n in array.shape), array.dtype)
    every_second = padded[tuple(slice(1, None, 2) for _ in array.shape)]
    every_second[...] = array
    reverse = tuple(slice(None, None, -1) for _ in array.shape)
    unaligned = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    unaligned[...] = array
    read_only = array.copy()
    read_only.flags.writeable = False
    packed = np.zeros(array.shape, [("skip", "u1"), ("value", array.dtype)])["value"]
    packed[...] = array
    return {
        "fortran": np.asfortranarray(array),
        "every_second": every_second,
        "reversed": np.ascontiguousarray(array[reverse])[reverse],
        "transposed": np.ascontiguousarray(array.T).T,
        "unaligned": unaligned,
        "packed_record": packed,
        "big_endian": array.astype(array.dtype.newbyteorder(">")),
        "read_only": read_only,
    }


def integers(seed, *shape, low=-9, high=10):
    """Random small integers as float64: sums of their products are exact."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.float64)


def distinct(seed, *shape, dtype=np.float64):
    """Every value once, so that each window has one maximum."""
    order = np.random.default_rng(seed).permutation(math.prod(shape))
    return order.reshape(shape).astype(dtype)


def broadcast(array):
    """(view with stride 0 along every second axis from the first, its dense copy)."""
    first = tuple(slice(0, 1) if axis % 2 == 0 else slice(None) for axis in range(array.ndim))
    view = np.broadcast_to(array[first], array.shape)
    return view, view.copy()
