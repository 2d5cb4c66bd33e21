"""Batch norm, activations, affine, softmax cross-entropy."""

import numpy as np
import pytest
from cases import LAYOUT_LAST, assert_same_bits, broadcast, channels_last, odd_strides

import fastconv
from fastconv import layers, reference

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


# How the elements of a channel lie: adjacent, in few or in many images, or in columns.
PATHS = {
    "runs": ((3, 3, 9, 11), None),
    "short_runs": ((9, 3, 9, 3), None),
    "rows": ((4, 9, 7, 3), "NHWC"),
}
paths = pytest.mark.parametrize(("shape", "layout"), PATHS.values(), ids=PATHS)


@paths
def test_batch_norm_of_a_constant_is_beta(shape, layout):
    x, one = np.full(shape, 1e8), np.ones(3)
    y, mean, inv_std = fastconv.batch_norm_forward(x, one, 0 * one, layout=layout)
    np.testing.assert_allclose(y, 0 * x, atol=1e-9)
    np.testing.assert_array_equal(mean, 1e8 * one)
    np.testing.assert_allclose(inv_std, 1e-5**-0.5 * one)
    y = fastconv.batch_norm_inference(x, one, 0 * one, mean, 0 * one, layout=layout)
    np.testing.assert_allclose(y, 0 * x, atol=1e-9)


# Numbers near 1e10 are 1024 apart in single precision: all become 1e10, or a few neighbours of it.
@pytest.mark.parametrize("deviation", [1, 1000])
@paths
def test_batch_norm_of_values_that_differ_by_their_rounding(shape, layout, deviation):
    noise = np.random.default_rng(9).standard_normal(shape)
    x = (1e10 + deviation * noise).astype("f4")
    gamma, beta = np.float32([[1, 2, 3], [3, 2, 1]])
    wide = (a.astype("f8") for a in (x, gamma, beta))
    expected = reference.batch_norm_forward(*wide, layout=layout)
    y, mean, _ = fastconv.batch_norm_forward(x, gamma, beta, layout=layout)
    np.testing.assert_allclose(y, expected[0], atol=1e-5)
    np.testing.assert_allclose(mean, expected[1], rtol=1e-7)


@paths
def test_batch_norm_gradients_are_exact_where_the_mean_is_far_from_zero(shape, layout):
    rng = np.random.default_rng(9)
    x, dy = 1e8 + rng.standard_normal(shape) / 1024, rng.standard_normal(shape)
    gamma, mean, inv_std = np.ones(3), np.full(3, 1e8), np.full(3, 1024.0)
    actual = fastconv.batch_norm_backward(dy, x, gamma, mean, inv_std, layout=layout)
    expected = reference.batch_norm_backward(dy, x, gamma, mean, inv_std, layout=layout)
    for ours, want in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, want, rtol=1e-10, atol=1e-10)


# Runs of several chunks (4096 float32, 2048 float64), rows of more than 64 channels, the last ones
# shorter; short runs, and so many that images share a chunk. Bytes for two threads, often three.
CHUNKED = {
    "planes_of_several_chunks": ((2, 3, 100, 100), None),
    "one_long_line": ((1, 1, 70000), None),
    "small_planes": ((40, 65, 7, 9), None),
    "two_pixels_of_many_images": ((2000, 64, 2), None),
    "two_pixels_of_many_channels": ((17, 65537, 2), None),
    "rows_of_70_channels": ((3000, 70), None),
    "channels_last_130": ((2, 40, 50, 130), "NHWC"),
    "long_line_channels_last": ((1, 20001, 65), "NWC"),
}


def exact_batch_norm(x, gamma, beta, dy, channel, eps=1e-5):
    """(y, mean, inv_std, dx, dgamma, dbeta) in long double, dx and after of the rounded statistics.

    The statistics are rounded to the dtype of x, the others to float64.
    """
    of_channels = np.moveaxis(x, channel, 0).shape

    def rows(a):
        return np.moveaxis(a, channel, 0).reshape(len(gamma), -1).astype(np.longdouble)

    def like_x(a):
        return np.moveaxis(a.astype("f8").reshape(of_channels), 0, channel)

    x_rows, dy = rows(x), rows(dy)
    gamma, beta = (a[:, None].astype(np.longdouble) for a in (gamma, beta))
    mean = x_rows.mean(axis=1, keepdims=True)
    var = ((x_rows - mean) ** 2).mean(axis=1, keepdims=True)
    inv_std = 1 / np.sqrt(var + np.longdouble(eps))
    y = gamma * (x_rows - mean) * inv_std + beta
    mean, inv_std = mean.astype(x.dtype), inv_std.astype(x.dtype)
    x_hat = (x_rows - mean) * inv_std
    dgamma, dbeta = (x_hat * dy).sum(axis=1, keepdims=True), dy.sum(axis=1, keepdims=True)
    dx = gamma * inv_std * (dy - (dbeta + x_hat * dgamma) / dy.shape[1])
    sums = dgamma[:, 0].astype("f8"), dbeta[:, 0].astype("f8")
    return like_x(y), mean[:, 0], inv_std[:, 0], like_x(dx), *sums


@pytest.fixture(
    scope="module", params=[(n, d) for n in CHUNKED for d in ("f4", "f8")], ids="-".join
)
def chunked(request):
    """(x, gamma, beta, dy), their layout and what exact_batch_norm makes of them."""
    name, dtype = request.param
    shape, layout = CHUNKED[name]
    channel = 1 if layout is None else len(shape) - 1
    rng, C = np.random.default_rng(8), shape[channel]
    across = tuple(C if axis == channel else 1 for axis in range(len(shape)))
    spread, centre = rng.uniform(0.5, 2, across), rng.uniform(-3, 3, across)
    x = (rng.standard_normal(shape) * spread + centre).astype(dtype)
    gamma, beta = rng.uniform(0.5, 2, C).astype(dtype), rng.standard_normal(C).astype(dtype)
    dy = (rng.standard_normal(shape) + centre).astype(dtype)
    return (x, gamma, beta, dy), layout, exact_batch_norm(x, gamma, beta, dy, channel)


def test_batch_norm_in_chunks_is_exact_with_the_same_bits_at_every_thread_count(chunked, isa):
    (x, gamma, beta, dy), layout, expected = chunked
    results = []
    for count in (1, 2, 3):
        with fastconv.num_threads(count):
            forward = fastconv.batch_norm_forward(x, gamma, beta, layout=layout)
            backward = fastconv.batch_norm_backward(dy, x, gamma, *expected[1:3], layout=layout)
            results.append([*forward, *backward])
    # Rounded once to the dtype of x; before, in double, errors of up to a thousand terms or partial
    # sums add up to tens of its roundings, relative to terms of size 1, in sums to sqrt(M) of them.
    double, M = 64 * 2.0**-52, x.size // gamma.size
    for i, (actual, want) in enumerate(zip(results[0], expected, strict=True)):
        scale = np.sqrt(M) if i >= 4 else 1
        rounding = np.finfo(x.dtype).eps / 2
        np.testing.assert_allclose(actual, want, rtol=rounding + double, atol=double * scale)
    for other in results[1:]:
        for actual, one in zip(other, results[0], strict=True):
            assert_same_bits(actual, one)


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
