"""fastconv.cs231n against course-style NumPy, fastconv.reference, arithmetic by hand and finite
differences."""

import numpy as np
import pytest
from course import (
    CONV_CASES,
    DTYPES,
    POOL_CASES,
    VARIANTS,
    assert_close,
    central_differences,
    conv_arguments,
    conv_cases,
    function,
    plain_conv,
    plain_conv_gradients,
    plain_max_pool,
    pool_arguments,
    pool_cases,
    random_array,
    relative_error,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fastconv import cs231n, reference

# Convolution


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
@conv_cases
def test_conv_agrees_with_course_style_numpy(case, dtype, variant):
    x, w, b, conv_param = conv_arguments(case, dtype)
    stride, pad = case[2:]
    out, cache = function("conv_forward", variant)(x, w, b, conv_param)
    dout = random_array(4, out.shape, dtype)
    gradients = function("conv_backward", variant)(dout, cache)
    assert_close(out, plain_conv(x, w, b, stride, pad))
    for actual, expected in zip(
        gradients, plain_conv_gradients(dout, x, w, stride, pad), strict=True
    ):
        assert actual.dtype == dtype
        assert_close(actual, expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_conv_forward_of_the_course_notebook(variant):
    x = np.linspace(-0.1, 0.5, num=2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    w = np.linspace(-0.2, 0.3, num=3 * 3 * 4 * 4).reshape(3, 3, 4, 4)
    b = np.linspace(-0.1, 0.2, num=3)
    out, _ = function("conv_forward", variant)(x, w, b, {"stride": 2, "pad": 1})
    assert out.shape == (2, 3, 2, 2)
    assert_close(out, reference.conv_forward(x, w, b, stride=2, padding=1))
    # The window of the first output reaches one cell into the padding above and to the left.
    assert out[0, 0, 0, 0] == pytest.approx(np.sum(x[0, :, :3, :3] * w[0, :, 1:, 1:]) + b[0])


def test_conv_as_image_filter_with_the_integer_bias_of_the_course_notebook():
    x = random_array(0, (1, 3, 6, 7))
    w = np.zeros((2, 3, 3, 3))
    w[0, :, 1, 1] = [0.3, 0.6, 0.1]
    w[1, 2] = [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
    out, _ = cs231n.conv_forward_fast(x, w, np.array([0, 128]), {"stride": 1, "pad": 1})
    grey = 0.3 * x[0, 0] + 0.6 * x[0, 1] + 0.1 * x[0, 2]
    assert_close(out[0, 0], grey)
    assert_close(out, plain_conv(x, w, np.array([0, 128]), 1, 1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_conv_promotes_float64_images_and_float32_weights(variant):
    x, w, b, conv_param = conv_arguments(CONV_CASES["course_3x3"])
    single_w, single_b = w.astype(np.float32), b.astype(np.float32)
    out, cache = function("conv_forward", variant)(x, single_w, single_b, conv_param)
    assert out.dtype == np.float64
    assert_close(out, plain_conv(x, single_w, single_b, 1, 1))
    dout = random_array(4, out.shape, np.float32)
    for gradient in function("conv_backward", variant)(dout, cache):
        assert gradient.dtype == np.float64


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_conv_of_random_geometry_agrees_with_reference(data):
    window = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)), "window")
    pad = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)), "pad")
    stride = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)), "stride")
    extra = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)), "extra")
    batch, channels, filters = data.draw(st.tuples(*[st.integers(1, 3)] * 3), "N, C, F")
    sizes = [max(1, win - 2 * p) + e for win, p, e in zip(window, pad, extra, strict=True)]
    x = random_array(0, (batch, channels, *sizes))
    w, b = random_array(1, (filters, channels, *window)), random_array(2, filters)
    out, cache = cs231n.conv_forward_fast(x, w, b, {"stride": stride, "pad": pad})
    assert_close(out, reference.conv_forward(x, w, b, stride=stride, padding=pad))
    dout = random_array(3, out.shape)
    expected = reference.conv_backward(dout, x, w, stride=stride, padding=pad)
    for actual, wanted in zip(cs231n.conv_backward_fast(dout, cache), expected, strict=True):
        assert_close(actual, wanted)


