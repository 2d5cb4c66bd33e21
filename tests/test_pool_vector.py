"""Pools on sizes that fill vectors and leave tails, on every instruction set.

What is expected comes from pools.py, itself checked against the reference and PyTorch here.
"""

import itertools
import math

import numpy as np
import pytest
from cases import LAYOUT_LAST, REAL, assert_close, assert_same_bits, channels_last, odd_strides
from pools import (
    AVERAGED,
    avg_pool_by_taps,
    check_avg_pool,
    check_max_pool,
    max_pool_by_taps,
    small_integers,
)

import fastconv
from fastconv import reference

FLOATS = ["f2", "f4", "f8", "g"]
DTYPES = pytest.mark.parametrize("dtype", REAL)


# ---------------------------------------------------------------------------------------------
# The oracle


ODD = [
    ((2, 3, 9), 3, {"stride": 2, "padding": 1}),
    ((1, 2, 7, 8), (3, 2), {"stride": (1, 3), "padding": (1, 0), "dilation": (2, 1)}),
    ((1, 2, 7, 6), 3, {"stride": 3, "padding": 1, "ceil_mode": True}),
    ((1, 2, 6, 8), 3, {"stride": 2, "ceil_mode": True}),
    ((1, 2, 5, 6), 3, {"stride": 2, "padding": ((2, 0), (1, 2))}),
    ((1, 1, 4, 5, 6), (2, 3, 2), {"stride": (1, 2, 2), "padding": (0, 1, 1)}),
]


@pytest.mark.parametrize(("shape", "kernel", "options"), ODD, ids=str)
def test_taps_agree_with_the_reference(shape, kernel, options):
    x = small_integers(shape, "f8").copy()
    averaged = {name: value for name, value in options.items() if name != "dilation"}
    for include in (True, False):
        np.testing.assert_allclose(
            avg_pool_by_taps(x, kernel, count_include_pad=include, **averaged),
            reference.avg_pool_forward(x, kernel, count_include_pad=include, **averaged),
            rtol=1e-14,
        )
    x.flat[::7] = np.nan
    x.flat[::5] = -np.inf
    y, indices = max_pool_by_taps(x, kernel, **options)
    expected, expected_indices = reference.max_pool_forward(x, kernel, **options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)


# ---------------------------------------------------------------------------------------------
# Vectors and their tails

# Widths from 1 to 70: those about whole vectors and their halves, and all between them.
ABOUT = [*range(1, 6), *(n for n in range(6, 68) if n % 16 in (0, 1, 7, 8, 15)), 70]
BETWEEN = sorted(set(range(1, 71)).difference(ABOUT))
# Options of one row: kernel, stride, padding, dilation, ceil_mode.
ROWS = [
    (2, 2, 0, 1, False),
    (2, 2, 1, 1, True),
    (3, 1, 1, 1, False),
    (3, 2, 1, 1, False),
    (3, 2, 0, 1, True),
    (5, 1, 4, 1, False),
    (4, 3, 2, 1, True),
    (7, 4, 3, 1, False),
    (1, 1, 0, 1, False),
    (1, 3, 0, 1, False),
    (3, 1, 2, 2, False),
    (2, 2, 1, 3, True),
    (3, 3, 3, 3, False),
    (6, 2, (0, 5), 1, False),
    (6, 1, (5, 0), 1, True),
]


@pytest.fixture(
    params=[ABOUT, pytest.param(BETWEEN, marks=pytest.mark.long)], ids=["about", "between"]
)
def widths(request):
    return request.param


def fitting_rows(width, dilated=True):
    for kernel, stride, padding, dilation, ceil_mode in ROWS:
        pads = (padding, padding) if isinstance(padding, int) else padding
        reach = (kernel - 1) * dilation + 1
        if reach > width + sum(pads) or dilation > width or (dilation > 1 and not dilated):
            continue
        options = {"stride": stride, "padding": (pads,), "ceil_mode": ceil_mode}
        yield kernel, options | ({"dilation": dilation} if dilated else {})


