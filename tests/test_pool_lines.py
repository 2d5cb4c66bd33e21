"""Pools of whole lines, straight from x to y: what vectors reach beside a line."""

import numpy as np
import pytest
from cases import assert_same_bits
from pools import AVERAGED, avg_pool_by_taps, max_pool_by_taps

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


@pytest.mark.parametrize("dtype", AVERAGED)
@pytest.mark.parametrize("case", LINES, ids=str)
def test_lines_shorter_than_a_vector_stay_within_their_thread(case, dtype, isa):
    size, kernel, stride, padding = case
    x = np.random.default_rng(0).uniform(-1, 1, (40, 17, *size)).astype(dtype)
    options = {"stride": stride, "padding": padding}
    expected, expected_indices = max_pool_by_taps(x, kernel, **options)
    mean = fastconv.avg_pool_forward(x, kernel, **options)
    for threads in (2, 3, 5, 8):
        with fastconv.num_threads(threads):
            y, indices = fastconv.max_pool_forward(x, kernel, **options)
            assert_same_bits(fastconv.avg_pool_forward(x, kernel, **options), mean)
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
        expected, expected_indices = max_pool_by_taps(x, kernel, **options)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, expected_indices)
        with np.errstate(all="ignore"):
            mean = avg_pool_by_taps(x, kernel, **options).astype(dtype)
        np.testing.assert_allclose(
            fastconv.avg_pool_forward(x, kernel, **options), mean, rtol=1e-6, atol=0
        )
