"""Derivatives of every layer: forward mode against differences, backward as its adjoint."""

import numpy as np
import pytest
from cases import (
    CONV,
    CONV_BY_NAME,
    LAYOUT_LAST,
    assert_close,
    assert_same_bits,
    broadcast,
    channels_last,
    distinct,
    odd_strides,
)

import fastconv
from fastconv import reference

EVERY = pytest.mark.parametrize("case", CONV, ids=str)


def directions_of(case, seed=7, dtype=np.float64, integers=False):
    """x_dot, w_dot, b_dot and dy."""
    rng = np.random.default_rng(seed)
    y_shape = fastconv.conv_output_shape(case.x, case.w, **case.options)
    shapes = (case.x, case.w, case.w[:1], y_shape)
    if integers:
        return tuple(rng.integers(-4, 5, shape).astype(dtype) for shape in shapes)
    return tuple(rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes)


def close_to_inner_product(a, b, terms=1e-12):
    """Two inner products of the same, up to the rounding of their terms."""
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=terms)


# ---------------------------------------------------------------------------------------------
# conv_jvp


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@EVERY
def test_jvp_is_exact_on_integers(case, dtype, algorithm):
    x, w, _ = case.integers(dtype=dtype)
    x_dot, w_dot, b_dot, _ = directions_of(case, dtype=dtype, integers=True)
    options = dict(case.options, algorithm=algorithm)
    y_dot = fastconv.conv_jvp(x, w, x_dot, w_dot, b_dot, **options)
    assert y_dot.dtype == dtype and y_dot.flags.c_contiguous
    expected = reference.conv_jvp(x, w, x_dot, w_dot, b_dot, **case.options)
    np.testing.assert_array_equal(y_dot, expected)


@EVERY
@fastconv.accuracy("high")
def test_jvp_is_the_central_difference_of_the_forward(case):
    """The forward is quadratic in (x, w, b): its central difference has no truncation error."""
    point, (*direction, _) = case.integers(dtype=np.float64), directions_of(case, integers=True)
    ahead, behind = (
        fastconv.conv_forward(
            *(a + step * v for a, v in zip(point, direction, strict=True)), **case.options
        )
        for step in (1, -1)
    )
    y_dot = fastconv.conv_jvp(*point[:2], *direction, **case.options)
    np.testing.assert_array_equal(y_dot, (ahead - behind) / 2)


@EVERY
def test_jvp_is_the_adjoint_of_conv_backward(case, algorithm):
    """<dy, J v> = <J^T dy, v> for every direction v of (x, w, b)."""
    x, w, _ = case.random()
    *direction, dy = directions_of(case)
    options = dict(case.options, algorithm=algorithm)
    y_dot = fastconv.conv_jvp(x, w, *direction, **options)
    gradients = fastconv.conv_backward(dy, x, w, **options)
    pulled = sum(np.vdot(g, v) for g, v in zip(gradients, direction, strict=True))
    close_to_inner_product(np.vdot(dy, y_dot), pulled)


