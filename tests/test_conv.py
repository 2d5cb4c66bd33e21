"""conv_forward and conv_backward: every algorithm against the references."""

import numpy as np
import pytest
from cases import (
    CONV,
    CONV_BY_NAME,
    IMPLEMENTATIONS,
    LAYOUT_LAST,
    assert_close,
    but_for_refusals,
    channels_last,
    odd_strides,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import reference


def gradient_of(case, dtype, seed=1):
    rng = np.random.default_rng(seed)
    shape = fastconv.conv_output_shape(case.x, case.w, **case.options)
    return rng.uniform(-1, 1, shape).astype(dtype)


def integer_gradient_of(case, dtype, seed=1):
    rng = np.random.default_rng(seed)
    shape = fastconv.conv_output_shape(case.x, case.w, **case.options)
    return rng.integers(-4, 5, shape).astype(dtype)


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CONV, ids=str)
def test_forward_is_exact_on_integers(case, dtype, algorithm):
    x, w, b = case.integers(dtype=dtype)
    y = fastconv.conv_forward(x, w, b, algorithm=algorithm, **case.options)
    assert y.dtype == dtype and y.flags.c_contiguous
    np.testing.assert_array_equal(y, reference.conv_forward(x, w, b, **case.options))


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CONV, ids=str)
def test_backward_is_exact_on_integers(case, dtype, algorithm):
    x, w, _ = case.integers(dtype=dtype)
    dy = integer_gradient_of(case, dtype)
    gradients = fastconv.conv_backward(dy, x, w, algorithm=algorithm, **case.options)
    expected = reference.conv_backward(dy, x, w, **case.options)
    for name in ("dx", "dw", "db"):
        actual = getattr(gradients, name)
        assert actual.dtype == dtype and actual.flags.c_contiguous
        np.testing.assert_array_equal(actual, getattr(expected, name), err_msg=name)


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CONV, ids=str)
def test_rounding_stays_within_the_bound_of_the_sum(case, dtype, algorithm):
    x, w, b = case.random(dtype=dtype)
    dy = gradient_of(case, dtype)
    y = fastconv.conv_forward(x, w, b, algorithm=algorithm, **case.options)
    assert_close(y, reference.conv_forward(x, w, b, **case.options), case.depth)
    gradients = fastconv.conv_backward(dy, x, w, algorithm=algorithm, **case.options)
    expected = reference.conv_backward(dy, x, w, **case.options)
    assert_close(gradients.dx, expected.dx, case.depth)
    assert_close(gradients.dw, expected.dw, dy.size)
    assert_close(gradients.db, expected.db, dy.size)


@pytest.mark.parametrize("case", CONV, ids=str)
def test_channels_last_is_channels_first_transposed(case, algorithm):
    x, w, b = case.integers()
    dy = integer_gradient_of(case, np.float32)
    layout = LAYOUT_LAST[x.ndim - 2]
    options = dict(case.options, algorithm=algorithm)
    y = fastconv.conv_forward(channels_last(x), w, b, layout=layout, **options)
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(y, channels_last(fastconv.conv_forward(x, w, b, **options)))
    last = fastconv.conv_backward(channels_last(dy), channels_last(x), w, layout=layout, **options)
    first = fastconv.conv_backward(dy, x, w, **options)
    assert last.dx.flags.c_contiguous
    np.testing.assert_array_equal(last.dx, channels_last(first.dx))
    np.testing.assert_array_equal(last.dw, first.dw)
    np.testing.assert_array_equal(last.db, first.db)


@pytest.mark.parametrize("case", CONV, ids=str)
def test_relu_clips_the_biased_sum(case, algorithm):
    x, w, b = case.integers()
    y = fastconv.conv_forward(x, w, b, activation="relu", algorithm=algorithm, **case.options)
    linear = fastconv.conv_forward(x, w, b, algorithm=algorithm, **case.options)
    np.testing.assert_array_equal(y, np.maximum(linear, 0))


@pytest.mark.parametrize("name", ["same_3x3", "groups_2", "pointwise", "many_small_images", "line"])
def test_memory_layout_of_the_arguments_does_not_matter(name, algorithm):
    case = CONV_BY_NAME[name]
    x, w, b = case.integers()
    dy = integer_gradient_of(case, np.float32)
    y = fastconv.conv_forward(x, w, b, algorithm=algorithm, **case.options)
    expected = fastconv.conv_backward(dy, x, w, algorithm=algorithm, **case.options)
    views = [odd_strides(array) for array in (x, w, b, dy)]
    for kind in views[0]:
        xs, ws, bs, dys = (view[kind] for view in views)
        before = [array.tobytes() for array in (xs, ws, bs, dys)]
        result = fastconv.conv_forward(xs, ws, bs, algorithm=algorithm, **case.options)
        assert result.dtype == np.float32 and result.dtype.isnative
        np.testing.assert_array_equal(result, y, err_msg=kind)
        gradients = fastconv.conv_backward(dys, xs, ws, algorithm=algorithm, **case.options)
        for actual, want in zip(gradients, expected, strict=True):
            np.testing.assert_array_equal(actual, want, err_msg=kind)
        assert [array.tobytes() for array in (xs, ws, bs, dys)] == before


