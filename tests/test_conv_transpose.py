"""conv_transpose_forward and conv_transpose_backward against the reference and PyTorch."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from cases import (
    LAYOUT_LAST,
    assert_close,
    assert_same_bits,
    broadcast,
    channels_last,
    odd_strides,
)

import fastconv
from fastconv import reference


@dataclass(frozen=True)
class Case:
    """One transposed convolution, shapes channels first; w is (C, K/G, *kernel)."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    options: dict = field(default_factory=dict)

    def __str__(self):
        return self.name

    @property
    def depth(self):
        """More terms than one sum of the forward, or of dx, has."""
        return int(np.prod(self.w[2:])) * max(self.w[:2])

    def integers(self, dtype=np.float32):
        """x, w, b, dy of small integers: every sum is exact in every order."""
        rng = np.random.default_rng(0)
        return self._arrays(lambda shape: rng.integers(-4, 5, shape).astype(dtype))

    def random(self, dtype=np.float64):
        """x, w, b, dy uniform in [-1, 1)."""
        rng = np.random.default_rng(1)
        return self._arrays(lambda shape: rng.uniform(-1, 1, shape).astype(dtype))

    def _arrays(self, fill):
        x, w = fill(self.x), fill(self.w)
        b = fill((self.w[1] * self.options.get("groups", 1),))
        return x, w, b, fill(reference.conv_transpose_forward(x, w, **self.options).shape)


CASES = [
    Case("one_element", (1, 1, 1, 1), (1, 1, 1, 1)),
    Case("one_pixel_becomes_the_filter", (2, 3, 1, 1), (3, 2, 4, 5)),
    Case("pointwise", (2, 3, 4, 5), (3, 4, 1, 1)),
    Case("pointwise_stride_2", (2, 3, 4, 5), (3, 4, 1, 1), {"stride": 2, "output_padding": 1}),
    Case("3x3", (2, 3, 5, 6), (3, 4, 3, 3)),
    Case("3x3_padding_1", (2, 3, 5, 6), (3, 4, 3, 3), {"padding": 1}),
    Case("dcgan_4x4_stride_2", (2, 6, 4, 4), (6, 4, 4, 4), {"stride": 2, "padding": 1}),
    Case("unet_2x2_stride_2", (2, 6, 5, 4), (6, 3, 2, 2), {"stride": 2}),
    Case(
        "3x3_stride_2_output_padding",
        (2, 3, 4, 5),
        (3, 4, 3, 3),
        {"stride": 2, "padding": 1, "output_padding": 1},
    ),
    Case("gaps_between_windows", (2, 2, 3, 4), (2, 3, 2, 1), {"stride": (4, 3)}),
    Case(
        "gaps_and_output_padding",
        (1, 2, 3, 4),
        (2, 3, 2, 2),
        {"stride": 5, "output_padding": (4, 1)},
    ),
    Case("dilated_by_3", (1, 2, 4, 3), (2, 3, 2, 2), {"dilation": 3}),
    Case(
        "output_padding_of_the_dilation",
        (1, 2, 4, 3),
        (2, 3, 2, 2),
        {"dilation": 3, "output_padding": 2},
    ),
    Case("per_axis", (2, 2, 5, 4), (2, 3, 3, 2), {"stride": (2, 3), "padding": (1, 0)}),
    Case("pairs", (2, 2, 4, 5), (2, 3, 3, 4), {"stride": 2, "padding": ((2, 0), (1, 3))}),
    Case(
        "pairs_output_padding",
        (1, 2, 4, 3),
        (2, 3, 3, 3),
        {"stride": 3, "padding": ((0, 2), (1, 0)), "output_padding": (2, 1)},
    ),
    Case("padding_beyond_kernel", (1, 2, 7, 8), (2, 3, 2, 2), {"padding": 3}),
    Case("valid", (1, 2, 3, 4), (2, 3, 3, 2), {"padding": "valid", "stride": 2}),
    Case("same", (1, 2, 4, 5), (2, 3, 4, 3), {"padding": "same"}),
    Case("same_stride_2", (2, 2, 4, 5), (2, 3, 4, 3), {"padding": "same", "stride": 2}),
    Case("same_lower", (1, 2, 4, 5), (2, 3, 4, 2), {"padding": "same_lower", "stride": (1, 3)}),
    Case("same_stride_beyond_kernel", (1, 2, 3, 4), (2, 3, 2, 1), {"padding": "same", "stride": 4}),
    Case("same_dilated", (1, 2, 5, 4), (2, 3, 3, 2), {"padding": "same", "dilation": (2, 3)}),
    Case("dilated", (2, 3, 4, 5), (3, 2, 3, 3), {"dilation": (2, 3), "padding": 2}),
    Case("stride_and_dilation", (2, 2, 4, 3), (2, 3, 3, 2), {"stride": 3, "dilation": 2}),
    Case("groups_2", (2, 4, 4, 5), (4, 3, 3, 3), {"groups": 2, "padding": 1}),
    Case("depthwise", (2, 5, 4, 5), (5, 1, 3, 3), {"groups": 5, "stride": 2}),
    Case("depthwise_multiplier_2", (2, 3, 4, 5), (3, 2, 3, 3), {"groups": 3}),
    Case("many_small_images", (33, 3, 3, 3), (3, 4, 3, 3), {"padding": 1}),
    Case("odd_channels", (2, 19, 4, 5), (19, 17, 3, 3), {"stride": 2, "padding": 1}),
    Case("line", (2, 3, 9), (3, 4, 3), {"padding": 1}),
    Case("line_stride_dilation", (2, 4, 9), (4, 3, 4), {"stride": 2, "dilation": 3, "groups": 2}),
    Case("line_causal", (1, 2, 8), (2, 3, 3), {"padding": ((0, 4),), "dilation": 2}),
    Case(
        "line_output_padding",
        (2, 2, 7),
        (2, 3, 5),
        {"stride": 4, "padding": 2, "output_padding": 3},
    ),
    Case("volume", (2, 2, 3, 4, 5), (2, 3, 2, 3, 3), {"padding": (0, 1, 1)}),
    Case(
        "volume_stride_groups",
        (1, 4, 3, 2, 4),
        (4, 2, 3, 2, 3),
        {"stride": (2, 1, 2), "output_padding": (1, 0, 1), "groups": 2},
    ),
    Case("volume_pairs", (1, 1, 3, 4, 3), (1, 2, 2, 2, 2), {"padding": ((1, 0), (0, 1), (1, 1))}),
    Case("volume_same", (1, 2, 2, 3, 2), (2, 2, 3, 2, 4), {"padding": "same", "stride": (2, 1, 3)}),
]
BY_NAME = {case.name: case for case in CASES}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
EVERY = pytest.mark.parametrize("case", CASES, ids=str)