@pytest.mark.parametrize("name", ["same_3x3", "groups_2", "depthwise", "line", "volume"])
def test_jvp_of_a_tangent_that_is_none_leaves_its_term_out(name, algorithm):
    case = CONV_BY_NAME[name]
    x, w, _ = case.integers()
    x_dot, w_dot, b_dot, dy = directions_of(case, dtype=np.float32, integers=True)
    options = dict(case.options, algorithm=algorithm)
    x_term = reference.conv_forward(x_dot, w, **case.options)
    w_term = reference.conv_forward(x, w_dot, **case.options)
    b_term = np.broadcast_to(b_dot.reshape(-1, *(1,) * (x.ndim - 2)), dy.shape)
    for arguments, expected in (
        ((x_dot, None), x_term),
        ((x_dot, None, b_dot), x_term + b_term),
        ((None, w_dot), w_term),
        ((None, w_dot, b_dot), w_term + b_term),
        ((x_dot, w_dot), x_term + w_term),
        ((None, None, b_dot), b_term),
        ((None, None), np.zeros_like(dy)),
    ):
        y_dot = fastconv.conv_jvp(x, w, *arguments, **options)
        assert y_dot.dtype == np.float32 and y_dot.flags.c_contiguous and y_dot.flags.writeable
        np.testing.assert_array_equal(y_dot, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_jvp_of_a_tangent_that_is_none_does_not_meet_infinities(value, algorithm):
    case = CONV_BY_NAME["same_3x3"]
    x, w, _ = case.integers()
    x_dot, w_dot, b_dot, _ = directions_of(case, dtype=np.float32, integers=True)
    options = dict(case.options, algorithm=algorithm)
    spoiled = np.full_like(w, value)
    actual = fastconv.conv_jvp(x, spoiled, None, w_dot, **options)
    np.testing.assert_array_equal(actual, reference.conv_forward(x, w_dot, **case.options))
    actual = fastconv.conv_jvp(np.full_like(x, value), w, x_dot, None, b_dot, **options)
    np.testing.assert_array_equal(actual, reference.conv_forward(x_dot, w, b_dot, **case.options))


@pytest.mark.pairwise
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["same_3x3", "dilated", "stride_beyond_kernel", "groups_2"])
def test_jvp_non_finite_elements_land_where_the_defining_sums_put_them(name, value, algorithm):
    case = CONV_BY_NAME[name]
    rng = np.random.default_rng(5)
    for spoiled in ("x", "w", "x_dot", "w_dot"):
        x, w, _ = case.random(dtype=np.float32)
        x_dot, w_dot, b_dot, _ = directions_of(case, dtype=np.float32)
        array = {"x": x, "w": w, "x_dot": x_dot, "w_dot": w_dot}[spoiled]
        array.flat[rng.integers(array.size)] = value
        arguments = (x, w, x_dot, w_dot, b_dot)
        actual = fastconv.conv_jvp(*arguments, algorithm=algorithm, **case.options)
        expected = reference.conv_jvp(*arguments, **case.options)
        np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected), spoiled)
        infinite = [np.isinf(a) * np.sign(a) for a in (actual, expected)]
        np.testing.assert_array_equal(*infinite, spoiled)


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@EVERY
def test_jvp_rounding_stays_within_the_bound_of_the_sum(case, dtype, algorithm):
    x, w, _ = case.random(dtype=dtype)
    x_dot, w_dot, b_dot, _ = directions_of(case, dtype=dtype)
    y_dot = fastconv.conv_jvp(x, w, x_dot, w_dot, b_dot, algorithm=algorithm, **case.options)
    expected = reference.conv_jvp(x, w, x_dot, w_dot, b_dot, **case.options)
    assert_close(y_dot, expected, 2 * case.depth)


@EVERY
def test_jvp_channels_last_is_channels_first_transposed(case):
    x, w, _ = case.integers()
    x_dot, w_dot, b_dot, _ = directions_of(case, dtype=np.float32, integers=True)
    expected = fastconv.conv_jvp(x, w, x_dot, w_dot, b_dot, **case.options)
    last = fastconv.conv_jvp(
        channels_last(x),
        w,
        channels_last(x_dot),
        w_dot,
        b_dot,
        layout=LAYOUT_LAST[x.ndim - 2],
        **case.options,
    )
    assert last.flags.c_contiguous
    np.testing.assert_array_equal(last, channels_last(expected))