@conv_cases
def test_conv_gradients_agree_with_finite_differences(case):
    x, w, b, conv_param = conv_arguments(case)
    out, cache = cs231n.conv_forward_fast(x, w, b, conv_param)
    dout = random_array(4, out.shape)
    gradients = cs231n.conv_backward_fast(dout, cache)
    for array, gradient in zip((x, w, b), gradients, strict=True):
        expected = central_differences(
            lambda: cs231n.conv_forward_fast(x, w, b, conv_param)[0], array, dout
        )
        assert relative_error(gradient, expected) < 1e-8


@pytest.mark.parametrize("dtype", DTYPES)
def test_conv_of_fortran_ordered_arrays(dtype):
    x, w, b, conv_param = conv_arguments(CONV_CASES["wide_kernel"], dtype)
    expected_out, expected_cache = cs231n.conv_forward_fast(x, w, b, conv_param)
    out, cache = cs231n.conv_forward_fast(np.asfortranarray(x), np.asfortranarray(w), b, conv_param)
    assert out.flags.c_contiguous
    assert_close(out, expected_out)
    dout = random_array(4, out.shape, dtype)
    for actual, expected in zip(
        cs231n.conv_backward_fast(np.asfortranarray(dout), cache),
        cs231n.conv_backward_fast(dout, expected_cache),
        strict=True,
    ):
        assert_close(actual, expected)


def test_conv_of_images_stored_channels_last_and_sliced():
    images = random_array(0, (2, 9, 11, 3))
    x = images[:, ::2, ::-1].transpose(0, 3, 1, 2)
    w, b = random_array(1, (2, 3, 2, 3)), random_array(2, 2)
    out, _ = cs231n.conv_forward_fast(x, w, b, {"stride": 2, "pad": 1})
    assert_close(out, plain_conv(x, w, b, 2, 1))


def test_conv_modifies_no_argument():
    x, w, b, conv_param = conv_arguments(CONV_CASES["course_3x3"])
    dout = random_array(4, (2, 4, 5, 5))
    arrays = [x, w, b, dout]
    held = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    _, cache = cs231n.conv_forward_fast(x, w, b, conv_param)
    cs231n.conv_backward_fast(dout, cache)
    for array, copy in zip(arrays, held, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert conv_param == {"stride": 1, "pad": 1}


def test_naive_and_fast_caches_serve_each_other():
    x, w, b, conv_param = conv_arguments(CONV_CASES["tall_kernel"])
    out, naive_cache = cs231n.conv_forward_naive(x, w, b, conv_param)
    _, fast_cache = cs231n.conv_forward_fast(x, w, b, conv_param)
    dout = random_array(4, out.shape)
    for actual, expected in zip(
        cs231n.conv_backward_fast(dout, naive_cache),
        cs231n.conv_backward_naive(dout, fast_cache),
        strict=True,
    ):
        assert_close(actual, expected)
    x, pool_param = pool_arguments(POOL_CASES["overlapping"])
    out, naive_cache = cs231n.max_pool_forward_naive(x, pool_param)
    _, fast_cache = cs231n.max_pool_forward_fast(x, pool_param)
    dout = random_array(4, out.shape)
    assert_close(
        cs231n.max_pool_backward_fast(dout, naive_cache),
        cs231n.max_pool_backward_naive(dout, fast_cache),
    )


def test_conv_of_an_empty_batch():
    _, w, b, conv_param = conv_arguments(CONV_CASES["course_3x3"])
    out, cache = cs231n.conv_forward_fast(np.zeros((0, 3, 5, 5)), w, b, conv_param)
    assert out.shape == (0, 4, 5, 5)
    dx, dw, db = cs231n.conv_backward_fast(out, cache)
    assert dx.shape == (0, 3, 5, 5)
    assert not dw.any()
    assert not db.any()


# Max pooling


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pool_cases
def test_max_pool_agrees_with_plain_loops(case, dtype, variant):
    x, pool_param = pool_arguments(case, dtype)
    out, cache = function("max_pool_forward", variant)(x, pool_param)
    dout = random_array(4, out.shape, dtype)
    dx = function("max_pool_backward", variant)(dout, cache)
    expected_out, expected_dx = plain_max_pool(x, *case[1:], dout)
    np.testing.assert_array_equal(out, expected_out, strict=True)
    assert dx.dtype == dtype
    assert_close(dx, expected_dx)


@pytest.mark.parametrize("variant", VARIANTS)
def test_max_pool_forward_of_the_course_notebook(variant):
    x = np.linspace(-0.3, 0.4, num=2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    pool_param = {"pool_height": 2, "pool_width": 2, "stride": 2}
    out, _ = function("max_pool_forward", variant)(x, pool_param)
    # x rises in row-major order: a window's maximum is its lower right cell, which is cell
    # 5, 7, 13 or 15 of its plane of 16, and a cell is worth 0.7 / 95.
    cells = 16 * np.arange(6).reshape(2, 3, 1, 1) + np.array([[5, 7], [13, 15]])
    assert_close(out, -0.3 + 0.7 / 95 * cells)
    assert out[1, 2, 1, 1] == pytest.approx(0.4)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_max_pool_of_random_geometry_agrees_with_plain_loops(data):
    window = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)), "window")
    stride = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)), "stride")
    extra = data.draw(st.tuples(st.integers(0, 5), st.integers(0, 5)), "extra")
    sizes = [win + e for win, e in zip(window, extra, strict=True)]
    # Few distinct values, so that windows tie.
    x = np.random.default_rng(0).integers(0, 4, (2, 2, *sizes)).astype(np.float64)
    pool_param = {"pool_height": window[0], "pool_width": window[1], "stride": stride}
    out, cache = cs231n.max_pool_forward_fast(x, pool_param)
    dout = random_array(1, out.shape)
    expected_out, expected_dx = plain_max_pool(x, window, stride, dout)
    np.testing.assert_array_equal(out, expected_out)
    assert_close(cs231n.max_pool_backward_fast(dout, cache), expected_dx)