@pytest.mark.pairwise
@DTYPES
@EVERY
def test_forward_is_exact_on_integers(case, dtype, isa):
    x, w, b, _ = case.integers(dtype)
    y = fastconv.conv_transpose_forward(x, w, b, **case.options)
    assert y.dtype == dtype and y.flags.c_contiguous
    np.testing.assert_array_equal(y, reference.conv_transpose_forward(x, w, b, **case.options))
    without_b = reference.conv_transpose_forward(x, w, **case.options)
    np.testing.assert_array_equal(fastconv.conv_transpose_forward(x, w, **case.options), without_b)


@pytest.mark.pairwise
@DTYPES
@EVERY
def test_backward_is_exact_on_integers(case, dtype, isa):
    x, w, _, dy = case.integers(dtype)
    gradients = fastconv.conv_transpose_backward(dy, x, w, **case.options)
    assert isinstance(gradients, fastconv.ConvGradients)
    expected = reference.conv_transpose_backward(dy, x, w, **case.options)
    for name in ("dx", "dw", "db"):
        actual = getattr(gradients, name)
        assert actual.dtype == dtype and actual.flags.c_contiguous
        np.testing.assert_array_equal(actual, getattr(expected, name), err_msg=name)


@pytest.mark.pairwise
@DTYPES
@EVERY
def test_rounding_stays_within_the_bound_of_the_sum(case, dtype, isa):
    x, w, b, dy = case.random(dtype)
    y = fastconv.conv_transpose_forward(x, w, b, **case.options)
    assert_close(y, reference.conv_transpose_forward(x, w, b, **case.options), case.depth)
    gradients = fastconv.conv_transpose_backward(dy, x, w, **case.options)
    expected = reference.conv_transpose_backward(dy, x, w, **case.options)
    assert_close(gradients.dx, expected.dx, case.depth)
    assert_close(gradients.dw, expected.dw, dy.size)
    assert_close(gradients.db, expected.db, dy.size)