def test_broadcast_arguments_are_read_with_stride_zero(algorithm):
    x = np.broadcast_to(np.float32([[1], [2]])[None, :, :, None], (3, 2, 2, 5))
    w = np.broadcast_to(np.float32(2), (4, 2, 2, 2))
    dense = fastconv.conv_forward(x.copy(), w.copy(), algorithm=algorithm)
    np.testing.assert_array_equal(fastconv.conv_forward(x, w, algorithm=algorithm), dense)
    dy = np.broadcast_to(np.float32(3), dense.shape)
    actual = fastconv.conv_backward(dy, x, w, algorithm=algorithm)
    expected = fastconv.conv_backward(dy.copy(), x.copy(), w.copy(), algorithm=algorithm)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("need", ["dx", ("dx",), ["dw"], {"db"}, ("dw", "db"), ()])
def test_need_computes_only_what_is_asked(need, algorithm):
    case = CONV_BY_NAME["groups_2"]
    x, w, _ = case.integers()
    dy = integer_gradient_of(case, np.float32)
    everything = fastconv.conv_backward(dy, x, w, algorithm=algorithm, **case.options)
    some = fastconv.conv_backward(dy, x, w, need=need, algorithm=algorithm, **case.options)
    wanted = {need} if isinstance(need, str) else set(need)
    for name in ("dx", "dw", "db"):
        if name in wanted:
            np.testing.assert_array_equal(getattr(some, name), getattr(everything, name))
        else:
            assert getattr(some, name) is None


def test_out_is_filled_and_returned(algorithm):
    case = CONV_BY_NAME["same_3x3"]
    x, w, b = case.integers()
    out = np.full((2, 4, 7, 8), np.nan, np.float32)
    y = fastconv.conv_forward(x, w, b, out=out, algorithm=algorithm, **case.options)
    assert y is out
    np.testing.assert_array_equal(out, reference.conv_forward(x, w, b, **case.options))


def test_out_may_be_the_input_itself():
    x, w = np.arange(18.0).reshape(1, 2, 3, 3), np.arange(4.0).reshape(2, 2, 1, 1)
    expected = fastconv.conv_forward(x, w)
    assert fastconv.conv_forward(x, w, out=x) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_empty_batch_gives_empty_results_and_zero_weight_gradients(layout, algorithm):
    x_shape = (0, 6, 6, 2) if layout else (0, 2, 6, 6)
    x, w, b = np.ones(x_shape, np.float32), np.ones((4, 2, 3, 3), np.float32), np.ones(4, "f4")
    y = fastconv.conv_forward(x, w, b, layout=layout, algorithm=algorithm)
    assert y.shape == ((0, 4, 4, 4))
    dx, dw, db = fastconv.conv_backward(y, x, w, layout=layout, algorithm=algorithm)
    assert dx.shape == x_shape
    np.testing.assert_array_equal(dw, np.zeros_like(w))
    np.testing.assert_array_equal(db, np.zeros(4))


@pytest.mark.pairwise
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["same_3x3", "dilated", "stride_beyond_kernel", "groups_2"])
def test_non_finite_elements_land_where_the_defining_sum_puts_them(name, value, algorithm):
    case = CONV_BY_NAME[name]
    rng = np.random.default_rng(5)
    for spoiled in ("x", "w", "dy"):
        x, w, b = case.random(dtype=np.float32)
        dy = gradient_of(case, np.float32)
        array = {"x": x, "w": w, "dy": dy}[spoiled]
        array.flat[rng.integers(array.size)] = value
        y = fastconv.conv_forward(x, w, b, algorithm=algorithm, **case.options)
        actual = [y, *fastconv.conv_backward(dy, x, w, algorithm=algorithm, **case.options)]
        with np.errstate(invalid="ignore"):
            expected = [
                reference.conv_forward(x, w, b, **case.options),
                *reference.conv_backward(dy, x, w, **case.options),
            ]
        for a, e in zip(actual, expected, strict=True):
            np.testing.assert_array_equal(np.isnan(a), np.isnan(e))
            np.testing.assert_array_equal(np.isinf(a) * np.sign(a), np.isinf(e) * np.sign(e))