@pytest.mark.parametrize("variant", VARIANTS)
def test_max_pool_tie_gives_the_first_position_the_whole_gradient(variant):
    x = np.array([[1.0, 5.0, 0.0, 0.0], [5.0, 5.0, 0.0, 0.0]]).reshape(1, 1, 2, 4)
    pool_param = {"pool_height": 2, "pool_width": 2, "stride": 2}
    _, cache = function("max_pool_forward", variant)(x, pool_param)
    dx = function("max_pool_backward", variant)(np.array([3.0, 7.0]).reshape(1, 1, 1, 2), cache)
    np.testing.assert_array_equal(dx[0, 0], [[0, 3, 7, 0], [0, 0, 0, 0]])


def test_max_pool_of_overlapping_windows_adds_their_gradients():
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1
    pool_param = {"pool_height": 2, "pool_width": 2, "stride": 1}
    _, cache = cs231n.max_pool_forward_fast(x, pool_param)
    dx = cs231n.max_pool_backward_fast(np.array([[[[1.0, 2], [4, 8]]]]), cache)
    np.testing.assert_array_equal(dx[0, 0], [[0, 0, 0], [0, 15, 0], [0, 0, 0]])


def test_max_pool_gives_cells_outside_every_window_no_gradient():
    x = np.arange(25.0).reshape(1, 1, 5, 5)
    out, cache = cs231n.max_pool_forward_fast(x, {"pool_height": 2, "pool_width": 2, "stride": 2})
    np.testing.assert_array_equal(out[0, 0], [[6, 8], [16, 18]])
    dx = cs231n.max_pool_backward_fast(np.ones((1, 1, 2, 2)), cache)
    assert not dx[0, 0, 4].any()
    assert not dx[0, 0, :, 4].any()
    assert dx.sum() == 4


@pool_cases
def test_max_pool_gradient_agrees_with_finite_differences(case):
    shape, _, _ = case
    _, pool_param = pool_arguments(case)
    # All values differ by more than the step: no window changes its maximum.
    x = np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape) / 10
    out, cache = cs231n.max_pool_forward_fast(x, pool_param)
    dout = random_array(4, out.shape)
    expected = central_differences(lambda: cs231n.max_pool_forward_fast(x, pool_param)[0], x, dout)
    assert relative_error(cs231n.max_pool_backward_fast(dout, cache), expected) < 1e-8