@DTYPES
def test_max_pool_of_rows_of_1_to_70_elements(dtype, widths):
    for width in widths:
        x = small_integers((2, 3, width), dtype)
        for kernel, options in fitting_rows(width):
            check_max_pool(x, kernel, **options)


@pytest.mark.parametrize("dtype", AVERAGED)
def test_average_pool_of_rows_of_1_to_70_elements(dtype, widths):
    for width in widths:
        x = small_integers((2, 3, width), dtype)
        for kernel, options in fitting_rows(width, dilated=False):
            check_avg_pool(x, kernel, **options)
            check_avg_pool(x, kernel, count_include_pad=False, **options)


@DTYPES
def test_max_pool_of_planes_with_rows_of_1_to_70_elements(dtype, widths):
    planes = [
        (2, {}),
        (3, {"stride": 2, "padding": 1}),
        (3, {"stride": 1, "padding": 1}),
        ((2, 3), {"stride": (3, 1), "padding": (0, 1), "dilation": (3, 1)}),
    ]
    for width in widths:
        x = small_integers((1, 2, 5, width), dtype)
        for kernel, options in planes[width == 1 :]:
            check_max_pool(x, kernel, ceil_mode=width % 2 == 0, **options)


@pytest.mark.parametrize("dtype", AVERAGED)
def test_average_pool_of_planes_with_rows_of_1_to_70_elements(dtype, widths):
    planes = [(2, {}), (3, {"stride": 2, "padding": 1}), ((2, 3), {"stride": 1, "padding": (1, 2)})]
    for width in widths:
        x = small_integers((1, 2, 5, width), dtype)
        for kernel, options in planes[width == 1 :]:
            check_avg_pool(x, kernel, ceil_mode=width % 2 == 0, **options)


@pytest.mark.parametrize("dtype", AVERAGED)
def test_rounding_of_averages_stays_within_the_bound_of_the_sum(dtype, isa, widths):
    rng = np.random.default_rng(0)
    for width in widths:
        x = rng.uniform(-1, 1, (2, 5, 4, width)).astype(dtype)
        expected = avg_pool_by_taps(x, 3, stride=1, padding=1)
        y = fastconv.avg_pool_forward(x, 3, stride=1, padding=1)
        assert_close(y, expected, depth=9)
        y = fastconv.avg_pool_forward(channels_last(x), 3, stride=1, padding=1, layout="NHWC")
        assert_close(y, channels_last(expected), depth=9)


@DTYPES
def test_max_pool_of_1_to_70_channels_last(dtype, widths):
    for channels in widths:
        x = small_integers((2, channels, 5, 4), dtype)
        check_max_pool(x, 2, layout="NHWC")
        check_max_pool(x, 3, layout="NHWC", stride=2, padding=1, ceil_mode=True)
        check_max_pool(x, (2, 1), layout="NHWC", stride=(1, 3), dilation=(3, 1))
    for axes, size in ((1, (9,)), (3, (3, 4, 3))):
        for channels in (1, 4, 15, 16, 17, 33, 64, 65):
            x = small_integers((1, channels, *size), dtype)
            check_max_pool(x, 3, layout=LAYOUT_LAST[axes], stride=2, padding=1)


@pytest.mark.parametrize("dtype", AVERAGED)
def test_average_pool_of_1_to_70_channels_last(dtype, widths):
    for channels in widths:
        x = small_integers((2, channels, 5, 4), dtype)
        check_avg_pool(x, 2, layout="NHWC")
        check_avg_pool(x, 3, layout="NHWC", stride=2, padding=1, ceil_mode=True)
        check_avg_pool(x, 3, layout="NHWC", stride=1, padding=1, count_include_pad=False)
    for axes, size in ((1, (9,)), (3, (3, 4, 3))):
        for channels in (1, 4, 15, 16, 17, 33, 64, 65):
            x = small_integers((1, channels, *size), dtype)
            check_avg_pool(x, 3, layout=LAYOUT_LAST[axes], stride=2, padding=1)


# Few channels last: outputs and channels of a row share the vectors.
FEW = list(itertools.product([2, 3, 5, 7], [1, 2, 3, 5, 8, 13, 34, 70]))


