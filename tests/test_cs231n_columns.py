"""The column functions of fastconv.cs231n against fancy indexing."""

import numpy as np
import pytest
from course import (
    DTYPES,
    assert_close,
    conv_cases,
    function,
    padded,
    plain_col2im,
    plain_im2col,
    random_array,
    window_indices,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fastconv import cs231n


@pytest.mark.parametrize("dtype", DTYPES)
@conv_cases
def test_im2col_agrees_with_fancy_indexing(case, dtype):
    shape, (_, *window), stride, pad = case
    x = random_array(0, shape, dtype)
    expected = plain_im2col(x, window, stride, pad)
    for order in (x, np.asfortranarray(x)):
        for cols in (
            cs231n.im2col_indices(order, *window, padding=pad, stride=stride),
            cs231n.im2col_cython(order, *window, pad, stride),
        ):
            assert cols.flags.c_contiguous
            np.testing.assert_array_equal(cols, expected, strict=True)


def test_im2col_columns_have_the_batch_fastest():
    x = np.arange(2 * 1 * 2 * 3.0).reshape(2, 1, 2, 3)
    cols = cs231n.im2col_cython(x, 1, 2, 0, 1)
    left = [0, 6, 1, 7, 3, 9, 4, 10]
    np.testing.assert_array_equal(cols, [left, [cell + 1 for cell in left]])


@conv_cases
def test_get_im2col_indices_pick_the_columns_from_the_padded_image(case):
    shape, (_, *window), stride, pad = case
    x = random_array(0, shape)
    k, i, j = cs231n.get_im2col_indices(shape, *window, padding=pad, stride=stride)
    rows = shape[1] * window[0] * window[1]
    assert k.shape == (rows, 1)
    assert i.shape == j.shape == (rows, i.shape[1])
    cols = padded(x, pad)[:, k, i, j].transpose(1, 2, 0).reshape(rows, -1)
    np.testing.assert_array_equal(cols, plain_im2col(x, window, stride, pad))


def test_column_functions_default_to_the_course_values():
    x = random_array(0, (2, 3, 4, 5))
    cols = cs231n.im2col_indices(x, 3, 3)
    np.testing.assert_array_equal(cols, plain_im2col(x, (3, 3), 1, 1))
    assert_close(cs231n.col2im_indices(cols, x.shape), plain_col2im(cols, x.shape, (3, 3), 1, 1))
    k, i, _ = cs231n.get_im2col_indices(x.shape, 3, 3)
    assert k.shape == (27, 1)
    assert i.shape == (27, 20)


@pytest.mark.parametrize("dtype", DTYPES)
@conv_cases
def test_col2im_agrees_with_np_add_at(case, dtype):
    shape, (_, *window), stride, pad = case
    c, _, _, (out_h, out_w) = window_indices(shape, window, stride, pad)
    cols = random_array(0, (c.size, out_h * out_w * shape[0]), dtype)
    expected = plain_col2im(cols, shape, window, stride, pad)
    by_axis = cols.reshape(shape[1], *window, out_h, out_w, shape[0])
    by_axis = by_axis.transpose(0, 1, 2, 5, 3, 4)
    for x in (
        cs231n.col2im_indices(cols, shape, *window, padding=pad, stride=stride),
        cs231n.col2im_indices(np.asfortranarray(cols), shape, *window, pad, stride),
        cs231n.col2im_cython(cols, *shape, *window, pad, stride),
        cs231n.col2im_6d_cython(by_axis, *shape, *window, pad, stride),
        cs231n.col2im_6d_cython(np.ascontiguousarray(by_axis), *shape, *window, pad, stride),
    ):
        assert x.flags.c_contiguous
        assert x.dtype == dtype
        assert_close(x, expected)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_col2im_is_the_adjoint_of_im2col(data):
    window = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)), "window")
    pad = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)), "pad")
    stride = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)), "stride")
    extra = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)), "extra")
    batch, channels = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)), "N, C")
    sizes = [max(1, win - 2 * p) + e for win, p, e in zip(window, pad, extra, strict=True)]
    x = random_array(0, (batch, channels, *sizes))
    cols = cs231n.im2col_cython(x, *window, pad, stride)
    weights = random_array(1, cols.shape)
    back = cs231n.col2im_cython(weights, *x.shape, *window, pad, stride)
    assert np.vdot(cols, weights) == pytest.approx(np.vdot(x, back), rel=1e-11, abs=1e-11)


def test_columns_of_an_empty_batch():
    cols = cs231n.im2col_indices(np.zeros((0, 2, 4, 5)), 3, 2)
    assert cols.shape == (12, 0)
    assert cs231n.col2im_indices(cols, (0, 2, 4, 5), 3, 2).shape == (0, 2, 4, 5)


def test_course_names_of_older_variants_are_the_fast_functions():
    for stem in ("conv_forward", "conv_backward"):
        for variant in ("im2col", "strides"):
            assert function(stem, variant) is function(stem, "fast")
    for stem in ("max_pool_forward", "max_pool_backward"):
        for variant in ("im2col", "reshape"):
            assert function(stem, variant) is function(stem, "fast")


def test_window_and_stride_in_small_integer_types_do_not_overflow():
    x = random_array(0, (2, 3, 40, 40))
    small = (np.int8(7), np.int8(7), np.int8(1), np.int8(3))
    cols = cs231n.im2col_indices(x, *small)
    np.testing.assert_array_equal(cols, cs231n.im2col_indices(x, 7, 7, 1, 3))
    for actual, expected in zip(
        cs231n.get_im2col_indices(x.shape, *small),
        cs231n.get_im2col_indices(x.shape, 7, 7, 1, 3),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(
        cs231n.col2im_indices(cols, x.shape, *small),
        cs231n.col2im_indices(cols, x.shape, 7, 7, 1, 3),
    )


def test_shape_that_is_none_and_window_are_named():
    with pytest.raises(TypeError, match="x_shape is 7, expected a tuple"):
        cs231n.col2im_indices(np.ones((9, 4)), 7)
    with pytest.raises(ValueError, match="field_height is 0"):
        cs231n.im2col_indices(np.ones((1, 1, 4, 4)), 0, 3)
