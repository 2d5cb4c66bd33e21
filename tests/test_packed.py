"""algorithm="packed_gemm": when it is taken, and shapes that the other tests are too small for.

All elements are small integers, so that every sum is exact in every order.
"""

import numpy as np
import pytest
from cases import assert_same_bits

import fastconv

AVX2 = "avx2"


def integers(*shape, dtype="f4"):
    return np.random.default_rng(0).integers(-4, 5, shape).astype(dtype)


def chosen(op, x_shape, w_shape, **geometry):
    with fastconv.use_isa(AVX2), fastconv.num_threads(1):
        return fastconv.explain(op, x_shape, w_shape, **geometry)["path"]


@pytest.mark.skipif(AVX2 not in fastconv.isas(), reason="the choice is AVX2's")
@pytest.mark.parametrize(
    ("case", "taken", "op", "x_shape", "w_shape", "geometry"),
    [
        ("pointwise", True, "forward", (8, 64, 56, 56), (256, 64, 1, 1), {}),
        ("pointwise_dx", True, "dx", (8, 256, 56, 56), (64, 256, 1, 1), {}),
        ("patches", True, "forward", (2, 96, 28, 28), (192, 96, 2, 2), {"stride": 2}),
        ("few_channels", False, "forward", (8, 64, 57, 57), (24, 64, 1, 1), {}),
        ("planes_4_KiB_apart", True, "forward", (8, 64, 64, 64), (24, 64, 1, 1), {}),
        ("taps_overlap", False, "forward", (8, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
        ("tiny_images", False, "forward", (512, 64, 3, 3), (64, 64, 1, 1), {}),
        ("few_outputs_of_dx", False, "dx", (8, 256, 8, 8), (256, 256, 1, 1), {"stride": 4}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_is_taken_for(case, taken, op, x_shape, w_shape, geometry):
    assert (chosen(op, x_shape, w_shape, **geometry) == "packed_gemm/pixels") is taken


@pytest.mark.parametrize("isa", fastconv.isas())
@pytest.mark.parametrize("threads", [1, 2])
def test_next_block_is_fetched_of_an_input_beyond_the_cache(isa, threads):
    x, w = integers(2, 96, 90, 91), integers(9, 96, 1, 1)
    assert x.nbytes > 5 << 20
    with fastconv.use_isa(isa), fastconv.num_threads(threads):
        y = fastconv.conv_forward(x, w, algorithm="packed_gemm")
    assert_same_bits(y, np.einsum("nchw,kc->nkhw", x, w[:, :, 0, 0]))


@pytest.mark.parametrize("isa", fastconv.isas())
@pytest.mark.parametrize("channels", [300, 700])
def test_weights_apart_are_read_in_chunks(isa, channels):
    dy, w = integers(1, channels, 8, 9), integers(channels, 37, 1, 1)
    x = np.zeros((1, 37, 8, 9), "f4")
    with fastconv.use_isa(isa), fastconv.num_threads(1):
        dx = fastconv.conv_backward(dy, x, w, need="dx", algorithm="packed_gemm").dx
    assert_same_bits(dx, np.einsum("nkhw,kc->nchw", dy, w[:, :, 0, 0]))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_weights_of_a_channel_beyond_the_workspace_are_refused(dtype):
    side = 110 if dtype == "f4" else 80
    x, w = np.zeros((1, 200, side, side), dtype), np.zeros((1, 200, side, side), dtype)
    with pytest.raises(ValueError, match="weights of one output channel"):
        fastconv.conv_forward(x, w, algorithm="packed_gemm")