@DTYPES
def test_max_pool_of_rows_of_few_channels_last(dtype):
    for channels, width in FEW:
        x = small_integers((2, channels, width), dtype)
        for kernel, options in fitting_rows(width):
            check_max_pool(x, kernel, layout="NWC", **options)


@pytest.mark.parametrize("dtype", AVERAGED)
def test_average_pool_of_rows_of_few_channels_last(dtype):
    for channels, width in FEW:
        x = small_integers((2, channels, width), dtype)
        for kernel, options in fitting_rows(width, dilated=False):
            check_avg_pool(x, kernel, layout="NWC", **options)
            check_avg_pool(x, kernel, layout="NWC", count_include_pad=False, **options)


@DTYPES
def test_rows_of_few_channels_last_in_several_blocks(dtype):
    x = small_integers((1, 3, 3, 9001), dtype)
    check_max_pool(x, 3, layout="NHWC", stride=2, padding=1)
    if dtype in AVERAGED:
        check_avg_pool(x, 3, layout="NHWC", stride=2, padding=1)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_nan_wins_in_every_channel_of_few_channels_last(dtype):
    x = small_integers((1, 3, 4, 40), dtype).copy()
    x.flat[::7] = np.nan
    x.flat[::5] = -np.inf
    check_max_pool(x, 3, layout="NHWC", stride=2, dilation=(1, 3), padding=1)


# Of channels that fill whole vectors, windows that share columns and windows that do not: few and
# many taps, rows cut at the edges, positions that no window sees.
WHOLE = [
    ((2, 16, 9, 11), 3, {"stride": 1, "padding": 1}),
    ((2, 272, 6, 7), 3, {"stride": 1, "padding": 1}),
    ((2, 64, 9, 11), 3, {"stride": 2, "padding": 1}),
    ((1, 16, 9, 13), 5, {"stride": 1, "padding": 2}),
    ((1, 16, 5, 9), (4, 6), {"stride": (3, 2), "padding": (2, 3)}),
    ((1, 80, 8, 8), 2, {"stride": 2}),
    ((1, 16, 9, 9), 2, {"stride": 4}),
    ((1, 16, 7, 8), 1, {"stride": 3}),
    ((1, 16, 4, 50), (2, 17), {"stride": 1}),
    ((1, 16, 7, 7), 7, {}),
    ((1, 16, 8, 7), 3, {"stride": 2, "ceil_mode": True}),
    ((3, 32, 20), 4, {"stride": 2, "padding": 1}),
    ((1, 16, 4, 5, 6), 3, {"stride": 1, "padding": 1}),
]


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", AVERAGED)
@pytest.mark.parametrize("existing", [False, True], ids=["with_padding", "existing"])
@pytest.mark.parametrize(("shape", "kernel", "options"), WHOLE, ids=str)
def test_average_pool_of_whole_vectors_of_channels_last(
    shape, kernel, options, existing, dtype, isa
):
    layout, eps = LAYOUT_LAST[len(shape) - 2], np.finfo(dtype).eps
    options = options | {"count_include_pad": not existing}
    x = small_integers(shape, dtype)
    check_avg_pool(x, kernel, layout, **options)
    y = avg_pool_by_taps(x, kernel, **options)
    dy = np.random.default_rng(4).uniform(1, 2, y.shape).astype(dtype)
    for more in ({}, {"divisor_override": 7}):
        dx = fastconv.avg_pool_backward(dy, shape, kernel, **options, **more)
        last = fastconv.avg_pool_backward(
            channels_last(dy), channels_last(x).shape, kernel, layout=layout, **options, **more
        )
        np.testing.assert_allclose(last, channels_last(dx), rtol=4 * eps)