def test_jvp_memory_layout_of_the_arguments_does_not_matter():
    case = CONV_BY_NAME["groups_2"]
    x, w, _ = case.integers()
    arrays = (x, w, *directions_of(case, dtype=np.float32, integers=True)[:3])
    expected = fastconv.conv_jvp(*arrays, **case.options)
    views = [odd_strides(array) for array in arrays]
    for kind in views[0]:
        given = [view[kind] for view in views]
        before = [array.tobytes() for array in given]
        actual = fastconv.conv_jvp(*given, **case.options)
        np.testing.assert_array_equal(actual, expected, err_msg=kind)
        assert actual.dtype.isnative and [array.tobytes() for array in given] == before
    given, dense = zip(*(broadcast(array) for array in arrays), strict=True)
    np.testing.assert_array_equal(
        fastconv.conv_jvp(*given, **case.options), fastconv.conv_jvp(*dense, **case.options)
    )


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_jvp_of_an_empty_batch_is_empty(layout, activation):
    x, w = np.ones((0, 6, 6, 2) if layout else (0, 2, 6, 6)), np.ones((4, 2, 3, 3))
    options = {"layout": layout, "activation": activation}
    for arguments in ((x, w, np.ones(4)), (None, None)):
        assert fastconv.conv_jvp(x, w, *arguments, **options).shape == (0, 4, 4, 4)


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@EVERY
@fastconv.accuracy("high")
def test_jvp_of_the_activation_is_the_tangent_where_the_forward_is_positive(case, dtype, algorithm):
    x, w, _ = case.integers(dtype=dtype)
    x_dot, w_dot, b_dot, _ = directions_of(case, dtype=dtype, integers=True)
    options = dict(case.options, activation="relu")
    y_dot = fastconv.conv_jvp(x, w, x_dot, w_dot, b_dot, algorithm=algorithm, **options)
    assert y_dot.dtype == dtype and y_dot.flags.c_contiguous
    expected = reference.conv_jvp(x, w, x_dot, w_dot, b_dot, **options)
    np.testing.assert_array_equal(y_dot, expected)
    positive = fastconv.conv_forward(x, w, **case.options) > 0
    whole = fastconv.conv_jvp(x, w, x_dot, w_dot, b_dot, **case.options)
    np.testing.assert_array_equal(y_dot, np.where(positive, whole, 0))


@pytest.mark.parametrize("tangents", ["x", "w", "b", "xb", "wb", "xw", ""])
def test_jvp_of_the_activation_with_tangents_that_are_none(tangents, algorithm):
    case = CONV_BY_NAME["groups_2"]
    x, w, _ = case.integers()
    x = channels_last(x)
    x_dot, w_dot, b_dot, _ = directions_of(case, dtype=np.float32, integers=True)
    given = (
        channels_last(x_dot) if "x" in tangents else None,
        w_dot if "w" in tangents else None,
        b_dot if "b" in tangents else None,
    )
    options = dict(case.options, layout="NHWC", activation="relu")
    y_dot = fastconv.conv_jvp(x, w, *given, algorithm=algorithm, **options)
    np.testing.assert_array_equal(y_dot, reference.conv_jvp(x, w, *given, **options))


@EVERY
def test_jvp_of_the_activation_is_the_adjoint_of_relu_backward_and_conv_backward(case):
    x, w, _ = case.random()
    *direction, dy = directions_of(case)
    y_dot = fastconv.conv_jvp(x, w, *direction, activation="relu", **case.options)
    y = fastconv.conv_forward(x, w, activation="relu", **case.options)
    gradients = fastconv.conv_backward(fastconv.relu_backward(dy, y), x, w, **case.options)
    pulled = sum(np.vdot(g, v) for g, v in zip(gradients, direction, strict=True))
    close_to_inner_product(np.vdot(dy, y_dot), pulled)


def test_jvp_of_the_activation_is_zero_where_the_forward_is_zero_negative_or_nan(algorithm):
    x = np.array([[[np.inf, 2.0, 0.0, -0.0, -3.0, np.nan, -np.inf, 1e-300]]])
    w, x_dot = np.ones((1, 1, 1)), np.arange(1.0, 9).reshape(1, 1, 8)
    y_dot = fastconv.conv_jvp(x, w, x_dot, None, activation="relu", algorithm=algorithm)
    np.testing.assert_array_equal(y_dot, [[[1, 2, 0, 0, 0, 0, 0, 8]]])
    expected = fastconv.relu_backward(x_dot, fastconv.conv_forward(x, w, activation="relu"))
    assert_same_bits(y_dot, expected)
    y_dot = fastconv.conv_jvp(x, w, x_dot * np.nan, None, activation="relu", algorithm=algorithm)
    np.testing.assert_array_equal(np.isnan(y_dot), [[[1, 1, 0, 0, 0, 0, 0, 1]]])


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own use
@pytest.mark.parametrize("name", ["same_3x3", "groups_2", "dilated", "stride_leaves_a_rest"])
def test_jvp_pytorch_agrees(name, torch):
    case = CONV_BY_NAME[name]
    x, w, _ = case.random()
    x_dot, w_dot, _, _ = directions_of(case)
    point, tangents = ([torch.tensor(a) for a in pair] for pair in ((x, w), (x_dot, w_dot)))
    for activation, f in ((None, lambda y: y), ("relu", torch.relu)):
        _, theirs = torch.func.jvp(
            lambda x, w, f=f: f(torch.nn.functional.conv2d(x, w, **case.options)),
            tuple(point),
            tuple(tangents),
        )
        ours = fastconv.conv_jvp(x, w, x_dot, w_dot, activation=activation, **case.options)
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.pairwise
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("tangents", ["x", "w", "b", "xwb", ""])
def test_jvp_out_is_filled_and_returned(tangents, activation, algorithm):
    case = CONV_BY_NAME["same_3x3"]
    x, w, _ = case.integers()
    *directions, dy = directions_of(case, dtype=np.float32, integers=True)
    given = [v if name in tangents else None for name, v in zip("xwb", directions, strict=True)]
    options = dict(case.options, activation=activation)
    out = np.full_like(dy, np.nan)
    assert fastconv.conv_jvp(x, w, *given, algorithm=algorithm, out=out, **options) is out
    np.testing.assert_array_equal(out, reference.conv_jvp(x, w, *given, **options))