def test_relu_keeps_nan(algorithm):
    x = np.float32([[[np.nan, -1, 2]]])
    y = fastconv.conv_forward(x, np.ones((1, 1, 1), "f4"), activation="relu", algorithm=algorithm)
    np.testing.assert_array_equal(y, np.float32([[[np.nan, 0, 2]]]))


@pytest.mark.parametrize("case", CONV[::4], ids=str)
def test_numerical_gradients_in_float64(case, algorithm):
    options = dict(case.options, algorithm=algorithm)
    fastconv.check_gradients(
        lambda x, w, b: fastconv.conv_forward(x, w, b, **options),
        lambda dy, x, w, b: fastconv.conv_backward(dy, x, w, **options),
        case.random(),
        rtol=1e-7,
        atol=1e-7,
    )


@pytest.mark.parametrize("case", CONV, ids=str)
def test_backward_is_the_adjoint_of_forward(case, algorithm):
    options = dict(case.options, algorithm=algorithm)
    x, w, _ = case.random()
    dy = gradient_of(case, np.float64)
    y = fastconv.conv_forward(x, w, **options)
    dx, dw, _ = fastconv.conv_backward(dy, x, w, **options)
    inner = np.vdot(y, dy)
    np.testing.assert_allclose([np.vdot(x, dx), np.vdot(w, dw)], inner, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CONV, ids=str)
def test_pytorch_agrees(case, torch):
    options = dict(case.options)
    padding = options.pop("padding", 0)
    if isinstance(padding, str) or np.ndim(padding) == 2:
        pytest.skip("padding that torch.nn.functional.convNd has no form for")
    x, w, b = (torch.tensor(a, requires_grad=True) for a in case.random())
    conv = getattr(torch.nn.functional, f"conv{x.ndim - 2}d")
    y = conv(x, w, b, padding=padding, **options)
    dy = gradient_of(case, np.float64)
    y.backward(torch.tensor(dy))
    arrays = [t.detach().numpy() for t in (x, w, b)]
    actual = fastconv.conv_forward(*arrays, **case.options)
    assert_close(actual, y.detach().numpy(), case.depth)
    gradients = fastconv.conv_backward(dy, *arrays[:2], **case.options)
    for ours, theirs in zip(gradients, (x.grad, w.grad, b.grad), strict=True):
        assert_close(ours, theirs.numpy(), max(case.depth, dy.size))


@st.composite
def conv_problems(draw):
    axes = draw(st.integers(1, 3))
    top = {1: 12, 2: 8, 3: 5}[axes]

    def several(low, high):
        return tuple(draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))

    groups = draw(st.integers(1, 3))
    kernel, dilation, stride = several(1, 4), several(1, 3), several(1, 4)
    pairs = tuple(zip(several(0, 3), several(0, 3), strict=True))
    size = several(1, top)
    fits = all(
        (k - 1) * d < n + sum(p) for k, d, n, p in zip(kernel, dilation, size, pairs, strict=True)
    )
    padding = pairs if fits else draw(st.sampled_from(["same", "same_lower"]))
    per_group = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    x = (draw(st.integers(1, 3)), groups * per_group[0], *size)
    w = (groups * per_group[1], per_group[0], *kernel)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return x, w, options


@settings(max_examples=150, deadline=None)
@given(conv_problems(), st.sampled_from(IMPLEMENTATIONS), st.booleans(), st.integers(0, 2**32 - 1))
@but_for_refusals
def test_random_geometry_against_the_reference(problem, implementation, last, seed):
    algorithm, isa = implementation
    x_shape, w_shape, options = problem
    rng = np.random.default_rng(seed)
    x, w, b = (rng.integers(-4, 5, s).astype("f4") for s in (x_shape, w_shape, w_shape[:1]))
    if last:
        x = channels_last(x)
        options["layout"] = LAYOUT_LAST[x.ndim - 2]
    expected = reference.conv_forward(x, w, b, **options)
    dy = rng.integers(-4, 5, expected.shape).astype("f4")
    with fastconv.use_isa(isa):
        y = fastconv.conv_forward(x, w, b, algorithm=algorithm, **options)
        gradients = fastconv.conv_backward(dy, x, w, algorithm=algorithm, **options)
    np.testing.assert_array_equal(y, expected)
    for a, e in zip(gradients, reference.conv_backward(dy, x, w, **options), strict=True):
        np.testing.assert_array_equal(a, e)