@pytest.mark.parametrize("out", [1, 3, 5, 11])
@pytest.mark.parametrize("dtype", AVERAGED)
def test_adaptive_average_of_whole_vectors_of_channels_last(dtype, out, isa):
    eps = np.finfo(dtype).eps
    x = small_integers((2, 48, 5, 11), dtype)
    y = reference.adaptive_avg_pool_forward(x, (2, out))
    last = fastconv.adaptive_avg_pool_forward(channels_last(x), (2, out), layout="NHWC")
    np.testing.assert_allclose(last, channels_last(y), rtol=4 * eps, atol=eps)
    dx = reference.adaptive_avg_pool_backward(y.astype(dtype), x.shape)
    back = fastconv.adaptive_avg_pool_backward(last, channels_last(x).shape, layout="NHWC")
    np.testing.assert_allclose(back, channels_last(dx), rtol=8 * eps, atol=4 * eps)


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i2"])
def test_every_kernel_stride_padding_and_dilation_of_a_plane(dtype, last):
    x = small_integers((1, 2, 19, 21), dtype)
    layout = "NHWC" if last else None
    for kernel, stride, dilation in itertools.product(range(1, 8), range(1, 5), range(1, 4)):
        for padding in {0, kernel // 2, kernel - 1}:
            options = {"stride": stride, "padding": padding}
            check_max_pool(x, kernel, layout=layout, dilation=dilation, **options)
            if dtype in AVERAGED and dilation == 1:
                check_avg_pool(x, kernel, layout=layout, **options)


VOLUMES = [
    (2, {}),
    (3, {"stride": 2, "padding": 1}),
    ((1, 3, 2), {"stride": (1, 2, 1), "padding": (0, 1, 1)}),
    ((2, 2, 3), {"stride": (2, 1, 3), "ceil_mode": True}),
]


@DTYPES
def test_max_pool_of_volumes(dtype):
    for width in (2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33):
        x = small_integers((1, 2, 3, 4, width), dtype)
        for kernel, options in VOLUMES:
            check_max_pool(x, kernel, **options)
        check_max_pool(x, 2, stride=1, dilation=(2, 1, 1), padding=(1, 0, 1))


@pytest.mark.parametrize("dtype", AVERAGED)
def test_average_pool_of_volumes(dtype):
    for width in (3, 7, 8, 9, 15, 16, 17, 31, 32, 33):
        x = small_integers((1, 2, 3, 4, width), dtype)
        for kernel, options in VOLUMES:
            check_avg_pool(x, kernel, **options)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i2", "f2", "i8"])
def test_strided_views_of_rows_that_fill_vectors(dtype, isa):
    x = small_integers((2, 3, 9, 37), dtype)
    y, indices = fastconv.max_pool_forward(x, 3, stride=2, padding=1)
    for kind, view in odd_strides(x).items():
        actual = fastconv.max_pool_forward(view, 3, stride=2, padding=1)
        np.testing.assert_array_equal(actual[0], y, err_msg=kind)
        np.testing.assert_array_equal(actual[1], indices, err_msg=kind)
        if dtype in AVERAGED:
            mean = fastconv.avg_pool_forward(x, 3, stride=2, padding=1)
            actual = fastconv.avg_pool_forward(view, 3, stride=2, padding=1)
            assert_same_bits(actual, mean)


# ---------------------------------------------------------------------------------------------
# Which element wins


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("kernel", "stride"), [(2, 1), (2, 2), (3, 1), (3, 2), (5, 3), (7, 1)])
def test_nan_at_every_position_of_a_row_of_40(dtype, kernel, stride):
    # Row n has its NaN at n, and a second one further on.
    x = np.tile(small_integers((1, 1, 40), dtype), (40, 1, 1))
    x[range(40), 0, range(40)] = np.nan
    x[range(40), 0, (np.arange(40) * 7 + 3) % 40] = np.nan
    check_max_pool(x, kernel, stride=stride)
    check_max_pool(x, kernel, stride=stride, padding=kernel // 2)
    check_max_pool(x.transpose(1, 0, 2), kernel, layout="NWC", stride=stride)
    x = x.reshape(2, 1, 20, 40)
    check_max_pool(x, kernel, stride=stride)
    check_max_pool(x, kernel, layout="NHWC", stride=stride)


@pytest.mark.parametrize("dtype", FLOATS)
def test_first_of_many_nans_has_the_index(dtype):
    rng = np.random.default_rng(0)
    for width in (5, 8, 16, 17, 33, 70):
        x = small_integers((2, 3, 6, width), dtype).copy()
        x[rng.random(x.shape) < 0.4] = np.nan
        for kernel, options in ((2, {}), (3, {"stride": 1, "padding": 1}), (4, {"stride": 3})):
            check_max_pool(x, kernel, ceil_mode=True, **options)
            check_max_pool(x, kernel, layout="NHWC", **options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_rows_of_infinities(dtype, value):
    for width in (3, 8, 16, 37, 64, 70):
        x = small_integers((1, 2, 4, width), dtype).copy()
        x[:, :, 1:3] = value
        x[:, :, 2, ::5] = -value
        check_max_pool(x, 2, stride=1)
        check_max_pool(x, 3, stride=2, padding=1)
        check_max_pool(x, 3, layout="NHWC", stride=1, padding=1)
        x[...] = value
        check_max_pool(x, 3, stride=1, padding=2)
        check_max_pool(x, 2, layout="NHWC", stride=1, padding=1)


@DTYPES
def test_windows_of_the_least_value_have_a_valid_first_index(dtype):
    least = np.iinfo(dtype).min if dtype[0] in "iu" else -np.inf
    for width in (1, 3, 8, 16, 31, 65, 70):
        x = np.full((1, 17, 3, width), least, dtype)
        for layout in (None, "NHWC"):
            check_max_pool(x, 2, layout=layout, stride=1, padding=1)
            check_max_pool(x, 3, layout=layout, stride=2, padding=2)
            check_max_pool(x, 1, layout=layout)


@DTYPES
def test_extremes_of_the_dtype_are_ordered(dtype):
    info = np.iinfo(dtype) if dtype[0] in "iu" else np.finfo(dtype)
    values = np.array([info.min, info.max, 0, 1, info.max - 1, info.min + 1], dtype)
    rng = np.random.default_rng(0)
    for width in (5, 16, 33, 70):
        x = values[rng.integers(0, 6, (2, 5, 4, width))]
        check_max_pool(x, 2, stride=1)
        check_max_pool(x, 3, layout="NHWC", stride=2, padding=1)


@DTYPES
def test_first_of_equal_maxima_has_the_index(dtype, widths):
    for width in widths:
        x = np.full((1, 3, 3, width), 5, dtype)
        for kernel in (1, 2, 3):
            if kernel <= width:
                check_max_pool(x, kernel, stride=1)
                check_max_pool(x, kernel, layout="NHWC", stride=1, padding=kernel // 2)
        x[:, :, :, 1::2] = 4
        check_max_pool(x, 3, stride=2, padding=1)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_zeros_of_either_sign_are_equal_and_the_first_wins(dtype, isa, widths):
    rng = np.random.default_rng(0)
    for width in widths:
        x = np.where(rng.random((2, 5, 4, width)) < 0.5, 0.0, -0.0).astype(dtype)
        for kernel, options in ((2, {}), (3, {"stride": 1, "padding": 1})):
            if kernel > width + 2 * options.get("padding", 0):
                continue
            for layout in (None, "NHWC"):
                y, indices = max_pool_by_taps(x, kernel, **options)
                given = x if layout is None else channels_last(x)
                if layout is not None:
                    y, indices = channels_last(y), channels_last(indices)
                actual = fastconv.max_pool_forward(given, kernel, layout=layout, **options)
                np.testing.assert_array_equal(actual[1], indices)
                assert_same_bits(actual[0], y)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_average_of_nan_and_infinity_stays_within_its_windows(dtype, isa):
    for at in range(40):
        x = np.zeros((1, 1, 3, 40), dtype)
        x[0, 0, 1, at], x[0, 0, 0, 39 - at] = np.nan, np.inf
        for kernel, options in ((2, {"stride": 1}), (3, {"stride": 2, "padding": 1})):
            for layout in (None, "NHWC"):
                y = reference.avg_pool_forward(x, kernel, **options)
                given = x if layout is None else channels_last(x)
                y = y if layout is None else channels_last(y)
                actual = fastconv.avg_pool_forward(given, kernel, layout=layout, **options)
                np.testing.assert_array_equal(actual, y)


# ---------------------------------------------------------------------------------------------
# Larger arrays


LARGE = [
    ((2, 5, 61, 67), 2, {"stride": 2}),
    ((2, 5, 61, 67), 3, {"stride": 2, "padding": 1}),
    ((1, 3, 64, 64), 5, {"stride": 1, "padding": 2}),
    ((1, 4, 56, 57), 3, {"stride": 2, "ceil_mode": True}),
    ((2, 70, 9, 10), 3, {"stride": 1, "padding": 1}),
    ((2, 6, 300), 4, {"stride": 3, "padding": 2}),
    ((1, 3, 9, 20, 35), 3, {"stride": 2, "padding": 1}),
]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("shape", "kernel", "options"), LARGE, ids=str)
def test_pytorch_agrees_on_larger_arrays(shape, kernel, options, dtype, torch, isa):
    x = np.random.default_rng(1).permutation(math.prod(shape)).reshape(shape).astype(dtype)
    axes, functional = len(shape) - 2, torch.nn.functional
    pool = getattr(functional, f"max_pool{axes}d")
    expected, expected_indices = pool(torch.tensor(x), kernel, return_indices=True, **options)
    mean = getattr(functional, f"avg_pool{axes}d")(torch.tensor(x).double(), kernel, **options)
    for layout in (None, LAYOUT_LAST[axes]):
        put = channels_last if layout else np.asarray
        y, indices = fastconv.max_pool_forward(put(x), kernel, layout=layout, **options)
        np.testing.assert_array_equal(y, put(expected.numpy()))
        np.testing.assert_array_equal(indices, put(expected_indices.numpy()))
        y = fastconv.avg_pool_forward(put(x), kernel, layout=layout, **options)
        eps = 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(y, put(mean.numpy()), rtol=eps)


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "f2"])
@pytest.mark.parametrize(("shape", "kernel", "options"), LARGE, ids=str)
def test_one_and_two_threads_give_the_same_bits(shape, kernel, options, dtype, isa):
    rng = np.random.default_rng(2)
    x = (rng.uniform(0, 100, shape)).astype(dtype)
    for layout in (None, LAYOUT_LAST[len(shape) - 2]):
        given, results = x if layout is None else channels_last(x), []
        for count in (1, 2):
            with fastconv.num_threads(count):
                y, indices = fastconv.max_pool_forward(given, kernel, layout=layout, **options)
                result = [y, indices]
                result.append(fastconv.max_pool_backward(y, indices, given.shape, layout=layout))
                if dtype in AVERAGED:
                    y = fastconv.avg_pool_forward(given, kernel, layout=layout, **options)
                    dx = fastconv.avg_pool_backward(
                        y, given.shape, kernel, layout=layout, **options
                    )
                    result += [y, dx]
                results.append(result)
        for one, two in zip(*results, strict=True):
            assert_same_bits(one, two)


@pytest.mark.parametrize(("shape", "kernel", "options"), LARGE, ids=str)
def test_backwards_on_larger_arrays_are_adjoint(shape, kernel, options, isa):
    rng = np.random.default_rng(3)
    x = rng.standard_normal(shape)
    for layout in (None, LAYOUT_LAST[len(shape) - 2]):
        given = x if layout is None else channels_last(x)
        y, indices = fastconv.max_pool_forward(given, kernel, layout=layout, **options)
        dy = rng.standard_normal(y.shape)
        dx = fastconv.max_pool_backward(dy, indices, given.shape, layout=layout)
        np.testing.assert_allclose(np.vdot(given, dx), np.vdot(y, dy), rtol=1e-11, atol=1e-11)
        y = fastconv.avg_pool_forward(given, kernel, layout=layout, **options)
        dx = fastconv.avg_pool_backward(dy, given.shape, kernel, layout=layout, **options)
        np.testing.assert_allclose(np.vdot(given, dx), np.vdot(y, dy), rtol=1e-11, atol=1e-11)