def test_max_pool_of_fortran_ordered_x():
    x, pool_param = pool_arguments(POOL_CASES["overlapping"])
    expected_out, expected_cache = cs231n.max_pool_forward_fast(x, pool_param)
    out, cache = cs231n.max_pool_forward_fast(np.asfortranarray(x), pool_param)
    np.testing.assert_array_equal(out, expected_out)
    dout = random_array(4, out.shape)
    np.testing.assert_array_equal(
        cs231n.max_pool_backward_fast(np.asfortranarray(dout), cache),
        cs231n.max_pool_backward_fast(dout, expected_cache),
    )


# Sandwiches


def test_conv_relu_is_the_composition_of_its_parts():
    x, w, b, conv_param = conv_arguments(CONV_CASES["stride_and_pad_per_axis"])
    out, cache = cs231n.conv_relu_forward(x, w, b, conv_param)
    convolved = plain_conv(x, w, b, *CONV_CASES["stride_and_pad_per_axis"][2:])
    assert (convolved < 0).any()
    assert_close(out, np.maximum(convolved, 0))
    dout = random_array(4, out.shape)
    expected = plain_conv_gradients(
        dout * (convolved > 0), x, w, conv_param["stride"], conv_param["pad"]
    )
    for actual, wanted in zip(cs231n.conv_relu_backward(dout, cache), expected, strict=True):
        assert_close(actual, wanted)


def test_conv_relu_pool_is_the_composition_of_its_parts():
    x, w, b, conv_param = conv_arguments(CONV_CASES["course_3x3"])
    pool_param = {"pool_height": 3, "pool_width": 2, "stride": 2}
    out, cache = cs231n.conv_relu_pool_forward(x, w, b, conv_param, pool_param)
    convolved = plain_conv(x, w, b, 1, 1)
    dout = random_array(4, out.shape)
    expected_out, dpooled = plain_max_pool(np.maximum(convolved, 0), (3, 2), 2, dout)
    assert_close(out, expected_out)
    expected = plain_conv_gradients(dpooled * (convolved > 0), x, w, 1, 1)
    for actual, wanted in zip(cs231n.conv_relu_pool_backward(dout, cache), expected, strict=True):
        assert_close(actual, wanted)


@pytest.mark.parametrize("dout_dtype", DTYPES)
@pytest.mark.parametrize("pooled", [False, True], ids=["conv_relu", "conv_relu_pool"])
def test_sandwich_promotes_float64_images_and_float32_weights(pooled, dout_dtype):
    x, w, b, conv_param = conv_arguments(CONV_CASES["course_3x3"])
    w, b = w.astype(np.float32), b.astype(np.float32)
    pool_param = {"pool_height": 2, "pool_width": 2, "stride": 2}
    if pooled:
        out, cache = cs231n.conv_relu_pool_forward(x, w, b, conv_param, pool_param)
        backward = cs231n.conv_relu_pool_backward
    else:
        out, cache = cs231n.conv_relu_forward(x, w, b, conv_param)
        backward = cs231n.conv_relu_backward
    assert out.dtype == np.float64
    gradients = backward(np.ones(out.shape, dout_dtype), cache)
    assert [gradient.dtype for gradient in gradients] == [np.float64] * 3


def bn_arguments(dtype=np.float64):
    x, w, b, conv_param = conv_arguments(CONV_CASES["course_3x3"], dtype)
    return x, w, b, 1 + random_array(5, 4, dtype) / 4, random_array(6, 4, dtype) / 4, conv_param


