"""Pools of whole lines, straight from x to y: what vectors reach beside a line."""

import numpy as np
import pytest
from cases import assert_same_bits
from pools import (
    AVERAGED,
    avg_pool_by_taps,
    check_avg_pool,
    check_max_pool,
    max_pool_by_taps,
    small_integers,
)

import fastconv

# Whole lines of windows one or two columns apart: (size of the plane, kernel, stride, padding).
LINES = [
    ((6, 6), 2, 2, 0),
    ((7, 9), 3, 2, 1),
    ((5, 8), 3, 1, 1),
    ((6, 40), (3, 4), 2, (1, 2)),
    ((4, 36), (2, 3), 1, ((0, 0), (2, 0))),
    ((3, 4, 10), 3, 2, 1),
    ((37,), 2, 2, 0),
]
DIVISORS = [{}, {"count_include_pad": False}, {"divisor_override": 5}]
# At and beyond what lines are made for: (shape, kernel, options).
LIMITS = [
    *(
        ((2, 3, 90), k, {"stride": s, "padding": p})
        for k in (31, 32, 33)
        for s in (1, 2)
        for p in (0, 15)
    ),
    *(((1, 2, size), 32, {"stride": 1, "padding": p}) for size in (2, 9, 18, 33) for p in (30, 31)),
    ((1, 2, 18), 6, {"stride": 1, "padding": ((0, 5),)}),
    ((1, 2, 45), 31, {"stride": 1, "padding": 15}),
    ((1, 2, 4, 24), (2, 15), {"stride": 1, "padding": (0, 7)}),
    ((1, 2, 33), 11, {"stride": 1, "padding": ((5, 2),)}),
    ((1, 2, 20, 11), (16, 2), {"stride": (1, 2)}),
    ((1, 2, 20, 11), (17, 2), {"stride": (1, 2)}),
    ((1, 2, 5, 6, 40), (4, 4, 2), {"stride": (1, 1, 2), "padding": (1, 2, 1)}),
    ((1, 2, 11, 37), (2, 3), {"stride": (3, 1), "padding": (1, 0)}),
    ((1, 2, 8192), 2, {"stride": 1, "padding": 1}),
    ((1, 2, 8192), 2, {"stride": 1}),
]


@pytest.mark.parametrize("dtype", AVERAGED)
@pytest.mark.parametrize(("shape", "kernel", "options"), LIMITS, ids=str)
def test_largest_windows_and_longest_lines(shape, kernel, options, dtype):
    x = small_integers(shape, dtype)
    check_max_pool(x, kernel, **options)
    for more in ({}, {"count_include_pad": False}):
        check_avg_pool(x, kernel, **options, **more)


@pytest.mark.parametrize("dtype", AVERAGED)
def test_rows_of_windows_apart(dtype):
    x = small_integers((2, 3, 23, 37), dtype)
    for dilation in ((2, 1), (5, 1)):
        check_max_pool(x, 3, stride=1, dilation=dilation, padding=(1, 1))
        check_max_pool(x, 3, stride=2, dilation=dilation, padding=(1, 1), ceil_mode=True)


@pytest.mark.parametrize("dtype", AVERAGED)
@pytest.mark.parametrize("case", LINES, ids=str)
def test_lines_shorter_than_a_vector_stay_within_their_thread(case, dtype, isa):
    size, kernel, stride, padding = case
    x = np.random.default_rng(0).uniform(-1, 1, (160, 17, *size)).astype(dtype)
    options = {"stride": stride, "padding": padding}
    x.reshape(-1)[::23] = np.nan
    x.reshape(-1)[::29] = np.inf
    x.reshape(-1)[::31] = -np.inf
    means = [fastconv.avg_pool_forward(x, kernel, **options, **more) for more in DIVISORS]
    finite = np.nan_to_num(x, nan=0, posinf=0, neginf=0)
    expected, expected_indices = max_pool_by_taps(finite, kernel, **options)
    for threads in (2, 3, 5, 8):
        with fastconv.num_threads(threads):
            y, indices = fastconv.max_pool_forward(finite, kernel, **options)
            alone = fastconv.max_pool_forward(finite, kernel, return_indices=False, **options)
            assert_same_bits(alone, y)
            for more, mean in zip(DIVISORS, means, strict=True):
                assert_same_bits(fastconv.avg_pool_forward(x, kernel, **options, **more), mean)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, expected_indices)


@pytest.mark.parametrize("dtype", AVERAGED)
@pytest.mark.parametrize("case", LINES, ids=str)
def test_what_lies_beside_padding_is_not_of_the_window(case, dtype, isa):
    """Both ends of every other row hold it, next to the padding of the others."""
    size, kernel, stride, padding = case
    options = {"stride": stride, "padding": padding}
    for beside in (np.nan, np.inf, -np.inf, np.finfo(dtype).max):
        x = np.random.default_rng(0).uniform(-3, -1, (2, 3, *size)).astype(dtype)
        rows = x.reshape(-1, size[-1])
        rows[::2, :2] = rows[::2, -2:] = beside
        y, indices = fastconv.max_pool_forward(x, kernel, **options)
        alone = fastconv.max_pool_forward(x, kernel, return_indices=False, **options)
        expected, expected_indices = max_pool_by_taps(x, kernel, **options)
        assert_same_bits(alone, y)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, expected_indices)
        with np.errstate(all="ignore"):
            mean = avg_pool_by_taps(x, kernel, **options).astype(dtype)
        np.testing.assert_allclose(
            fastconv.avg_pool_forward(x, kernel, **options), mean, rtol=1e-6, atol=0
        )