@EVERY
def test_forward_is_dx_of_a_convolution_and_dx_its_forward(case):
    x, w, _, dy = case.integers()
    options = dict(case.options)
    if options.pop("output_padding", 0) and options.get("stride", 1) == 1:
        pytest.skip("that convolution of dy has more outputs than x has elements")
    dx, dw, _ = fastconv.conv_transpose_backward(dy, x, w, **case.options)
    np.testing.assert_array_equal(dx, fastconv.conv_forward(dy, w, **options))
    convolution = fastconv.conv_backward(x, dy, w, **options)
    y = fastconv.conv_transpose_forward(x, w, **case.options)
    np.testing.assert_array_equal(y, convolution.dx)
    np.testing.assert_array_equal(dw, convolution.dw)


@EVERY
def test_channels_last_is_channels_first_transposed(case, isa):
    x, w, b, dy = case.integers()
    layout = LAYOUT_LAST[x.ndim - 2]
    y = fastconv.conv_transpose_forward(channels_last(x), w, b, layout=layout, **case.options)
    assert y.flags.c_contiguous
    first = fastconv.conv_transpose_forward(x, w, b, **case.options)
    np.testing.assert_array_equal(y, channels_last(first))
    last = fastconv.conv_transpose_backward(
        channels_last(dy), channels_last(x), w, layout=layout, **case.options
    )
    first = fastconv.conv_transpose_backward(dy, x, w, **case.options)
    assert last.dx.flags.c_contiguous
    np.testing.assert_array_equal(last.dx, channels_last(first.dx))
    np.testing.assert_array_equal(last.dw, first.dw)
    np.testing.assert_array_equal(last.db, first.db)


@pytest.mark.pairwise
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", ["3x3_padding_1", "dcgan_4x4_stride_2", "groups_2", "line"])
def test_memory_layout_of_the_arguments_does_not_matter(name, last, isa):
    case = BY_NAME[name]
    x, w, b, dy = case.integers()
    options = dict(case.options)
    if last:
        x, dy = channels_last(x), channels_last(dy)
        options["layout"] = LAYOUT_LAST[x.ndim - 2]
    y = fastconv.conv_transpose_forward(x, w, b, **options)
    expected = fastconv.conv_transpose_backward(dy, x, w, **options)
    views = [odd_strides(array) for array in (x, w, b, dy)]
    for kind in views[0]:
        xs, ws, bs, dys = (view[kind] for view in views)
        before = [array.tobytes() for array in (xs, ws, bs, dys)]
        result = fastconv.conv_transpose_forward(xs, ws, bs, **options)
        assert result.dtype == np.float32 and result.dtype.isnative
        np.testing.assert_array_equal(result, y, err_msg=kind)
        gradients = fastconv.conv_transpose_backward(dys, xs, ws, **options)
        for actual, want in zip(gradients, expected, strict=True):
            np.testing.assert_array_equal(actual, want, err_msg=kind)
        assert [array.tobytes() for array in (xs, ws, bs, dys)] == before


def test_broadcast_arguments_are_read_with_stride_zero():
    case = BY_NAME["3x3_stride_2_output_padding"]
    x, w, _, dy = case.integers()
    (x, dense_x), (w, dense_w), (dy, dense_dy) = broadcast(x), broadcast(w), broadcast(dy)
    np.testing.assert_array_equal(
        fastconv.conv_transpose_forward(x, w, **case.options),
        fastconv.conv_transpose_forward(dense_x, dense_w, **case.options),
    )
    actual = fastconv.conv_transpose_backward(dy, x, w, **case.options)
    expected = fastconv.conv_transpose_backward(dense_dy, dense_x, dense_w, **case.options)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("need", ["dx", ("dx",), ["dw"], {"db"}, ("dw", "db"), ()])