@pytest.mark.parametrize("dtype", DTYPES)
def test_conv_bn_relu_in_training_normalises_by_the_batch(dtype):
    x, w, b, gamma, beta, conv_param = bn_arguments(dtype)
    out, _ = cs231n.conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, {"mode": "train"})
    convolved = plain_conv(x, w, b, 1, 1)
    mean = convolved.mean(axis=(0, 2, 3), keepdims=True)
    var = convolved.var(axis=(0, 2, 3), keepdims=True)
    normalised = (convolved - mean) / np.sqrt(var + 1e-5)
    expected = np.maximum(gamma[:, None, None] * normalised + beta[:, None, None], 0)
    assert out.dtype == dtype
    assert_close(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_conv_bn_relu_updates_the_running_statistics_in_the_dict(dtype):
    *arrays, conv_param = bn_arguments(dtype)
    convolved = plain_conv(*arrays[:3], 1, 1)
    mean, var = convolved.mean(axis=(0, 2, 3)), convolved.var(axis=(0, 2, 3))
    first, second = {"mode": "train"}, {"mode": "train", "momentum": 0.75, "eps": 1e-3}
    cs231n.conv_bn_relu_forward(*arrays, conv_param, first)
    assert_close(first["running_mean"], 0.1 * mean)
    assert_close(first["running_var"], 0.1 * var)
    second |= {"running_mean": np.full(4, 2, dtype), "running_var": np.full(4, 3, dtype)}
    cs231n.conv_bn_relu_forward(*arrays, conv_param, second)
    assert_close(second["running_mean"], 0.75 * 2 + 0.25 * mean)
    assert_close(second["running_var"], 0.75 * 3 + 0.25 * var)
    assert second["running_mean"].dtype == second["running_var"].dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_conv_bn_relu_of_constant_channels_has_no_negative_running_variance(dtype):
    x, w = np.ones((2, 1, 4, 4), dtype), np.linspace(1, 2, 9, dtype=dtype).reshape(9, 1, 1, 1)
    zeros, ones = np.zeros(9, dtype), np.ones(9, dtype)
    bn_param = {"mode": "train"}
    conv_param = {"stride": 1, "pad": 0}
    cs231n.conv_bn_relu_forward(x, w, zeros, ones, zeros, conv_param, bn_param)
    assert (bn_param["running_var"] >= 0).all()
    assert_close(bn_param["running_var"], zeros)


def test_conv_bn_relu_in_test_mode_uses_the_running_statistics_and_leaves_them():
    x, w, b, gamma, beta, conv_param = bn_arguments()
    running_mean, running_var = random_array(7, 4), random_array(8, 4) ** 2
    bn_param = {"mode": "test", "running_mean": running_mean, "running_var": running_var}
    held = running_mean.copy(), running_var.copy()
    out, _ = cs231n.conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param)
    scale = (gamma / np.sqrt(running_var + 1e-5))[:, None, None]
    convolved = plain_conv(x, w, b, 1, 1)
    expected = scale * (convolved - running_mean[:, None, None]) + beta[:, None, None]
    assert_close(out, np.maximum(expected, 0))
    assert bn_param["running_mean"] is running_mean
    np.testing.assert_array_equal((running_mean, running_var), held)


def test_conv_bn_relu_in_test_mode_before_any_training_uses_zeros():
    x, w, b, gamma, beta, conv_param = bn_arguments()
    out, _ = cs231n.conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, {"mode": "test"})
    scale = (gamma / np.sqrt(1e-5))[:, None, None]
    expected = np.maximum(scale * plain_conv(x, w, b, 1, 1) + beta[:, None, None], 0)
    np.testing.assert_allclose(out, expected, rtol=1e-11, atol=1e-8)


def test_conv_bn_relu_gradients_agree_with_finite_differences():
    *arrays, conv_param = bn_arguments()
    out, cache = cs231n.conv_bn_relu_forward(*arrays, conv_param, {"mode": "train"})
    dout = random_array(9, out.shape)
    gradients = cs231n.conv_bn_relu_backward(dout, cache)
    names = ("x", "w", "b", "gamma", "beta")
    for name, array, gradient in zip(names, arrays, gradients, strict=True):
        expected = central_differences(
            lambda: cs231n.conv_bn_relu_forward(*arrays, conv_param, {"mode": "train"})[0],
            array,
            dout,
        )
        assert gradient.shape == array.shape
        if name == "b":  # the normalisation takes a bias out again
            np.testing.assert_allclose(gradient, 0, atol=1e-10)
        else:
            assert relative_error(gradient, expected) < 1e-7, name


def test_conv_bn_relu_promotes_float64_images_and_float32_parameters():
    x, *parameters, conv_param = bn_arguments()
    parameters = [array.astype(np.float32) for array in parameters]
    bn_param = {"mode": "train", "running_mean": np.zeros(4, np.float32)}
    out, cache = cs231n.conv_bn_relu_forward(x, *parameters, conv_param, bn_param)
    gradients = cs231n.conv_bn_relu_backward(np.ones(out.shape, np.float32), cache)
    assert out.dtype == np.float64
    assert [gradient.dtype for gradient in gradients] == [np.float64] * 5
    out, _ = cs231n.conv_bn_relu_forward(x, *parameters, conv_param, bn_param | {"mode": "test"})
    assert out.dtype == np.float64