@pytest.mark.pairwise
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("place", ["x", "w", "x_dot", "w_dot", "b_dot"])
def test_jvp_out_may_overlap_an_input(place, activation, algorithm):
    rng = np.random.default_rng(0)
    shapes = {"x": (2, 4, 6, 6), "w": (4, 4, 3, 3), "b_dot": (4,)}
    shapes |= {"x_dot": shapes["x"], "w_dot": shapes["w"]}
    arrays = {name: rng.integers(-4, 5, shape).astype("f4") for name, shape in shapes.items()}
    options = {"activation": activation, "algorithm": algorithm}
    expected = fastconv.conv_jvp(**arrays, **options)
    memory = np.zeros(600, np.float32)
    view = memory[20:][: arrays[place].size].reshape(shapes[place])
    view[...] = arrays[place]
    arrays[place], out = view, memory[:128].reshape(2, 4, 4, 4)
    assert fastconv.conv_jvp(**arrays, out=out, **options) is out
    np.testing.assert_array_equal(out, expected)


X, W = np.ones((2, 4, 6, 6), np.float32), np.ones((4, 4, 3, 3), np.float32)


def jvp(x=X, w=W, x_dot=X, w_dot=W, b_dot=None, **options):
    return fastconv.conv_jvp(x, w, x_dot, w_dot, b_dot, **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"x_dot": X[:1]}, r"x_dot has shape \(1, 4, 6, 6\), expected \(2, 4, 6, 6\)"),
        ({"x_dot": X[:, :3]}, r"x_dot has shape .* expected \(2, 4, 6, 6\)"),
        ({"w_dot": W[:3]}, r"w_dot has shape \(3, 4, 3, 3\), expected \(4, 4, 3, 3\)"),
        ({"w_dot": W[..., 1:]}, r"w_dot has shape .* expected \(4, 4, 3, 3\)"),
        ({"b_dot": np.ones(3, "f4")}, r"b_dot has shape \(3,\), expected \(4,\)"),
        ({"b_dot": np.ones((4, 1), "f4")}, r"b_dot has shape \(4, 1\), expected \(4,\)"),
        ({"stride": 0}, "stride is 0"),
        ({"padding": -1}, "padding is -1"),
        ({"dilation": 9}, "spans"),
        ({"groups": 3}, "groups is 3"),
        ({"layout": "NWC"}, "layout is 'NWC'"),
        ({"activation": "tanh"}, "activation is 'tanh', expected None or 'relu'"),
        ({"algorithm": "fastest"}, "algorithm is 'fastest'"),
        ({"out": np.ones((2, 4, 6, 6), "f4")}, r"^out has shape .* expected shape \(2, 4, 4, 4\)"),
        ({"out": np.ones((2, 4, 4, 4))}, "^out has .* dtype float64, expected .* float32"),
        ({"out": np.ones((4, 4, 4, 2), "f4").T}, "^out is strided"),
        ({"out": np.broadcast_to(np.float32(0), (2, 4, 4, 4))}, "^out is "),
        ({"w": W[:, :3]}, "w has 3 channels per group"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
@pytest.mark.parametrize("tangents", [{}, {"x_dot": None, "w_dot": None}], ids=["both", "none"])
def test_jvp_arguments_that_do_not_fit_are_named(options, match, tangents):
    with pytest.raises(ValueError, match=match):
        jvp(**(tangents | options))


@pytest.mark.parametrize("name", ["x", "w", "x_dot", "w_dot", "b_dot"])
def test_jvp_dtypes_that_differ_or_are_not_float_are_named(name):
    shape = {"x": X.shape, "x_dot": X.shape, "b_dot": (4,)}.get(name, W.shape)
    with pytest.raises(TypeError, match=r"has dtype float\d\d, but [xw](_dot)? has float\d\d"):
        jvp(**{name: np.ones(shape)})
    for dtype in (np.int64, np.float16, bool, complex, object):
        with pytest.raises(TypeError, match=f"^{name} has dtype"):
            jvp(**{name: np.ones(shape, dtype)})


# ---------------------------------------------------------------------------------------------
# Every backward function against differences, and as an adjoint

A = np.random.default_rng(0)
IMAGES = A.standard_normal((3, 4, 5, 6))
MATRIX = A.standard_normal((5, 4))
GAMMA, BETA = A.uniform(0.5, 2, 4), A.standard_normal(4)
LABELS = np.array([0, 3, 1, 1, 2])
DISTINCT = distinct(0, 2, 3, 6, 7) / 10  # a difference step changes no maximum


def away_from_zero(x):
    return x + np.sign(x)


def batch_norm(x, gamma, beta):
    return fastconv.batch_norm_forward(x, gamma, beta)[0]


def batch_norm_vjp(dy, x, gamma, beta):
    _, mean, inv_std = fastconv.batch_norm_forward(x, gamma, beta)
    return fastconv.batch_norm_backward(dy, x, gamma, mean, inv_std)


def batch_norm_last(x, gamma, beta):
    return fastconv.batch_norm_forward(x, gamma, beta, layout="NHWC")[0]


def batch_norm_last_vjp(dy, x, gamma, beta):
    _, mean, inv_std = fastconv.batch_norm_forward(x, gamma, beta, layout="NHWC")
    return fastconv.batch_norm_backward(dy, x, gamma, mean, inv_std, layout="NHWC")


CONV_OPTIONS = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2}
UP_OPTIONS = {"stride": 2, "padding": ((1, 0), (2, 1)), "output_padding": (1, 0), "groups": 2}
POOL = {"stride": 2, "padding": 1, "ceil_mode": True}

