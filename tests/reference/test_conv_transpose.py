"""The plain loops of transposed convolution against PyTorch, identities and numbers by hand.

Data are small integers in float64, so that every sum is exact.
"""

import math

import numpy as np
import pytest
from cases import integers
from numpy.testing import assert_array_equal

from fastconv import reference

NAN, INF = math.nan, math.inf

TRANSPOSE_CASES = {
    "1d": ((2, 3, 5), (3, 4, 3), {}),
    "1d_stride_leaves_gaps": ((1, 2, 4), (2, 3, 2), {"stride": 4}),
    "1d_output_padding": ((1, 2, 4), (2, 3, 3), {"stride": 3, "padding": 1, "output_padding": 2}),
    "1d_output_padding_of_dilation": ((1, 2, 4), (2, 3, 2), {"dilation": 3, "output_padding": 2}),
    "1d_depthwise": ((2, 4, 5), (4, 1, 3), {"stride": 2, "groups": 4}),
    "2d": ((2, 3, 4, 5), (3, 4, 3, 2), {}),
    "2d_1x1": ((2, 3, 4, 4), (3, 2, 1, 1), {}),
    "2d_dcgan": ((1, 4, 3, 4), (4, 2, 4, 4), {"stride": 2, "padding": 1}),
    "2d_per_axis": (
        (1, 2, 5, 4),
        (2, 3, 3, 2),
        {"stride": (2, 3), "padding": (2, 1), "dilation": (1, 3), "output_padding": (1, 2)},
    ),
    "2d_groups": ((2, 6, 3, 3), (6, 2, 3, 3), {"padding": 1, "groups": 3}),
    "2d_padding_beyond_kernel": ((1, 1, 6, 6), (1, 1, 2, 2), {"padding": 3}),
    "3d": ((1, 2, 3, 2, 4), (2, 3, 2, 3, 2), {"padding": (1, 0, 1)}),
    "3d_everything": (
        (1, 4, 3, 2, 3),
        (4, 2, 2, 2, 3),
        {
            "stride": (2, 1, 2),
            "padding": (1, 0, 2),
            "dilation": (2, 1, 2),
            "output_padding": (1, 0, 1),
            "groups": 2,
        },
    ),
}


@pytest.mark.parametrize("case", TRANSPOSE_CASES)
def test_conv_transpose_forward_and_backward_equal_pytorch(torch, case):
    x_shape, w_shape, options = TRANSPOSE_CASES[case]
    K = w_shape[1] * options.get("groups", 1)
    x, w, b = integers(0, *x_shape), integers(1, *w_shape), integers(2, K)
    tx, tw, tb = (torch.from_numpy(a.copy()).requires_grad_() for a in (x, w, b))
    conv = getattr(torch.nn.functional, f"conv_transpose{x.ndim - 2}d")
    ty = conv(tx, tw, tb, **options)
    dy = integers(3, *ty.shape)
    ty.backward(torch.from_numpy(dy))

    assert_array_equal(reference.conv_transpose_forward(x, w, b, **options), ty.detach())
    gradients = reference.conv_transpose_backward(dy, x, w, **options)
    assert_array_equal(gradients.dx, tx.grad)
    assert_array_equal(gradients.dw, tw.grad)
    assert_array_equal(gradients.db, tb.grad)


IDENTITY_CASES = TRANSPOSE_CASES | {
    "pairs": ((2, 2, 3, 4), (2, 3, 3, 2), {"stride": 2, "padding": ((2, 0), (0, 1))}),
    "pairs_output_padding": (
        (1, 2, 4),
        (2, 3, 3),
        {"stride": 3, "padding": ((0, 3),), "output_padding": 1},
    ),
    "valid": ((1, 2, 3, 4), (2, 3, 3, 2), {"padding": "valid", "output_padding": 0}),
    "same": ((1, 2, 3, 4), (2, 3, 4, 3), {"padding": "same"}),
    "same_stride": ((1, 2, 3, 4), (2, 3, 4, 3), {"padding": "same", "stride": (3, 2)}),
    "same_lower": ((1, 2, 3, 4), (2, 3, 4, 3), {"padding": "same_lower", "stride": (1, 2)}),
    "same_stride_beyond_kernel": ((1, 2, 3), (2, 3, 2), {"padding": "same", "stride": 4}),
    "same_dilated": ((1, 2, 5), (2, 3, 3), {"padding": "same_lower", "stride": 2, "dilation": 3}),
}


