"""Batch norm, activations, affine, softmax cross-entropy."""

import numpy as np
import pytest
from cases import LAYOUT_LAST, broadcast, channels_last, odd_strides

import fastconv
from fastconv import reference

SHAPES = [(5, 4), (3, 4, 7), (3, 4, 5, 6), (2, 4, 3, 4, 2)]


def batch(shape, dtype="f8", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype)
    gamma, beta = rng.uniform(0.5, 2, shape[1]).astype(dtype), rng.standard_normal(shape[1])
    return x, gamma, beta.astype(dtype), rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_matches_the_reference(shape, dtype):
    x, gamma, beta, dy = batch(shape, dtype)
    tolerance = {"rtol": 0, "atol": 100 * np.finfo(dtype).eps}
    forward = fastconv.batch_norm_forward(x, gamma, beta)
    expected = reference.batch_norm_forward(x, gamma, beta)
    for actual, want in zip(forward, expected, strict=True):
        assert actual.dtype == x.dtype and actual.flags.c_contiguous
        np.testing.assert_allclose(actual, want, **tolerance)
    _, mean, inv_std = forward
    backward = fastconv.batch_norm_backward(dy, x, gamma, mean, inv_std)
    expected = reference.batch_norm_backward(dy, x, gamma, mean, inv_std)
    for actual, want in zip(backward, expected, strict=True):
        assert actual.dtype == x.dtype and actual.flags.c_contiguous
        np.testing.assert_allclose(actual, want, **tolerance)
    running = (np.full(4, 0.5, dtype), np.full(4, 2.0, dtype))
    np.testing.assert_allclose(
        fastconv.batch_norm_inference(x, gamma, beta, *running),
        reference.batch_norm_inference(x, gamma, beta, *running),
        **tolerance,
    )


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_batch_norm_of_channels_last_is_the_transpose(shape):
    x, gamma, beta, dy = batch(shape)
    layout = LAYOUT_LAST[len(shape) - 2]
    y, mean, inv_std = fastconv.batch_norm_forward(x, gamma, beta)
    last = fastconv.batch_norm_forward(channels_last(x), gamma, beta, layout=layout)
    np.testing.assert_allclose(last[0], channels_last(y), rtol=1e-12, atol=1e-12)
    dx, dgamma, _ = fastconv.batch_norm_backward(dy, x, gamma, mean, inv_std)
    back = fastconv.batch_norm_backward(
        channels_last(dy), channels_last(x), gamma, mean, inv_std, layout=layout
    )
    np.testing.assert_allclose(back[0], channels_last(dx), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(back[1], dgamma, rtol=1e-12)
    scaled = fastconv.batch_norm_inference(x, gamma, beta, mean, gamma)
    np.testing.assert_array_equal(
        fastconv.batch_norm_inference(channels_last(x), gamma, beta, mean, gamma, layout=layout),
        channels_last(scaled),
    )


def test_batch_norm_of_images_is_the_plain_one_on_pixels_as_rows():
    x, gamma, beta, _ = batch((3, 4, 5, 6))
    y, _, _ = fastconv.batch_norm_forward(x, gamma, beta)
    rows = channels_last(x).reshape(-1, 4)
    plain, _, _ = fastconv.batch_norm_forward(rows, gamma, beta)
    np.testing.assert_allclose(channels_last(y).reshape(-1, 4), plain, rtol=1e-12, atol=1e-12)


def test_batch_norm_survives_a_mean_far_from_zero():
    x, gamma, beta, _ = batch((64, 2, 8, 8), "f4")
    near, _, inv_std = fastconv.batch_norm_forward(x, gamma, beta)
    far, _, inv_std_far = fastconv.batch_norm_forward(x + np.float32(1000), gamma, beta)
    np.testing.assert_allclose(inv_std_far, inv_std, rtol=1e-4)
    np.testing.assert_allclose(far, near, atol=1e-3)


@pytest.mark.parametrize("offset", [1e6, -1e6])
def test_batch_norm_is_exact_where_the_mean_is_a_million_deviations_away(offset):
    x, gamma, beta, _ = batch((64, 2, 8, 8), "f4")
    x = (x * 4 + offset).astype("f4")
    expected = reference.batch_norm_forward(x.astype("f8"), gamma.astype("f8"), beta.astype("f8"))
    y, mean, inv_std = fastconv.batch_norm_forward(x, gamma, beta)
    np.testing.assert_allclose(y, expected[0], atol=1e-5)
    np.testing.assert_allclose(mean, expected[1], rtol=1e-6)
    np.testing.assert_allclose(inv_std, expected[2], rtol=1e-6)


def test_batch_norm_of_values_whose_squares_exceed_single_precision():
    one = np.ones(1, np.float32)
    y, mean, inv_std = fastconv.batch_norm_forward(np.float32([[1e20], [3e20]]), one, 0 * one)
    np.testing.assert_allclose(y, [[-1], [1]], rtol=1e-6)
    np.testing.assert_allclose(mean, [2e20], rtol=1e-6)
    np.testing.assert_allclose(inv_std, [1e-20], rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_gradients_are_right(shape):
    x, gamma, beta, _ = batch(shape)

    def backward(dy, x, gamma, beta):
        _, mean, inv_std = fastconv.batch_norm_forward(x, gamma, beta)
        return fastconv.batch_norm_backward(dy, x, gamma, mean, inv_std)

    fastconv.check_gradients(
        lambda *args: fastconv.batch_norm_forward(*args)[0],
        backward,
        [x, gamma, beta],
        rtol=1e-6,
        atol=1e-8,
    )


def test_pytorch_batch_norm_agrees(torch):
    x, gamma, beta, dy = batch((4, 4, 5, 6))
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    theirs = torch.nn.functional.batch_norm(
        tensors[0], None, None, tensors[1], tensors[2], training=True
    )
    theirs.backward(torch.tensor(dy))
    y, mean, inv_std = fastconv.batch_norm_forward(x, gamma, beta)
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)
    ours = fastconv.batch_norm_backward(dy, x, gamma, mean, inv_std)
    for gradient, tensor in zip(ours, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_activations_match_the_reference(dtype):
    x = np.random.default_rng(1).uniform(-5, 5, (3, 4, 5)).astype(dtype)
    dy = np.random.default_rng(2).uniform(-1, 1, x.shape).astype(dtype)
    tolerance = {"rtol": 8 * np.finfo(dtype).eps, "atol": np.finfo(dtype).eps}
    for name in ("relu", "sigmoid"):
        forward, backward = f"{name}_forward", f"{name}_backward"
        y = getattr(fastconv, forward)(x)
        assert y.dtype == x.dtype
        np.testing.assert_allclose(y, getattr(reference, forward)(x), **tolerance)
        dx = getattr(fastconv, backward)(dy, y)
        assert dx.dtype == x.dtype
        np.testing.assert_allclose(dx, getattr(reference, backward)(dy, y), **tolerance)


def test_relu_and_sigmoid_gradients_are_right():
    x = np.array([-2.0, -0.5, 0.25, 3.0])
    fastconv.check_gradients(
        fastconv.relu_forward, lambda dy, x: fastconv.relu_backward(dy, x), [x]
    )
    fastconv.check_gradients(
        fastconv.sigmoid_forward,
        lambda dy, x: fastconv.sigmoid_backward(dy, fastconv.sigmoid_forward(x)),
        [x],
    )


def test_sigmoid_neither_overflows_nor_loses_nan():
    x = np.array([-np.inf, -1000.0, 0.0, 1000.0, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(fastconv.sigmoid_forward(x), [0, 0, 0.5, 1, 1, np.nan])


def test_relu_keeps_nan_and_has_no_gradient_at_zero():
    x = np.array([np.nan, -1.0, 0.0, 2.0])
    np.testing.assert_array_equal(fastconv.relu_forward(x), [np.nan, 0, 0, 2])
    np.testing.assert_array_equal(fastconv.relu_backward(np.ones(4), x), [0, 0, 0, 1])


def test_results_are_contiguous_whatever_comes_in():
    x = np.asfortranarray(np.random.default_rng(3).standard_normal((3, 4, 5)))
    one = np.ones(4)
    for y in (
        fastconv.relu_forward(x),
        fastconv.relu_backward(x, x),
        fastconv.sigmoid_forward(x),
        fastconv.sigmoid_backward(x, x),
        fastconv.batch_norm_forward(x, one, one)[0],
        fastconv.batch_norm_backward(x, x, one, one, one)[0],
        fastconv.batch_norm_inference(x, one, one, one, one),
    ):
        assert y.flags.c_contiguous


def test_memory_layout_of_the_arguments_does_not_matter():
    x, gamma, beta, _ = batch((3, 4, 5, 6), "f4")
    y, _, _ = fastconv.batch_norm_forward(x, gamma, beta)
    for kind, view in odd_strides(x).items():
        actual = fastconv.batch_norm_forward(view, gamma, beta)[0]
        assert actual.dtype.isnative
        np.testing.assert_allclose(actual, y, rtol=1e-5, atol=1e-6, err_msg=kind)
        np.testing.assert_array_equal(fastconv.relu_forward(view), np.maximum(x, 0))


def test_affine_matches_the_reference_and_its_gradients_are_right():
    rng = np.random.default_rng(4)
    x, w, b = rng.standard_normal((3, 5)), rng.standard_normal((5, 4)), rng.standard_normal(4)
    y = fastconv.affine_forward(x, w, b)
    np.testing.assert_allclose(y, reference.affine_forward(x, w, b), rtol=1e-12, atol=1e-12)
    ours, theirs = fastconv.affine_backward(y, x, w), reference.affine_backward(y, x, w)
    for gradient, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-12)
    fastconv.check_gradients(
        fastconv.affine_forward,
        lambda dy, x, w, b: fastconv.affine_backward(dy, x, w),
        [x, w, b],
    )


def test_softmax_cross_entropy_matches_the_reference():
    scores = np.random.default_rng(5).standard_normal((6, 4)) * 10
    labels = [0, 3, 1, 1, 2, 0]
    loss, dscores = fastconv.softmax_cross_entropy(scores, labels)
    expected, dexpected = reference.softmax_cross_entropy(scores, labels)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(dscores, dexpected, rtol=1e-12, atol=1e-15)


def test_softmax_gradient_is_p_minus_e_y():
    scores = np.log(np.array([[1.0, 2.0, 5.0]]))
    loss, dscores = fastconv.softmax_cross_entropy(scores, [1])
    np.testing.assert_allclose(loss, -np.log(2 / 8))
    np.testing.assert_allclose(dscores, [[1 / 8, 2 / 8 - 1, 5 / 8]])


def test_softmax_of_huge_scores_does_not_overflow():
    loss, dscores = fastconv.softmax_cross_entropy(np.float32([[1e30, 0], [-1e30, 0]]), [0, 1])
    assert loss == 0
    np.testing.assert_array_equal(dscores, np.zeros((2, 2)))


def test_softmax_loss_may_exceed_single_precision():
    loss, dscores = fastconv.softmax_cross_entropy(np.float32([[-3e38, 3e38]]), [0])
    np.testing.assert_allclose(loss, 2 * float(np.float32(3e38)), rtol=1e-12)
    np.testing.assert_array_equal(dscores, [[-1, 1]])


def test_softmax_gradient_of_fortran_scores_is_c_contiguous():
    scores = np.random.default_rng(6).standard_normal((5, 4))
    loss, dscores = fastconv.softmax_cross_entropy(np.asfortranarray(scores), [0, 1, 2, 3, 0])
    assert dscores.flags.c_contiguous
    expected = fastconv.softmax_cross_entropy(scores, [0, 1, 2, 3, 0])
    assert loss == expected[0]
    np.testing.assert_array_equal(dscores, expected[1])


ONE = np.ones(2, np.float32)
LAYERS = {
    "batch_norm_forward": lambda x: fastconv.batch_norm_forward(x, ONE, ONE),
    "batch_norm_backward": lambda x: fastconv.batch_norm_backward(x, x, ONE, ONE, ONE),
    "batch_norm_inference": lambda x: fastconv.batch_norm_inference(x, x[0], ONE, x[0], x[0]),
    "relu_forward": fastconv.relu_forward,
    "relu_backward": lambda x: fastconv.relu_backward(x, x),
    "sigmoid_forward": fastconv.sigmoid_forward,
    "sigmoid_backward": lambda x: fastconv.sigmoid_backward(x, x),
    "affine_forward": lambda x: fastconv.affine_forward(x, x, x[0]),
    "affine_backward": lambda x: fastconv.affine_backward(x, x, x),
    "softmax_cross_entropy": lambda x: fastconv.softmax_cross_entropy(x, [0, 1]),
}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
@pytest.mark.parametrize("name", LAYERS)
def test_nan_and_overflow_are_results_without_a_warning(name, value):
    LAYERS[name](np.array([[value, 0], [1, value]], np.float32))
    LAYERS[name](np.full((2, 2), value, np.float32))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_activations_of_a_number_are_arrays(dtype):
    x = np.array(0.5, dtype)
    y = fastconv.sigmoid_forward(x)
    for result in (
        y,
        fastconv.relu_forward(x),
        fastconv.relu_backward(x, x),
        fastconv.sigmoid_backward(x, y),
    ):
        assert type(result) is np.ndarray and result.shape == () and result.dtype == dtype
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-0.5)), rtol=1e-6)