def test_need_computes_only_what_is_asked(need):
    case = BY_NAME["groups_2"]
    x, w, _, dy = case.integers()
    everything = fastconv.conv_transpose_backward(dy, x, w, **case.options)
    some = fastconv.conv_transpose_backward(dy, x, w, need=need, **case.options)
    wanted = {need} if isinstance(need, str) else set(need)
    for name in ("dx", "dw", "db"):
        if name in wanted:
            np.testing.assert_array_equal(getattr(some, name), getattr(everything, name))
        else:
            assert getattr(some, name) is None


def test_out_is_filled_and_returned():
    for name in ("3x3_padding_1", "gaps_and_output_padding", "line"):
        case = BY_NAME[name]
        x, w, b, dy = case.integers()
        out = np.full(dy.shape, np.nan, np.float32)
        y = fastconv.conv_transpose_forward(x, w, b, out=out, **case.options)
        assert y is out
        expected = reference.conv_transpose_forward(x, w, b, **case.options)
        np.testing.assert_array_equal(out, expected)


def test_out_may_overlap_an_input():
    memory = np.arange(150, dtype=np.float32)
    x, out = memory[:75].reshape(1, 3, 5, 5), memory[30:105].reshape(1, 3, 5, 5)
    w = np.ones((3, 3, 3, 3), np.float32)
    expected = fastconv.conv_transpose_forward(x.copy(), w, padding=1)
    assert fastconv.conv_transpose_forward(x, w, padding=1, out=out) is out
    np.testing.assert_array_equal(out, expected)
    x = np.arange(18.0).reshape(1, 2, 3, 3)
    w = x.reshape(-1)[2:6].reshape(2, 2, 1, 1)
    expected = fastconv.conv_transpose_forward(x.copy(), w.copy())
    fastconv.conv_transpose_forward(x, w, out=x)
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_empty_batch_gives_empty_results_and_zero_weight_gradients(layout):
    x_shape, y_shape = ((0, 4, 5, 2), (0, 6, 7, 3)) if layout else ((0, 2, 4, 5), (0, 3, 6, 7))
    x, w, b = np.ones(x_shape, np.float32), np.ones((2, 3, 3, 3), np.float32), np.ones(3, "f4")
    y = fastconv.conv_transpose_forward(x, w, b, layout=layout)
    assert y.shape == y_shape and y.dtype == np.float32
    dx, dw, db = fastconv.conv_transpose_backward(y, x, w, layout=layout)
    assert dx.shape == x_shape
    np.testing.assert_array_equal(dw, np.zeros_like(w))
    np.testing.assert_array_equal(db, np.zeros(3))


@pytest.mark.pairwise
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "name",
    [
        "3x3_padding_1",
        "3x3_stride_2_output_padding",
        "gaps_and_output_padding",
        "output_padding_of_the_dilation",
        "same_stride_beyond_kernel",
        "padding_beyond_kernel",
        "groups_2",
        "depthwise",
        "line_causal",
    ],
)
def test_non_finite_elements_land_where_the_defining_sum_puts_them(name, value, isa):
    case = BY_NAME[name]
    rng = np.random.default_rng(5)
    for spoiled in ("x", "w", "dy", "x", "w", "dy"):
        x, w, b, dy = case.random(np.float32)
        array = {"x": x, "w": w, "dy": dy}[spoiled]
        array.flat[rng.integers(array.size)] = value
        actual = [
            fastconv.conv_transpose_forward(x, w, b, **case.options),
            *fastconv.conv_transpose_backward(dy, x, w, **case.options),
        ]
        expected = [
            reference.conv_transpose_forward(x, w, b, **case.options),
            *reference.conv_transpose_backward(dy, x, w, **case.options),
        ]
        for which, a, e in zip(("y", "dx", "dw", "db"), actual, expected, strict=True):
            where = f"{which} after {value} in {spoiled}"
            np.testing.assert_array_equal(np.isnan(a), np.isnan(e), where)
            np.testing.assert_array_equal(np.isinf(a) * np.sign(a), np.isinf(e) * np.sign(e), where)


