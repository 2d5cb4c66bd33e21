"""Batch norm, alone and with what is fused into it."""

import numpy as np
import pytest
from cases import LAYOUT_LAST, assert_same_bits, channels_last

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


FUSED = {
    "images": ((4, 6, 9, 11), None),
    "rows": ((7, 5), None),
    "rows_of_many_channels": ((64, 300), None),
    "short_runs": ((300, 3, 2, 2), None),
    "channels_that_fit_L2": ((16, 64, 20, 20), None),
    "runs_in_several_chunks": ((2, 3, 60000), None),
    "channels_last": ((2, 9, 11, 70), "NHWC"),
    "volume": ((2, 3, 4, 5, 6), None),
}


def check_reference(y, x, gamma, beta, activation, residual, dy):
    """What the loops say of a fused batch norm."""
    tolerance = {"rtol": 0, "atol": 200 * np.finfo(x.dtype).eps}
    fused = {"activation": activation, "residual": residual}
    expected, *statistics = reference.batch_norm_forward(x, gamma, beta, **fused)
    np.testing.assert_allclose(y, expected, **tolerance)
    found = fastconv.batch_norm_backward(dy, x, gamma, *statistics, y=y, activation=activation)
    right = reference.batch_norm_backward(dy, x, gamma, *statistics, y=y, activation=activation)
    for actual, want in zip(found, right, strict=True):
        np.testing.assert_allclose(actual, want, **tolerance)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("case", FUSED)
def test_what_is_fused_into_batch_norm_is_that_of_separate_calls(case, dtype, isa):
    shape, layout = FUSED[case]
    channel = len(shape) - 1 if layout else 1
    rng = np.random.default_rng(3)
    x, shortcut, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    gamma, beta = (rng.standard_normal(shape[channel]).astype(dtype) for _ in range(2))
    plain, *statistics = fastconv.batch_norm_forward(x, gamma, beta, layout=layout)
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            for activation in (None, "relu"):
                for residual in (None, shortcut):
                    expected = plain if residual is None else plain + residual
                    dz = dy
                    if activation:
                        expected = fastconv.relu_forward(expected)
                        dz = fastconv.relu_backward(dy, expected)
                    y, *same = fastconv.batch_norm_forward(
                        x, gamma, beta, activation=activation, residual=residual, layout=layout
                    )
                    for actual, want in zip((y, *same), (expected, *statistics), strict=True):
                        assert_same_bits(actual, want)
                    want = fastconv.batch_norm_backward(dz, x, gamma, *same, layout=layout)
                    if case == "images":
                        check_reference(y, x, gamma, beta, activation, residual, dy)
                    for named in (activation, "auto"):
                        found = fastconv.batch_norm_backward(
                            dy, x, gamma, *same, y=y, activation=named, layout=layout
                        )
                        for a, e in zip(found, (*want, dz), strict=True):
                            assert_same_bits(a, e)
                    assert not np.shares_memory(found[3], dy)


def test_batch_norm_of_a_result_that_is_of_no_relu():
    x, gamma, beta, dy = batch((3, 4, 5))
    y, *statistics = fastconv.batch_norm_forward(x, gamma, beta, residual=x)
    with pytest.raises(ValueError, match="y has elements below 0"):
        fastconv.batch_norm_backward(dy, x, gamma, *statistics, y=y, activation="relu")
    with pytest.raises(ValueError, match="activation is 'silu', expected None or 'relu'"):
        fastconv.batch_norm_backward(dy, x, gamma, *statistics, y=y, activation="silu")
    with pytest.raises(ValueError, match="activation is 'silu', expected None or 'relu'"):
        fastconv.batch_norm_forward(x, gamma, beta, activation="silu")
    with pytest.raises(ValueError, match="residual"):
        fastconv.batch_norm_forward(x, gamma, beta, residual=x[:2])
    with pytest.raises(TypeError, match="residual"):
        fastconv.batch_norm_forward(x, gamma, beta, residual=x.astype("f4"))
    # A residual alone whose sum is nowhere negative, as it is where gamma starts at zero.
    zeros, shortcut = np.zeros(4), np.maximum(x, 0)
    y, *statistics = fastconv.batch_norm_forward(x, zeros, zeros, residual=shortcut)
    found = fastconv.batch_norm_backward(dy, x, gamma, *statistics, y=y, activation=None)
    assert_same_bits(found[3], dy)


def test_nan_of_a_fused_relu_is_kept_and_has_no_gradient():
    x, gamma, beta, dy = batch((3, 4, 5))
    shortcut = np.full_like(x, np.nan)
    y, *statistics = fastconv.batch_norm_forward(
        x, gamma, beta, activation="relu", residual=shortcut
    )
    assert np.isnan(y).all()
    found = fastconv.batch_norm_backward(dy, x, gamma, *statistics, y=y)
    assert not found[3].any() and not found[2].any()


@pytest.mark.parametrize("shape", [(0, 4), (0, 4, 3, 3), (2, 4, 0)])
def test_fused_batch_norm_of_nothing(shape):
    x, gamma = np.zeros(shape), np.ones(4)
    y, *statistics = fastconv.batch_norm_forward(x, gamma, gamma, activation="relu", residual=x)
    found = fastconv.batch_norm_backward(x, x, gamma, *statistics, y=y)
    assert [array.shape for array in found] == [shape, (4,), (4,), shape]
    assert not found[1].any() and not found[2].any()


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