@pytest.mark.parametrize("case", IDENTITY_CASES)
def test_conv_transpose_is_the_gradient_of_a_convolution(case):
    """y is dx of conv_backward for dy = x; dx is conv_forward of dy, dw is its dw."""
    x_shape, w_shape, options = IDENTITY_CASES[case]
    x, w = integers(0, *x_shape), integers(1, *w_shape)
    y = reference.conv_transpose_forward(x, w, **options)
    dy = integers(2, *y.shape)
    gradients = reference.conv_transpose_backward(dy, x, w, **options)
    options = {name: value for name, value in options.items() if name != "output_padding"}
    # Where dilation allows an output_padding of the stride or more, the convolution has more
    # outputs than x elements: the others meet nothing that x was spread over.
    more = reference.conv_forward(dy, w, **options)
    kept = tuple(slice(size) for size in x_shape)
    assert_array_equal(gradients.dx, more[kept])
    spread = np.zeros(more.shape)
    spread[kept] = x
    convolution = reference.conv_backward(spread, dy, w, **options)
    assert_array_equal(y, convolution.dx)
    assert_array_equal(gradients.dw, convolution.dw)


@pytest.mark.parametrize("case", IDENTITY_CASES)
def test_conv_transpose_gradients_are_the_adjoint_of_the_forward(case):
    """sum(dy * y) is linear in x and in w: <dy, y> = <dx, x> = <dw, w>, exactly."""
    x_shape, w_shape, options = IDENTITY_CASES[case]
    x, w = integers(0, *x_shape), integers(1, *w_shape)
    y = reference.conv_transpose_forward(x, w, **options)
    dy = integers(2, *y.shape)
    dx, dw, db = reference.conv_transpose_backward(dy, x, w, **options)
    assert (dy * y).sum() == (dx * x).sum() == (dw * w).sum()
    assert_array_equal(db, np.moveaxis(dy, 1, 0).reshape(len(db), -1).sum(axis=1))


# ---------------------------------------------------------------------------------------- by hand


def test_transposed_matrix_of_the_4x6_example_worked_by_hand():
    x, (w1, w2, w3) = np.array([7.0, -2.0, 4.0, 3.0]), (2.0, -3.0, 5.0)
    x1, x2, x3, x4 = x
    w = np.array([w1, w2, w3]).reshape(1, 1, 3)
    by_hand = [
        w1 * x1,
        w2 * x1 + w1 * x2,
        w3 * x1 + w2 * x2 + w1 * x3,
        w3 * x2 + w2 * x3 + w1 * x4,
        w3 * x3 + w2 * x4,
        w3 * x4,
    ]
    y = reference.conv_transpose_forward(x.reshape(1, 1, 4), w)
    assert_array_equal(y.ravel(), by_hand)
    y = reference.conv_transpose_forward(x.reshape(1, 1, 4), w, padding=1)
    assert_array_equal(y.ravel(), by_hand[1:5])


def test_stride_2_puts_gaps_between_the_elements_and_bias_everywhere():
    x, w = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[10.0]]])
    y = reference.conv_transpose_forward(x, w, np.array([5.0]), stride=2, output_padding=1)
    assert_array_equal(y, [[[15, 5, 25, 5, 35, 5]]])


def test_groups_spread_each_part_of_x_over_its_part_of_y():
    x = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1)
    w = np.array([[1.0, 10.0, 100.0]] * 4).reshape(4, 3, 1)
    y = reference.conv_transpose_forward(x, w, groups=2)
    assert_array_equal(y.ravel(), [3, 30, 300, 7, 70, 700])


@pytest.mark.parametrize("padding", ["same", "same_lower"])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(2, 3, 1), (4, 2, 1), (3, 1, 2)])
def test_same_gives_input_times_stride(padding, kernel, stride, dilation):
    x, w = np.ones((1, 1, 5)), np.ones((1, 1, kernel))
    options = {"stride": stride, "dilation": dilation, "padding": padding}
    assert reference.conv_transpose_forward(x, w, **options).shape == (1, 1, 5 * stride)


def test_same_cuts_the_odd_cell_at_the_end_and_same_lower_at_the_start():
    x, w = np.array([[[1.0, 10.0]]]), np.array([[[1.0, 2.0]]])
    assert_array_equal(reference.conv_transpose_forward(x, w, padding="same"), [[[1, 12]]])
    assert_array_equal(reference.conv_transpose_forward(x, w, padding="same_lower"), [[[12, 20]]])


# -------------------------------------------------------------------------------------- its options


@pytest.mark.parametrize("layout", ["NWC", "NHWC", "NDHWC"])
def test_channels_last_equals_channels_first_transposed(layout):
    axes = len(layout) - 2
    x = integers(0, 2, 4, *(3, 4, 2)[:axes])
    w, b = integers(1, 4, 3, *(3, 2, 2)[:axes]), integers(2, 6)
    options = {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}
    y = reference.conv_transpose_forward(x, w, b, **options)
    dy = integers(3, *y.shape)
    dx, dw, db = reference.conv_transpose_backward(dy, x, w, **options)

    x_last, dy_last = np.moveaxis(x, 1, -1), np.moveaxis(dy, 1, -1)
    y_last = reference.conv_transpose_forward(x_last, w, b, layout=layout, **options)
    assert_array_equal(y_last, np.moveaxis(y, 1, -1))
    gradients = reference.conv_transpose_backward(dy_last, x_last, w, layout=layout, **options)
    assert_array_equal(gradients.dx, np.moveaxis(dx, 1, -1))
    assert y_last.flags.c_contiguous and gradients.dx.flags.c_contiguous
    assert_array_equal(gradients.dw, dw)
    assert_array_equal(gradients.db, db)


