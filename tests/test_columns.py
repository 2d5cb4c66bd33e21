"""im2col and col2im."""

import numpy as np
import pytest
from cases import CONV, REAL, assert_close, assert_same_bits, broadcast, odd_strides

import fastconv
from fastconv import reference


def window_of(case):
    """(kernel, geometry) of a case without what im2col does not have."""
    return case.w[2:], {k: v for k, v in case.options.items() if k != "groups"}


@pytest.mark.parametrize("case", CONV, ids=str)
def test_im2col_and_col2im_match_the_reference(case):
    kernel, geometry = window_of(case)
    x = case.integers()[0]
    cols = fastconv.im2col(x, kernel, **geometry)
    assert cols.flags.c_contiguous and cols.dtype == x.dtype
    np.testing.assert_array_equal(cols, reference.im2col(x, kernel, **geometry))
    values = np.random.default_rng(2).integers(-4, 5, cols.shape).astype("f4")
    back = fastconv.col2im(values, x.shape, kernel, **geometry)
    assert back.flags.c_contiguous and back.dtype == values.dtype
    np.testing.assert_array_equal(back, reference.col2im(values, x.shape, kernel, **geometry))


@pytest.mark.parametrize("case", [c for c in CONV if "groups" not in c.options], ids=str)
def test_weights_times_columns_is_the_convolution(case):
    x, w, _ = case.random()
    kernel, geometry = window_of(case)
    y = fastconv.conv_forward(x, w, **geometry)
    product = w.reshape(len(w), -1) @ fastconv.im2col(x, kernel, **geometry)
    assert_close(product.reshape(y.shape), y, case.depth)