# name: f, vjp, arguments
LAYERS = {
    "conv": (
        lambda x, w, b: fastconv.conv_forward(x, w, b, **CONV_OPTIONS),
        lambda dy, x, w, b: fastconv.conv_backward(dy, x, w, **CONV_OPTIONS),
        (IMAGES, A.standard_normal((6, 2, 3, 2)), A.standard_normal(6)),
    ),
    "conv_transpose": (
        lambda x, w, b: fastconv.conv_transpose_forward(x, w, b, **UP_OPTIONS),
        lambda dy, x, w, b: fastconv.conv_transpose_backward(dy, x, w, **UP_OPTIONS),
        (IMAGES, A.standard_normal((4, 3, 3, 4)), A.standard_normal(6)),
    ),
    "max_pool": (
        lambda x: fastconv.max_pool_forward(x, 3, **POOL)[0],
        lambda dy, x: fastconv.max_pool_backward(
            dy, fastconv.max_pool_forward(x, 3, **POOL)[1], x.shape
        ),
        (DISTINCT,),
    ),
    "adaptive_max_pool": (
        lambda x: fastconv.adaptive_max_pool_forward(x, (4, 3))[0],
        lambda dy, x: fastconv.max_pool_backward(
            dy, fastconv.adaptive_max_pool_forward(x, (4, 3))[1], x.shape
        ),
        (DISTINCT,),
    ),
    "avg_pool": (
        lambda x: fastconv.avg_pool_forward(x, 3, **POOL),
        lambda dy, x: fastconv.avg_pool_backward(dy, x.shape, 3, **POOL),
        (IMAGES,),
    ),
    "adaptive_avg_pool": (
        lambda x: fastconv.adaptive_avg_pool_forward(x, (2, 4)),
        lambda dy, x: fastconv.adaptive_avg_pool_backward(dy, x.shape),
        (IMAGES,),
    ),
    "im2col": (
        lambda x: fastconv.im2col(x, (3, 2), stride=2, padding=1),
        lambda dy, x: fastconv.col2im(dy, x.shape, (3, 2), stride=2, padding=1),
        (IMAGES,),
    ),
    "batch_norm_of_images": (batch_norm, batch_norm_vjp, (IMAGES, GAMMA, BETA)),
    "batch_norm_of_a_matrix": (batch_norm, batch_norm_vjp, (MATRIX, GAMMA, BETA)),
    "batch_norm_channels_last": (
        batch_norm_last,
        batch_norm_last_vjp,
        (channels_last(IMAGES), GAMMA, BETA),
    ),
    "relu": (
        fastconv.relu_forward,
        lambda dy, x: fastconv.relu_backward(dy, fastconv.relu_forward(x)),
        (away_from_zero(IMAGES),),
    ),
    "sigmoid": (
        fastconv.sigmoid_forward,
        lambda dy, x: fastconv.sigmoid_backward(dy, fastconv.sigmoid_forward(x)),
        (IMAGES,),
    ),
    "affine": (
        fastconv.affine_forward,
        lambda dy, x, w, b: fastconv.affine_backward(dy, x, w),
        (MATRIX, A.standard_normal((4, 3)), A.standard_normal(3)),
    ),
    "softmax_cross_entropy": (
        lambda scores: fastconv.softmax_cross_entropy(scores, LABELS)[0],
        lambda dy, scores: dy * fastconv.softmax_cross_entropy(scores, LABELS)[1],
        (MATRIX,),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_backward_is_the_numerical_gradient_in_float64(name):
    f, vjp, arguments = LAYERS[name]
    fastconv.check_gradients(f, vjp, arguments, rtol=1e-7, atol=1e-8)


# f is linear in the argument named by number where the others stay: then <f(v), dy> = <v, df>.
LINEAR_IN = [
    ("conv", 0),
    ("conv", 1),
    ("conv_transpose", 0),
    ("conv_transpose", 1),
    ("max_pool", 0),
    ("adaptive_max_pool", 0),
    ("avg_pool", 0),
    ("adaptive_avg_pool", 0),
    ("im2col", 0),
    ("batch_norm_of_images", 1),
    ("batch_norm_of_a_matrix", 1),
    ("batch_norm_channels_last", 1),
    ("relu", 0),
    ("affine", 0),
    ("affine", 1),
]


@pytest.mark.parametrize(("name", "which"), LINEAR_IN, ids=str)
def test_backward_is_the_adjoint_to_twelve_digits(name, which):
    f, vjp, arguments = LAYERS[name]
    arguments = list(arguments)
    if len(arguments) == 3:
        arguments[2] = np.zeros_like(arguments[2])
    y = f(*arguments)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    gradients = vjp(dy, *arguments)
    gradient = gradients[which] if isinstance(gradients, tuple) else gradients
    close_to_inner_product(np.vdot(y, dy), np.vdot(arguments[which], gradient))


# A direction along which f does not change has no gradient.
UNCHANGED = {
    "batch_norm_of_images": lambda x: np.ones_like(x[:, :1]) * GAMMA.reshape(-1, 1, 1),
    "batch_norm_of_a_matrix": lambda x: np.ones_like(x) * GAMMA,
    "softmax_cross_entropy": lambda scores: np.ones_like(scores) * np.arange(5.0)[:, None],
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_gradient_along_a_direction_that_changes_nothing_is_zero(name):
    f, vjp, arguments = LAYERS[name]
    dy = np.random.default_rng(1).standard_normal(np.shape(f(*arguments)))
    gradients = vjp(dy, *arguments)
    dx = gradients[0] if isinstance(gradients, tuple) else gradients
    close_to_inner_product(np.vdot(dx, UNCHANGED[name](arguments[0])), 0)