def test_broadcast_arguments_are_read_with_stride_zero():
    view, dense = broadcast(np.random.default_rng(7).standard_normal((4, 3)))
    gamma = np.broadcast_to(2.0, 3)
    for a, e in zip(
        fastconv.batch_norm_forward(view, gamma, gamma),
        fastconv.batch_norm_forward(dense, gamma.copy(), gamma.copy()),
        strict=True,
    ):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(fastconv.relu_forward(view), fastconv.relu_forward(dense))
    np.testing.assert_allclose(
        fastconv.affine_forward(view, dense.T, gamma[:1].repeat(4)),
        fastconv.affine_forward(dense, dense.T, np.full(4, 2.0)),
    )


def test_empty_batches_are_legal():
    none = np.ones((0, 4, 3, 3), np.float32)
    one = np.ones(4, np.float32)
    y, mean, inv_std = fastconv.batch_norm_forward(none, one, one)
    assert y.shape == none.shape and np.isnan(mean).all() and np.isnan(inv_std).all()
    dx, dgamma, dbeta = fastconv.batch_norm_backward(none, none, one, mean, inv_std)
    assert dx.shape == none.shape and not dgamma.any() and not dbeta.any()
    assert fastconv.batch_norm_inference(none, one, one, one, one).shape == none.shape
    assert fastconv.affine_forward(np.ones((0, 3)), np.ones((3, 2)), np.ones(2)).shape == (0, 2)
    _, dw, db = fastconv.affine_backward(np.ones((0, 2)), np.ones((0, 3)), np.ones((3, 2)))
    assert not dw.any() and not db.any()
    loss, dscores = fastconv.softmax_cross_entropy(np.ones((0, 3)), np.ones(0, int))
    assert np.isnan(loss) and dscores.shape == (0, 3)
    assert fastconv.softmax_cross_entropy(np.ones((0, 3)), [])[1].shape == (0, 3)