@pytest.mark.parametrize("case", CONV, ids=str)
def test_col2im_is_the_adjoint_of_im2col(case):
    kernel, geometry = window_of(case)
    x = case.random()[0]
    cols = fastconv.im2col(x, kernel, **geometry)
    values = np.random.default_rng(3).standard_normal(cols.shape)
    back = fastconv.col2im(values, x.shape, kernel, **geometry)
    np.testing.assert_allclose(np.vdot(cols, values), np.vdot(x, back), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", REAL)
def test_every_real_dtype_is_moved_and_summed(dtype):
    x = np.arange(2 * 3 * 5 * 4).reshape(2, 3, 5, 4).astype(dtype)
    options = {"kernel_size": (2, 3), "stride": (2, 1), "padding": 1}
    cols = fastconv.im2col(x, **options)
    assert cols.dtype == x.dtype
    np.testing.assert_array_equal(cols, reference.im2col(x, **options))
    back = fastconv.col2im(np.ones_like(cols), x.shape, **options)
    assert back.dtype == x.dtype
    np.testing.assert_array_equal(back, reference.col2im(np.ones_like(cols), x.shape, **options))


def test_memory_layout_of_the_arguments_does_not_matter():
    x = np.arange(2 * 3 * 5 * 4, dtype="f8").reshape(2, 3, 5, 4)
    cols = fastconv.im2col(x, 3, padding=1)
    back = fastconv.col2im(cols, x.shape, 3, padding=1)
    for kind, view in odd_strides(x).items():
        np.testing.assert_array_equal(fastconv.im2col(view, 3, padding=1), cols, err_msg=kind)
    for kind, view in odd_strides(cols).items():
        before = view.tobytes()
        np.testing.assert_array_equal(fastconv.col2im(view, x.shape, 3, padding=1), back, kind)
        assert view.tobytes() == before


def test_broadcast_arguments_are_read_with_stride_zero():
    view, dense = broadcast(np.arange(2 * 3 * 5 * 4, dtype="f8").reshape(2, 3, 5, 4))
    cols = fastconv.im2col(dense, 3, padding=1)
    np.testing.assert_array_equal(fastconv.im2col(view, 3, padding=1), cols)
    view, dense = broadcast(cols)
    np.testing.assert_array_equal(
        fastconv.col2im(view, (2, 3, 5, 4), 3, padding=1),
        fastconv.col2im(dense, (2, 3, 5, 4), 3, padding=1),
    )


# Enough bytes for three threads; planes of several bands (64 KiB of x), and rows longer than one.
LARGE = {
    "layer": ((2, 17, 40, 50), {"kernel_size": 3, "padding": 1}),
    "stride_2": ((2, 17, 41, 50), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "stride_beyond_kernel": ((3, 65, 30, 33), {"kernel_size": 2, "stride": (4, 3)}),
    "dilated_line": ((2, 3, 9001), {"kernel_size": 5, "dilation": 16, "padding": 7}),
    "rows_beyond_a_band": ((1, 2, 5, 20000), {"kernel_size": (2, 3), "padding": 1}),
    "bands_of_a_tall_plane": ((1, 3, 700, 61), {"kernel_size": (4, 2), "stride": (2, 1)}),
    "volume": ((2, 5, 9, 20, 35), {"kernel_size": 3, "stride": (1, 2, 2), "padding": 1}),
}


def tap_slices(shape, kernel_size, stride=1, padding=0, dilation=1):
    """What each tap reads of padded planes, as an index; shape is that of x."""
    axes = len(shape) - 2
    kernel, stride = np.broadcast_to(kernel_size, axes), np.broadcast_to(stride, axes)
    room = np.array(shape[2:]) + 2 * padding - dilation * (kernel - 1)
    return [
        (..., *map(slice, first, first + room, stride))
        for first in dilation * np.array(list(np.ndindex(*kernel)))
    ]


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", LARGE)
def test_larger_arrays_are_right_with_the_same_bits_at_every_thread_count(name, dtype, isa):
    shape, options = LARGE[name]
    rng, taps = np.random.default_rng(4), tap_slices(shape, **options)
    x = rng.integers(-4, 5, shape).astype(dtype)
    width = options.get("padding", 0)
    padded = np.pad(x, [(0, 0), (0, 0), *[(width, width)] * (x.ndim - 2)])
    cols = np.stack([padded[tap] for tap in taps], axis=2)
    values = rng.integers(-4, 5, cols.shape).astype(dtype)
    back = np.zeros_like(padded)
    for number, tap in enumerate(taps):
        back[tap] += values[:, :, number]
    back = back[(..., *(slice(width, width + n) for n in shape[2:]))]
    matrix = len(x), x.shape[1] * len(taps), -1
    cols, values = cols.reshape(matrix), values.reshape(matrix)
    noise = rng.standard_normal(cols.shape).astype(dtype)
    rounded = []
    for threads in (1, 2, 3):
        with fastconv.num_threads(threads):
            assert_same_bits(fastconv.im2col(x, **options), cols)
            np.testing.assert_array_equal(fastconv.col2im(values, shape, **options), back)
            rounded.append(fastconv.col2im(noise, shape, **options))
    for other in rounded[1:]:
        assert_same_bits(other, rounded[0])


@pytest.mark.parametrize("stride", [2**62, 2**63 - 1])
def test_stride_that_no_second_window_uses_may_be_huge(stride):
    x = np.asfortranarray(np.arange(36.0).reshape(2, 2, 3, 3))
    cols = fastconv.im2col(x, 1, stride=stride)
    np.testing.assert_array_equal(cols, x[:, :, :1, :1].reshape(2, 2, 1))
    back = fastconv.col2im(np.asfortranarray(cols), x.shape, 1, stride=stride)
    np.testing.assert_array_equal(back[:, :, 0, 0], x[:, :, 0, 0])
    assert np.count_nonzero(back) == np.count_nonzero(cols)


def test_half_precision_overflow_is_an_infinity_without_a_warning():
    back = fastconv.col2im(np.full((1, 2, 2), 6e4, np.float16), (1, 1, 3), 2)
    np.testing.assert_array_equal(back, np.float16([[[6e4, np.inf, 6e4]]]))


def test_empty_batch_gives_no_columns():
    cols = fastconv.im2col(np.ones((0, 2, 4, 4)), 3)
    assert cols.shape == (0, 18, 4)
    assert fastconv.col2im(cols, (0, 2, 4, 4), 3).shape == (0, 2, 4, 4)


def test_columns_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"cols has shape \(1, 9, 4\), expected \(1, 18, 4\)"):
        fastconv.col2im(np.ones((1, 9, 4)), (1, 2, 4, 4), 3)


@pytest.mark.parametrize("case", CONV, ids=str)
def test_pytorch_unfold_agrees(case, torch):
    if len(case.x) != 4 or isinstance(case.options.get("padding"), (str, tuple)):
        pytest.skip("torch.nn.functional.unfold has no form for it")
    kernel, geometry = window_of(case)
    x = case.random()[0]
    theirs = torch.nn.functional.unfold(torch.tensor(x), kernel, **geometry).numpy()
    np.testing.assert_array_equal(fastconv.im2col(x, kernel, **geometry), theirs)
