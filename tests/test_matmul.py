"""The algorithm "im2col": every way of cutting a problem, and its bounded workspace."""

import tracemalloc

import numpy as np
import pytest
from cases import CONV, LAYOUT_LAST, channels_last

import fastconv
from fastconv import _matmul, reference


@pytest.mark.parametrize("min_tile_pixels", [1, 8, 256])
@pytest.mark.parametrize("buffer_bytes", [60, 500, 4000])
@pytest.mark.parametrize("case", CONV, ids=str)
def test_blocks_of_every_size_cover_the_problem(case, buffer_bytes, min_tile_pixels, monkeypatch):
    monkeypatch.setattr(_matmul, "BUFFER_BYTES", buffer_bytes)
    monkeypatch.setattr(_matmul, "MIN_TILE_PIXELS", min_tile_pixels)
    x, w, b = case.integers()
    expected = reference.conv_forward(x, w, b, **case.options)
    dy = np.random.default_rng(1).integers(-4, 5, expected.shape).astype("f4")
    gradients = reference.conv_backward(dy, x, w, **case.options)
    options = dict(case.options, algorithm="im2col")
    np.testing.assert_array_equal(fastconv.conv_forward(x, w, b, **options), expected)
    for actual, e in zip(fastconv.conv_backward(dy, x, w, **options), gradients, strict=True):
        np.testing.assert_array_equal(actual, e)
    options["layout"] = LAYOUT_LAST[x.ndim - 2]
    x, dy, w = channels_last(x), channels_last(dy), np.asfortranarray(w)
    np.testing.assert_array_equal(
        fastconv.conv_forward(x, w, b, **options), channels_last(expected)
    )
    last = fastconv.conv_backward(dy, x, w, **options)
    np.testing.assert_array_equal(last.dx, channels_last(gradients.dx))
    np.testing.assert_array_equal(last.dw, gradients.dw)


def peak_beside_results(call):
    """Bytes that NumPy held at the worst moment of call(), less what it returned."""
    tracemalloc.start()
    try:
        results = call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - sum(array.nbytes for array in results)


LARGE = {
    "deep": ((1, 2048, 9, 9), (96, 2048, 5, 5), {}),
    "wide": ((1, 16, 12, 12), (40_000, 16, 3, 3), {}),
    "many_groups": ((2, 60_000, 5, 5), (60_000, 1, 3, 3), {"groups": 60_000}),
    "large_image": ((1, 8, 1000, 1000), (2, 8, 3, 3), {"padding": 1}),
    "long_line": ((1, 4, 1_000_000), (2, 4, 9), {}),
    "one_huge_window": ((1, 300, 100, 100), (2, 300, 100, 100), {}),
}


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("name", LARGE)
def test_workspace_is_at_most_32_mib(name, contiguous):
    x_shape, w_shape, options = LARGE[name]
    x, w = np.ones(x_shape, np.float32), np.ones(w_shape, np.float32)
    y = np.ones(fastconv.conv_output_shape(x_shape, w_shape, **options), np.float32)
    if not contiguous:
        x, w, y = np.asfortranarray(x), np.asfortranarray(w), np.asfortranarray(y)
    forward = peak_beside_results(lambda: [fastconv.conv_forward(x, w, **options)])
    backward = peak_beside_results(lambda: fastconv.conv_backward(y, x, w, **options))
    assert forward <= 32 << 20
    assert backward <= 32 << 20