def test_outputs_that_meet_no_element_of_x_are_the_bias_whatever_the_weights(isa):
    x, w = np.ones((1, 1, 3), np.float32), np.full((1, 1, 1), np.inf, np.float32)
    y = fastconv.conv_transpose_forward(x, w, np.float32([5]), stride=3, output_padding=2)
    np.testing.assert_array_equal(y, [[[np.inf, 5, 5] * 3]])


@EVERY
def test_backward_is_the_adjoint_of_forward(case, isa):
    x, w, _, dy = case.random()
    y = fastconv.conv_transpose_forward(x, w, **case.options)
    dx, dw, _ = fastconv.conv_transpose_backward(dy, x, w, **case.options)
    inner = np.vdot(y, dy)
    np.testing.assert_allclose([np.vdot(x, dx), np.vdot(w, dw)], inner, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES[::3], ids=str)
def test_numerical_gradients_in_float64(case):
    x, w, b, _ = case.random()
    fastconv.check_gradients(
        lambda x, w, b: fastconv.conv_transpose_forward(x, w, b, **case.options),
        lambda dy, x, w, b: fastconv.conv_transpose_backward(dy, x, w, **case.options),
        [x, w, b],
        rtol=1e-7,
        atol=1e-7,
    )


@EVERY
def test_pytorch_agrees(case, torch):
    padding = case.options.get("padding", 0)
    if isinstance(padding, str) or np.ndim(padding) == 2:
        pytest.skip("padding that torch.nn.functional.conv_transposeNd has no form for")
    *arrays, dy = case.random()
    x, w, b = (torch.tensor(a, requires_grad=True) for a in arrays)
    conv = getattr(torch.nn.functional, f"conv_transpose{x.ndim - 2}d")
    y = conv(x, w, b, **case.options)
    y.backward(torch.tensor(dy))
    actual = fastconv.conv_transpose_forward(*arrays, **case.options)
    assert_close(actual, y.detach().numpy(), case.depth)
    gradients = fastconv.conv_transpose_backward(dy, *arrays[:2], **case.options)
    for ours, theirs in zip(gradients, (x.grad, w.grad, b.grad), strict=True):
        assert_close(ours, theirs.numpy(), max(case.depth, dy.size))


LARGER = [
    Case("dcgan_layer", (2, 70, 9, 8), (70, 35, 4, 4), {"stride": 2, "padding": 1}),
    Case("unet_up", (1, 64, 12, 13), (64, 32, 2, 2), {"stride": 2}),
    Case("grouped", (2, 48, 10, 11), (48, 20, 3, 3), {"groups": 3, "padding": 1}),
    Case("speech_line", (2, 20, 70), (20, 24, 16), {"stride": 8, "padding": 4}),
]


@pytest.mark.parametrize("case", LARGER, ids=str)
@fastconv.accuracy("high")
def test_pytorch_agrees_exactly_on_integers_of_whole_layers(case, torch, isa):
    x, w, b, dy = case.integers(np.float64)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = getattr(torch.nn.functional, f"conv_transpose{x.ndim - 2}d")(*tensors, **case.options)
    y.backward(torch.tensor(dy))
    for dtype in (np.float32, np.float64):
        x, w, b, dy = (a.astype(dtype) for a in (x, w, b, dy))
        actual = fastconv.conv_transpose_forward(x, w, b, **case.options)
        np.testing.assert_array_equal(actual, y.detach().numpy())
        for ours, theirs in zip(
            fastconv.conv_transpose_backward(dy, x, w, **case.options), tensors, strict=True
        ):
            np.testing.assert_array_equal(ours, theirs.grad.numpy())


@pytest.mark.parametrize("case", LARGER, ids=str)
def test_one_and_two_threads_give_the_same_bits(case, isa):
    x, w, b, dy = case.random(np.float32)
    results = []
    for count in (1, 2, 3):
        with fastconv.num_threads(count):
            y = fastconv.conv_transpose_forward(x, w, b, **case.options)
            results.append([y, *fastconv.conv_transpose_backward(dy, x, w, **case.options)])
    for other in results[1:]:
        for a, e in zip(other, results[0], strict=True):
            assert_same_bits(a, e)
