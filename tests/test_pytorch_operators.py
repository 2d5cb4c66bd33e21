"""PyTorch as an independent oracle of the operators that no other file compares with it.

It computes in double: of float32 data, only our own rounding is then left to allow for.
"""

import numpy as np
import pytest
from cases import CONV, LAYOUT_LAST, Case, assert_close, channels_first, channels_last

import fastconv

dtypes = pytest.mark.parametrize("dtype", ["f4", "f8"])

# (N, C, H, W): less than a vector of pixels or channels, a whole one (16), one more, and many.
SHAPES = {
    "one_pixel": (7, 3, 1, 1),
    "one_pixel_130_channels": (9, 130, 1, 1),
    "one_channel": (2, 1, 7, 9),
    "3_channels": (2, 3, 40, 50),
    "16_channels": (3, 16, 7, 9),
    "17_channels": (2, 17, 40, 50),
    "65_channels": (3, 65, 7, 9),
    "130_channels": (1, 130, 40, 50),
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def normal(seed, *shape, dtype="f8"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def doubles(torch, *arrays):
    """Leaves in double whose gradients are wanted."""
    return [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays]


def gradients(y, dy, *tensors):
    """What dy at y makes of the tensors, as arrays."""
    y.backward(y.new_tensor(dy))
    return [tensor.grad.numpy() for tensor in tensors]


def assert_rounded(actual, expected, scale, terms=0):
    """Equal up to a few roundings of ours and `terms` of PyTorch's in double, of size `scale`."""
    assert actual.shape == expected.shape
    atol = (8 * np.finfo(actual.dtype).eps + terms * np.finfo("f8").eps) * scale
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


# ---------------------------------------------------------------------------------------------
# Activations


@dtypes
@shapes
def test_relu(shape, dtype, torch):
    x, dy = normal(0, *shape, dtype=dtype), normal(1, *shape, dtype=dtype)
    x.flat[:3] = 0, -0.0, np.inf
    (tensor,) = doubles(torch, x)
    theirs = torch.nn.functional.relu(tensor)
    y = fastconv.relu_forward(x)
    np.testing.assert_array_equal(y, theirs.detach().numpy())
    np.testing.assert_array_equal(fastconv.relu_backward(dy, y), gradients(theirs, dy, tensor)[0])


@dtypes
@shapes
def test_sigmoid(shape, dtype, torch):
    x, dy = 8 * normal(2, *shape, dtype=dtype), normal(3, *shape, dtype=dtype)
    (tensor,) = doubles(torch, x)
    theirs = torch.sigmoid(tensor)
    y, eps = fastconv.sigmoid_forward(x), np.finfo(dtype).eps
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=4 * eps)
    # y near 1 is known to eps / 2, hence 1 - y too.
    dx = fastconv.sigmoid_backward(dy, y)
    (expected,) = gradients(theirs, dy, tensor)
    np.testing.assert_allclose(dx, expected, rtol=4 * eps, atol=eps * np.abs(dy).max())


# ---------------------------------------------------------------------------------------------
# Fully connected, loss


# (N, D, M)
AFFINE = {
    "one_number": (1, 1, 1),
    "narrow": (3, 16, 2),
    "odd": (17, 65, 33),
    "mnist": (70, 784, 130),
    "many_rows": (2000, 17, 10),
}


@dtypes
@pytest.mark.parametrize("sizes", AFFINE.values(), ids=AFFINE)
def test_affine(sizes, dtype, torch):
    N, D, M = sizes
    rng = np.random.default_rng(4)
    x, w, b, dy = (
        rng.uniform(-1, 1, shape).astype(dtype) for shape in ((N, D), (D, M), (M,), (N, M))
    )
    tensors = doubles(torch, x, w, b)
    theirs = torch.nn.functional.linear(tensors[0], tensors[1].T, tensors[2])
    assert_close(fastconv.affine_forward(x, w, b), theirs.detach().numpy(), depth=D)
    expected = gradients(theirs, dy, *tensors)
    for ours, want, depth in zip(
        fastconv.affine_backward(dy, x, w), expected, (M, N, N), strict=True
    ):
        assert_close(ours, want, depth)


# (N, classes)
SCORES = {
    "one_class": (3, 1),
    "two_classes": (1, 2),
    "digits": (2000, 10),
    "17_classes": (5, 17),
    "130_classes": (65, 130),
    "imagenet": (40, 1000),
}


@dtypes
@pytest.mark.parametrize("sizes", SCORES.values(), ids=SCORES)
def test_softmax_cross_entropy(sizes, dtype, torch):
    N, classes = sizes
    scores = 5 * normal(5, N, classes, dtype=dtype)
    labels = np.random.default_rng(6).integers(0, classes, N)
    (tensor,) = doubles(torch, scores)
    theirs = torch.nn.functional.cross_entropy(tensor, torch.tensor(labels))
    loss, dscores = fastconv.softmax_cross_entropy(scores, labels)
    (expected,) = gradients(theirs, 1.0, tensor)
    # A sum of `classes` terms below 1, whose exponents are rounded where they are of size 1.
    bound = np.finfo(dtype).eps * (classes + 8)
    np.testing.assert_allclose(loss, theirs.item(), rtol=bound, atol=bound)
    assert_close(dscores, expected, classes, scale=1 / N)


# ---------------------------------------------------------------------------------------------
# Batch norm


def norm_arguments(shape, dtype):
    """x, gamma, beta, mean, var, dy, every channel with a centre and a spread of its own."""
    rng, C = np.random.default_rng(7), shape[1]
    channels = (C, *(1,) * (len(shape) - 2))
    x = rng.standard_normal(shape) * rng.uniform(0.5, 2, channels) + rng.uniform(-2, 2, channels)
    vectors = rng.uniform(0.5, 2, C), rng.uniform(-2, 2, C), rng.uniform(-2, 2, C)
    arrays = (x, *vectors, rng.uniform(0.5, 2, C), rng.uniform(-1, 1, shape))
    return (array.astype(dtype) for array in arrays)


NORM_SHAPES = SHAPES | {
    "matrix": (70, 65),
    "line": (2, 17, 3000),
    "volume": (2, 16, 5, 7, 9),
}
norm_shapes = pytest.mark.parametrize("shape", NORM_SHAPES.values(), ids=NORM_SHAPES)


def both_layouts(shape):
    """(layout, from channels first, to channels first)."""
    yield None, np.asarray, np.asarray
    if len(shape) > 2:
        yield LAYOUT_LAST[len(shape) - 2], channels_last, channels_first


@dtypes
@norm_shapes
def test_batch_norm(shape, dtype, torch):
    x, gamma, beta, _, _, dy = norm_arguments(shape, dtype)
    tensors = doubles(torch, x, gamma, beta)
    theirs = torch.nn.functional.batch_norm(
        tensors[0], None, None, *tensors[1:], training=True, eps=1e-3
    )
    expected_y, M = theirs.detach().numpy(), x.size // len(gamma)
    expected_dx, *expected_sums = gradients(theirs, dy, *tensors)
    for layout, put, back in both_layouts(shape):
        y, mean, inv_std = fastconv.batch_norm_forward(put(x), gamma, beta, eps=1e-3, layout=layout)
        dx, *sums = fastconv.batch_norm_backward(
            put(dy), put(x), gamma, mean, inv_std, layout=layout
        )
        assert_rounded(back(y), expected_y, np.abs(expected_y).max(), M)
        assert_rounded(back(dx), expected_dx, np.abs(expected_dx).max(), M)
        # dgamma and dbeta: M terms of size 1 sum to sqrt(M), in double as long as they are summed.
        for ours, want in zip(sums, expected_sums, strict=True):
            assert_rounded(ours, want, np.sqrt(M), M)


@dtypes
@norm_shapes
def test_batch_norm_inference(shape, dtype, torch):
    x, gamma, beta, mean, var, _ = norm_arguments(shape, dtype)
    tensors = (tensor.detach() for tensor in doubles(torch, x, mean, var, gamma, beta))
    expected = torch.nn.functional.batch_norm(*tensors, training=False, eps=1e-3).numpy()
    for layout, put, back in both_layouts(shape):
        y = fastconv.batch_norm_inference(put(x), gamma, beta, mean, var, eps=1e-3, layout=layout)
        assert_rounded(back(y), expected, np.abs(expected).max())


# ---------------------------------------------------------------------------------------------
# Columns


LARGE = [
    Case("vector_of_pixels", (2, 3, 7, 16), (1, 3, 3, 3), {"padding": 1}),
    Case("17_channels_40x50", (2, 17, 40, 50), (1, 17, 3, 3), {"padding": 1}),
    Case("130_channels_7x9", (1, 130, 7, 9), (2, 130, 2, 4), {"padding": (1, 2)}),
    Case("65_channels_stride_2", (2, 65, 41, 50), (3, 65, 3, 3), {"stride": 2, "padding": 1}),
    Case("stem", (1, 3, 64, 65), (16, 3, 7, 7), {"stride": (2, 3), "padding": 3}),
    Case("dilated_40x50", (1, 16, 40, 50), (17, 16, 3, 3), {"dilation": (2, 5), "padding": 4}),
]


def has_numbers_for_padding(case):
    padding = case.options.get("padding", 0)
    return not isinstance(padding, str) and np.ndim(padding) < 2


UNFOLDED = [c for c in CONV if len(c.x) == 4 and has_numbers_for_padding(c)]


@dtypes
@pytest.mark.parametrize("case", UNFOLDED + LARGE, ids=str)
def test_fold_is_col2im_and_unfold_im2col(case, dtype, torch):
    kernel = case.w[2:]
    geometry = {k: v for k, v in case.options.items() if k != "groups"}
    x = case.integers(dtype=dtype)[0]
    cols = fastconv.im2col(x, kernel, **geometry)
    unfolded = torch.nn.functional.unfold(torch.tensor(x), kernel, **geometry)
    np.testing.assert_array_equal(cols, unfolded.numpy())
    # Small integers: the sums are exact in any order.
    values = np.random.default_rng(8).integers(-4, 5, cols.shape).astype(dtype)
    folded = torch.nn.functional.fold(torch.tensor(values), case.x[2:], kernel, **geometry)
    back = fastconv.col2im(values, case.x, kernel, **geometry)
    np.testing.assert_array_equal(back, folded.numpy())


# ---------------------------------------------------------------------------------------------
# Forward mode


LAYERS = [
    Case("wide_line", (2, 65, 100), (17, 65, 5), {"padding": 2}),
    Case("wide_volume", (1, 16, 5, 6, 17), (18, 16, 3, 3, 3), {"padding": 1}),
    Case("depthwise_130", (2, 130, 7, 9), (130, 1, 3, 3), {"groups": 130, "padding": 1}),
    Case("pointwise_65", (2, 65, 7, 9), (130, 65, 1, 1)),
]


# Loading its derivatives PyTorch 2.13 warns of its own use of torch.jit.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@dtypes
@pytest.mark.parametrize("wanted", ["x", "w", "b", "xwb"])
@pytest.mark.parametrize(
    "case", [c for c in CONV if has_numbers_for_padding(c)] + LARGE + LAYERS, ids=str
)
def test_conv_jvp_is_torch_func_jvp(case, wanted, dtype, torch):
    arrays, dots = case.random(seed=0, dtype=dtype), case.random(seed=1, dtype=dtype)
    dots = [dot if name in wanted else None for name, dot in zip("xwb", dots, strict=True)]
    primals = tuple(torch.tensor(a, dtype=torch.float64) for a in arrays)
    tangents = tuple(
        torch.zeros_like(p) if dot is None else torch.tensor(dot, dtype=torch.float64)
        for p, dot in zip(primals, dots, strict=True)
    )
    conv = getattr(torch.nn.functional, f"conv{len(case.x) - 2}d")
    _, expected = torch.func.jvp(lambda x, w, b: conv(x, w, b, **case.options), primals, tangents)
    actual = fastconv.conv_jvp(*arrays[:2], *dots, **case.options)
    # Two sums of `depth` terms below 1.
    assert_close(actual, expected.numpy(), 2 * case.depth)