def test_out_receives_the_result():
    x, w = integers(0, 1, 2, 5), integers(1, 2, 3, 3)
    expected = reference.conv_transpose_forward(x, w)
    out = np.empty_like(expected)
    assert reference.conv_transpose_forward(x, w, out=out) is out
    assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="out has shape"):
        reference.conv_transpose_forward(x, w, out=out[..., 1:])


@pytest.mark.parametrize("need", [(), ("dx",), ("dw",), ("db",), ["dw", "dx"]])
def test_backward_gives_none_for_what_is_not_needed(need):
    x, w, dy = integers(0, 1, 2, 3), integers(1, 2, 3, 3), integers(2, 1, 3, 5)
    full = reference.conv_transpose_backward(dy, x, w)
    part = reference.conv_transpose_backward(dy, x, w, need=need)
    for name in full._fields:
        if name in need:
            assert_array_equal(getattr(part, name), getattr(full, name))
        else:
            assert getattr(part, name) is None


def test_empty_batch_is_empty_and_its_weight_gradients_are_zero():
    x, w = np.zeros((0, 2, 3, 3)), integers(0, 2, 3, 3, 3)
    y = reference.conv_transpose_forward(x, w)
    assert y.shape == (0, 3, 5, 5)
    dx, dw, db = reference.conv_transpose_backward(y, x, w)
    assert dx.shape == x.shape
    assert_array_equal(dw, np.zeros(w.shape))
    assert_array_equal(db, np.zeros(3))


# ----------------------------------------------------------------------------- NaN and infinities


def test_forward_sums_over_existing_elements_of_x_only():
    x, w = np.ones((1, 1, 3)), np.array([1.0, 1.0, INF]).reshape(1, 1, 3)
    y = reference.conv_transpose_forward(x, w, stride=2)
    assert_array_equal(y, [[[1, 1, INF, 1, INF, 1, INF]]])
    y = reference.conv_transpose_forward(0 * x, w, stride=2)
    assert_array_equal(y, [[[0, 0, NAN, 0, NAN, 0, NAN]]])


def test_dx_and_dw_sum_over_the_padded_zeros_of_dy():
    x, dy = np.ones((1, 1, 3)), np.ones((1, 1, 3))
    w = np.array([INF, 1.0, 1.0]).reshape(1, 1, 3)
    dx = reference.conv_transpose_backward(dy, x, w, padding=1).dx
    assert_array_equal(dx, [[[NAN, INF, INF]]])  # 0 * inf at the start
    x = np.array([INF, 1.0, 1.0]).reshape(1, 1, 3)
    dw = reference.conv_transpose_backward(dy, x, w, padding=1).dw
    assert_array_equal(dw, [[[NAN, INF, INF]]])


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"output_padding": 1}, r"output_padding is \(1, 1\), expected less"),
        ({"stride": 2, "output_padding": 2}, r"output_padding is \(2, 2\), expected less"),
        ({"stride": (2, 1), "output_padding": (1, 1)}, "output_padding"),
        ({"dilation": (1, 2), "output_padding": (1, 1)}, "output_padding"),
        ({"output_padding": -1}, "output_padding is -1"),
        ({"stride": 2, "output_padding": 1, "padding": "same"}, "expected 0: padding is 'same'"),
        ({"padding": 4}, "output size would be"),
        ({"padding": ((0, 0), (3, 3))}, "output size would be"),
        ({"padding": "full"}, "padding is 'full'"),
        ({"padding": -1}, "padding is -1"),
        ({"stride": 0}, "stride is 0"),
        ({"dilation": (1, 0)}, "dilation is"),
        ({"groups": 3}, "group"),
        ({"groups": 0}, "group"),
        ({"layout": "NWC"}, "layout is 'NWC'"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        reference.conv_transpose_forward(np.ones((1, 4, 3, 4)), np.ones((4, 2, 3, 3)), **options)


def test_shapes_that_do_not_fit_are_refused():
    x, w = np.ones((1, 4, 3)), np.ones((4, 2, 3))
    with pytest.raises(ValueError, match="b has shape"):
        reference.conv_transpose_forward(x, w, np.ones(3))
    with pytest.raises(ValueError, match="w has 3 filters and x has 4 channels"):
        reference.conv_transpose_forward(x, w[:3])
    with pytest.raises(ValueError, match="expected the same, 3 to 5"):
        reference.conv_transpose_forward(x, w[..., None])
    with pytest.raises(ValueError, match="dy"):
        reference.conv_transpose_backward(np.ones((1, 2, 6)), x, w)
    with pytest.raises(ValueError, match="need is"):
        reference.conv_transpose_backward(np.ones((1, 2, 5)), x, w, need=("dz",))
    with pytest.raises(TypeError, match="int64"):
        reference.conv_transpose_forward(np.ones((1, 4, 3), int), w)