# Errors


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("key", ["stride", "pad"])
def test_missing_key_of_conv_param_is_named(key, variant):
    x, w, b, conv_param = conv_arguments(CONV_CASES["course_3x3"])
    del conv_param[key]
    with pytest.raises(KeyError, match=f"conv_param.*{key}"):
        function("conv_forward", variant)(x, w, b, conv_param)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("key", ["pool_height", "pool_width", "stride"])
def test_missing_key_of_pool_param_is_named(key, variant):
    x, pool_param = pool_arguments(POOL_CASES["course_2x2"])
    del pool_param[key]
    with pytest.raises(KeyError, match=f"pool_param.*{key}"):
        function("max_pool_forward", variant)(x, pool_param)


def test_missing_and_unknown_mode_of_bn_param_are_named():
    *arrays, conv_param = bn_arguments()
    with pytest.raises(KeyError, match=r"bn_param.*mode"):
        cs231n.conv_bn_relu_forward(*arrays, conv_param, {})
    with pytest.raises(ValueError, match=r"bn_param.*'eval'.*'train' or 'test'"):
        cs231n.conv_bn_relu_forward(*arrays, conv_param, {"mode": "eval"})


def test_conv_bn_relu_backward_of_a_test_pass_is_refused():
    *arrays, conv_param = bn_arguments()
    out, cache = cs231n.conv_bn_relu_forward(*arrays, conv_param, {"mode": "test"})
    with pytest.raises(ValueError, match="train"):
        cs231n.conv_bn_relu_backward(out, cache)


@pytest.mark.parametrize("stride", [0, -1, (1, 0)])
def test_bad_stride_is_refused_everywhere(stride):
    x, w, b, _ = conv_arguments(CONV_CASES["course_3x3"])
    pool_param = {"pool_height": 2, "pool_width": 2, "stride": stride}
    calls = [
        lambda: cs231n.conv_forward_fast(x, w, b, {"stride": stride, "pad": 1}),
        lambda: cs231n.max_pool_forward_fast(x, pool_param),
        lambda: cs231n.im2col_indices(x, 3, 3, 1, stride),
        lambda: cs231n.get_im2col_indices(x.shape, 3, 3, 1, stride),
        lambda: cs231n.col2im_indices(np.zeros((27, 50)), x.shape, 3, 3, 1, stride),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="stride"):
            call()


def test_bad_shapes_are_refused():
    x, w, b, conv_param = conv_arguments(CONV_CASES["course_3x3"])
    out, cache = cs231n.conv_forward_fast(x, w, b, conv_param)
    with pytest.raises(ValueError, match="w has 3 channels per group, but x has 2"):
        cs231n.conv_forward_fast(x[:, :2], w, b, conv_param)
    with pytest.raises(ValueError, match=r"kernel .* spans 3 elements"):
        cs231n.conv_forward_fast(x[:, :, :1, :1], w, b, {"stride": 1, "pad": 0})
    with pytest.raises(ValueError, match="dy has shape"):
        cs231n.conv_backward_fast(out[:, :, 1:], cache)
    pooled, cache = cs231n.max_pool_forward_fast(
        x, {"pool_height": 2, "pool_width": 2, "stride": 2}
    )
    with pytest.raises(ValueError, match="dy has shape"):
        cs231n.max_pool_backward_fast(pooled[:1], cache)
    with pytest.raises(ValueError, match=r"x_shape is .* with 3 axes"):
        cs231n.get_im2col_indices(x.shape[1:], 3, 3)
    with pytest.raises(ValueError, match=r"cols has shape \(27, 49\), expected \(27, 50\)"):
        cs231n.col2im_indices(np.zeros((27, 49)), x.shape)
    with pytest.raises(ValueError, match=r"cols has shape .*, expected \(3, 3, 3, 2, 5, 5\)"):
        cs231n.col2im_6d_cython(np.zeros((3, 3, 3, 5, 5, 2)), *x.shape, 3, 3, 1, 1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.bool_, np.complex128, object])
def test_conv_refuses_arrays_without_a_float_among_them(dtype, variant):
    x, w, b, conv_param = conv_arguments(CONV_CASES["course_3x3"])
    x, w, b = (array.astype(dtype) for array in (x, w, b))
    with pytest.raises(TypeError, match="x has dtype"):
        function("conv_forward", variant)(x, w, b, conv_param)