BAD = {
    "gamma has shape": lambda x, v: fastconv.batch_norm_forward(x, v[:2], v),
    "beta has dtype": lambda x, v: fastconv.batch_norm_forward(x, v, v.astype("f4")),
    "eps is": lambda x, v: fastconv.batch_norm_forward(x, v, v, eps=0),
    "eps is too long": lambda x, v: fastconv.batch_norm_forward(x, v, v, eps=10**5000),
    "expected a positive finite": lambda x, v: fastconv.batch_norm_forward(x, v, v, eps=10**400),
    "layout is": lambda x, v: fastconv.batch_norm_forward(x, v, v, layout="NWC"),
    "x has shape": lambda x, v: fastconv.batch_norm_forward(x[0, 0, 0], v, v),
    "dy has shape": lambda x, v: fastconv.batch_norm_backward(x[:1], x, v, v, v),
    "x has dtype": lambda x, v: fastconv.relu_forward(x.astype(int)),
    "y has dtype": lambda x, v: fastconv.sigmoid_backward(x, x.astype("f4")),
    "dy has shape .1": lambda x, v: fastconv.relu_backward(x[:1], x),
    "w has shape": lambda x, v: fastconv.affine_forward(x[0, 0], np.ones((4, 2)), v),
    "b has shape": lambda x, v: fastconv.affine_forward(np.ones((2, 3)), np.ones((3, 2)), v),
    "labels contains 3": lambda x, v: fastconv.softmax_cross_entropy(np.ones((2, 3)), [0, 3]),
    "labels contains -1": lambda x, v: fastconv.softmax_cross_entropy(np.ones((2, 3)), [-1, 0]),
    "labels has dtype": lambda x, v: fastconv.softmax_cross_entropy(np.ones((2, 3)), [0.0, 1.0]),
    "labels has shape": lambda x, v: fastconv.softmax_cross_entropy(np.ones((2, 3)), [0]),
    "scores has shape": lambda x, v: fastconv.softmax_cross_entropy(np.ones(3), [0]),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    x, v = np.ones((2, 4, 3, 3)), np.ones(4)
    with pytest.raises((ValueError, TypeError), match=message):
        BAD[message](x, v)
