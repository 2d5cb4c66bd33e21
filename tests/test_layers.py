"""Activations, affine, softmax cross-entropy; arguments of all layers."""

import numpy as np
import pytest
from cases import assert_same_bits, broadcast, odd_strides

import fastconv
from fastconv import layers, reference


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


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_activations_are_exact_with_the_same_bits_at_every_thread_count(dtype, isa):
    rng, count = np.random.default_rng(3), 200_003  # the last block and vector are not whole
    x, dy = rng.normal(0, 8, count).astype(dtype), rng.standard_normal(count).astype(dtype)
    x[-4:] = np.nan, np.inf, -np.inf, -0.0
    results = []
    for threads in (1, 2, 3):
        with fastconv.num_threads(threads):
            y, s = fastconv.relu_forward(x), fastconv.sigmoid_forward(x)
            gradients = fastconv.relu_backward(dy, y), fastconv.sigmoid_backward(dy, s)
            results.append([y, s, *gradients])
    y, s, dx, ds = results[0]
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    np.testing.assert_array_equal(dx, np.where(x > 0, dy, 0))
    exact = 1 / (1 + np.exp(-x.astype(np.longdouble)))
    np.testing.assert_allclose(s, exact.astype("f8"), rtol=4 * np.finfo(dtype).eps)
    of_s = s.astype(np.longdouble)
    slope = (dy * of_s * (1 - of_s)).astype("f8")
    # Three roundings of half an eps.
    np.testing.assert_allclose(ds, slope, rtol=2 * np.finfo(dtype).eps)
    for other in results[1:]:
        for actual, one in zip(other, results[0], strict=True):
            assert_same_bits(actual, one)


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
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 6), "f4")
    gamma, beta = np.arange(1, 5, dtype="f4"), np.arange(4, dtype="f4")
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


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("rows", [1, 7, 5000])
@pytest.mark.parametrize("cols", [1, 10, 67, 6000])
def test_affine_of_many_rows_and_columns(rows, cols, dtype, isa):
    if rows * cols > 400_000:
        rows = 64
    rng = np.random.default_rng(5)
    # Small integers: every sum is exact.
    x, w, b, dy = (
        rng.integers(-3, 4, shape).astype(dtype)
        for shape in ((rows, 3), (3, cols), (cols,), (rows, cols))
    )
    for threads in (1, 3):
        with fastconv.num_threads(threads):
            y = fastconv.affine_forward(x, w, b)
            gradients = fastconv.affine_backward(dy, x, w)
            last = fastconv.affine_forward(
                np.asfortranarray(x), np.asfortranarray(w), np.repeat(b, 2)[::2]
            )
        assert y.flags.c_contiguous and y.dtype == dtype
        np.testing.assert_array_equal(y, x @ w + b)
        np.testing.assert_array_equal(last, y)
        expected = dy @ w.T, x.T @ dy, dy.sum(axis=0)
        for actual, want in zip(gradients, expected, strict=True):
            np.testing.assert_array_equal(actual, want)
            assert actual.dtype == dtype


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_affine_db_has_the_same_bits_at_every_thread_count(dtype, isa):
    dy = np.random.default_rng(6).standard_normal((5000, 67)).astype(dtype)
    x, w, gradients = dy[:, :2], np.ones((2, 67), dtype), []
    for threads in (1, 2, 3):
        with fastconv.num_threads(threads):
            gradients.append(fastconv.affine_backward(dy, x, w)[2])
    exact = dy.sum(axis=0, dtype=np.longdouble).astype(dtype)
    np.testing.assert_allclose(gradients[0], exact, rtol=4 * np.finfo(dtype).eps, atol=1e-12)
    assert_same_bits(gradients[0], gradients[1])
    assert_same_bits(gradients[0], gradients[2])


def test_softmax_cross_entropy_matches_the_reference():
    scores = np.random.default_rng(5).standard_normal((6, 4)) * 10
    labels = [0, 3, 1, 1, 2, 0]
    loss, dscores = fastconv.softmax_cross_entropy(scores, labels)
    expected, dexpected = reference.softmax_cross_entropy(scores, labels)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(dscores, dexpected, rtol=1e-12, atol=1e-15)


SCORES = [(1, 1), (7, 2), (300, 3), (5, 7), (5, 8), (5, 9), (4, 33), (40, 1000), (3, 70001)]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", SCORES, ids=str)
def test_softmax_is_exact_with_the_same_bits_at_every_thread_count(shape, dtype, isa):
    rng = np.random.default_rng(8)
    spread = rng.uniform(0, 200, (shape[0], 1))
    scores = (rng.standard_normal(shape) * spread).astype(dtype)
    labels, rows = rng.integers(0, shape[1], shape[0]), np.arange(shape[0])
    labels[::2] = scores[::2].argmax(1)
    distances = scores.astype(np.longdouble) - scores.max(1, keepdims=True)
    powers = np.exp(distances)
    total = powers.sum(1, keepdims=True)
    gradient = powers / total
    powers[rows, labels] = 0
    gradient[rows, labels] = -(powers.sum(1) / total[:, 0])
    exact = (np.log(total[:, 0]) - distances[rows, labels]).mean()
    results = []
    for threads in (1, 2, 3):
        with fastconv.num_threads(threads):
            results.append(fastconv.softmax_cross_entropy(scores, labels))
    loss, dscores = results[0]
    assert type(loss) is float and dscores.dtype == dtype
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(loss, float(exact), rtol=4 * eps, atol=eps)
    np.testing.assert_allclose(
        dscores * shape[0], gradient.astype("f8"), rtol=4 * eps, atol=1e-15
    )  # fmt: skip
    for other in results[1:]:
        assert other[0] == loss
        assert_same_bits(other[1], dscores)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("classes", [3, 40])
def test_softmax_of_what_is_not_finite(classes, dtype, isa):
    plain = np.random.default_rng(9).standard_normal(classes).astype(dtype)
    rows = {name: plain.copy() for name in ("nan", "inf", "nothing", "never")}
    rows["nan"][-1], rows["inf"][0] = np.nan, np.inf
    rows["nothing"][:] = -np.inf
    rows["never"][1] = -np.inf  # of probability 0
    scores = np.array([*rows.values(), plain])
    loss, dscores = fastconv.softmax_cross_entropy(scores, [0] * 5)
    assert np.isnan(loss) and np.isnan(dscores[:3]).all() and np.isfinite(dscores[3:]).all()
    assert dscores[3, 1] == 0
    loss, dscores = fastconv.softmax_cross_entropy(scores[3:4], [1])
    assert loss == np.inf and dscores[0, 1] == -1


def test_softmax_of_labels_that_change_during_the_call_is_refused(monkeypatch):
    labels = np.zeros(3, np.int64)
    core = layers._core.softmax_cross_entropy

    def late(scores, checked, dscores):
        labels[1] = 10**12
        return core(scores, checked, dscores)

    monkeypatch.setattr(layers._core, "softmax_cross_entropy", late)
    with pytest.raises(ValueError, match="labels were changed"):
        fastconv.softmax_cross_entropy(np.ones((3, 4)), labels)


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