@pytest.mark.parametrize("variant", VARIANTS)
def test_conv_refuses_complex_among_floats(variant):
    x, w, b, conv_param = conv_arguments(CONV_CASES["course_3x3"])
    with pytest.raises(TypeError, match="x has dtype complex128"):
        function("conv_forward", variant)(x.astype(np.complex128), w, b, conv_param)


@pytest.mark.parametrize("variant", VARIANTS)
def test_geometry_is_named_as_the_course_names_it(variant):
    x, w, b, _ = conv_arguments(CONV_CASES["course_3x3"])
    forward, pool = function("conv_forward", variant), function("max_pool_forward", variant)
    with pytest.raises(TypeError, match="stride is True"):
        forward(x, w, b, {"stride": True, "pad": 1})
    with pytest.raises(ValueError, match="pad is -1"):
        forward(x, w, b, {"stride": 1, "pad": -1})
    with pytest.raises(ValueError, match="pool_height is 0"):
        pool(x, {"pool_height": 0, "pool_width": 2, "stride": 1})
    with pytest.raises(TypeError, match="stride"):
        pool(x, {"pool_height": 2, "pool_width": 2, "stride": True})
    with pytest.raises(ValueError, match="spans"):
        pool(x, {"pool_height": 9, "pool_width": 2, "stride": 1})


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_of_other_shapes_and_dtypes_are_refused(variant):
    x, w, b, conv_param = conv_arguments(CONV_CASES["course_3x3"])
    out, cache = function("conv_forward", variant)(x, w, b, conv_param)
    with pytest.raises(ValueError, match="dy has shape"):
        function("conv_backward", variant)(out[:, 1:], cache)
    with pytest.raises(TypeError, match="dy has dtype complex128"):
        function("conv_backward", variant)(out.astype(complex), cache)
    pooled, cache = function("max_pool_forward", variant)(
        x, {"pool_height": 2, "pool_width": 2, "stride": 2}
    )
    with pytest.raises(ValueError, match="dy has shape"):
        function("max_pool_backward", variant)(pooled[:, 1:], cache)
    with pytest.raises(TypeError, match="dy has dtype complex128"):
        function("max_pool_backward", variant)(pooled.astype(complex), cache)


@pytest.mark.parametrize("variant", VARIANTS)
def test_bias_written_as_a_list(variant):
    x, w = random_array(0, (1, 3, 6, 7)), random_array(1, (2, 3, 3, 3))
    out, _ = function("conv_forward", variant)(x, w, [0, 128], {"stride": 1, "pad": 1})
    assert_close(out, plain_conv(x, w, np.array([0, 128]), 1, 1))


def test_conv_bn_relu_refuses_to_train_on_an_empty_batch():
    x, *parameters, conv_param = bn_arguments()
    bn_param = {"mode": "train", "running_mean": np.ones(4), "running_var": np.ones(4)}
    held = dict(bn_param)
    with pytest.raises(ValueError, match="empty batch"):
        cs231n.conv_bn_relu_forward(x[:0], *parameters, conv_param, bn_param)
    assert all(bn_param[key] is held[key] for key in held)


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("key", ["running_mean", "running_var"])
def test_conv_bn_relu_names_running_statistics_of_another_shape(key, mode):
    *arrays, conv_param = bn_arguments()
    bn_param = {"mode": mode, key: np.ones(3)}
    with pytest.raises(ValueError, match=rf"bn_param\['{key}'\] has shape \(3,\), expected \(4,\)"):
        cs231n.conv_bn_relu_forward(*arrays, conv_param, bn_param)
    assert set(bn_param) == {"mode", key}


def test_conv_bn_relu_takes_none_for_absent_running_statistics():
    *arrays, conv_param = bn_arguments()
    absent, none = {"mode": "train"}, {"mode": "train", "running_mean": None, "running_var": None}
    cs231n.conv_bn_relu_forward(*arrays, conv_param, absent)
    cs231n.conv_bn_relu_forward(*arrays, conv_param, none)
    np.testing.assert_array_equal(none["running_mean"], absent["running_mean"])
    np.testing.assert_array_equal(none["running_var"], absent["running_var"])
