"""The plain loops of the convolution against PyTorch and numbers worked by hand."""

import math

import numpy as np
import pytest
from cases import integers
from numpy.testing import assert_array_equal

from fastconv import reference

NAN, INF = math.nan, math.inf


# ------------------------------------------------------------------ convolution against PyTorch

CONV_CASES = {
    "1d": ((2, 3, 9), (4, 3, 3), {}),
    "1d_stride_padding_dilation": (
        (2, 3, 11),
        (4, 3, 3),
        {"stride": 2, "padding": 3, "dilation": 2},
    ),
    "1d_depthwise": ((2, 4, 7), (8, 1, 3), {"padding": 1, "groups": 4}),
    "2d": ((2, 3, 5, 6), (4, 3, 3, 2), {}),
    "2d_1x1": ((2, 3, 4, 4), (2, 3, 1, 1), {}),
    "2d_kernel_covers_input": ((2, 2, 3, 4), (3, 2, 3, 4), {}),
    "2d_stride_that_leaves_cells_over": ((1, 2, 6, 8), (2, 2, 3, 3), {"stride": 2}),
    "2d_per_axis": (
        (1, 2, 9, 8),
        (2, 2, 3, 2),
        {"stride": (2, 3), "padding": (2, 1), "dilation": (1, 3)},
    ),
    "2d_groups": ((2, 6, 5, 5), (4, 3, 3, 3), {"padding": 1, "groups": 2}),
    "2d_padding_beyond_kernel": ((1, 1, 2, 2), (1, 1, 2, 2), {"padding": 3}),
    "2d_same": ((1, 2, 5, 6), (3, 2, 4, 3), {"padding": "same"}),
    "2d_valid": ((1, 2, 5, 6), (3, 2, 4, 3), {"padding": "valid", "dilation": (1, 2)}),
    "3d": ((1, 2, 4, 5, 3), (3, 2, 2, 3, 2), {"padding": 1}),
    "3d_everything": (
        (1, 4, 5, 4, 6),
        (2, 2, 2, 2, 3),
        {"stride": (2, 1, 2), "padding": (1, 0, 2), "dilation": (2, 1, 2), "groups": 2},
    ),
}


@pytest.mark.parametrize("case", CONV_CASES)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_conv_forward_and_backward_equal_pytorch(torch, case):
    x_shape, w_shape, options = CONV_CASES[case]
    x, w, b = integers(0, *x_shape), integers(1, *w_shape), integers(2, w_shape[0])
    tx, tw, tb = (torch.from_numpy(a.copy()).requires_grad_() for a in (x, w, b))
    conv = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}[x.ndim - 2]
    ty = conv(tx, tw, tb, **options)
    dy = integers(3, *ty.shape)
    ty.backward(torch.from_numpy(dy))

    assert_array_equal(reference.conv_forward(x, w, b, **options), ty.detach())
    gradients = reference.conv_backward(dy, x, w, **options)
    assert_array_equal(gradients.dx, tx.grad)
    assert_array_equal(gradients.dw, tw.grad)
    assert_array_equal(gradients.db, tb.grad)


def test_conv_asymmetric_pads_equal_pytorch_on_the_padded_input(torch):
    x, w = integers(0, 2, 2, 4, 5), integers(1, 3, 2, 3, 3)
    tx, tw = (torch.from_numpy(a.copy()).requires_grad_() for a in (x, w))
    padded = torch.nn.functional.pad(tx, (0, 3, 2, 1))  # PyTorch names the last axis first
    ty = torch.conv2d(padded, tw, stride=2)
    dy = integers(2, *ty.shape)
    ty.backward(torch.from_numpy(dy))

    options = {"padding": ((2, 1), (0, 3)), "stride": 2}
    assert_array_equal(reference.conv_forward(x, w, **options), ty.detach())
    dx, dw, _ = reference.conv_backward(dy, x, w, **options)
    assert_array_equal(dx, tx.grad)
    assert_array_equal(dw, tw.grad)


# -------------------------------------------------------------- convolution: the course's numbers


def test_32x32x3_image_with_one_5x5x3_filter_gives_28x28():
    y = reference.conv_forward(np.ones((1, 3, 32, 32)), np.ones((1, 3, 5, 5)))
    assert_array_equal(y, np.full((1, 1, 28, 28), 75.0))  # 75 parameters a filter


def test_padding_2_keeps_32x32_and_ten_filters_give_ten_channels():
    x, w = np.ones((1, 32, 32, 3)), np.ones((10, 3, 5, 5))
    y = reference.conv_forward(x, w, padding=2, layout="NHWC")
    assert y.shape == (1, 32, 32, 10)
    assert w.size == 750


def test_1x1_convolution_is_a_linear_map_of_the_channels_at_each_position():
    x, w = integers(0, 2, 3, 4, 5), integers(1, 6, 3, 1, 1)
    y = reference.conv_forward(x, w)
    assert_array_equal(y, np.einsum("kc,nchw->nkhw", w[:, :, 0, 0], x))


def test_padded_1d_convolution_is_the_explicit_4x6_matrix():
    x, (w1, w2, w3) = integers(0, 4), (2.0, -3.0, 5.0)
    matrix = np.array(
        [
            [w1, w2, w3, 0, 0, 0],
            [0, w1, w2, w3, 0, 0],
            [0, 0, w1, w2, w3, 0],
            [0, 0, 0, w1, w2, w3],
        ]
    )
    y = reference.conv_forward(
        x.reshape(1, 1, 4), np.array([w1, w2, w3]).reshape(1, 1, 3), padding=1
    )
    x1, x2, x3, x4 = x
    by_hand = [
        x1 * w2 + x2 * w3,
        x1 * w1 + x2 * w2 + x3 * w3,
        x2 * w1 + x3 * w2 + x4 * w3,
        x3 * w1 + x4 * w2,
    ]
    assert_array_equal(y.ravel(), matrix @ np.array([0, *x, 0]))
    assert_array_equal(y.ravel(), by_hand)


@pytest.fixture
def unpadded_1d():
    """x in R^4, w in R^3, hence y in R^2, with its gradient."""
    x = np.array([7.0, -2.0, 4.0, 3.0]).reshape(1, 1, 4)
    w = np.array([2.0, -3.0, 5.0]).reshape(1, 1, 3)
    dy = np.array([11.0, -6.0]).reshape(1, 1, 2)
    return x, w, dy


def test_unpadded_1d_dx_has_the_values_worked_by_hand(unpadded_1d):
    x, w, dy = unpadded_1d
    (w1, w2, w3), (d1, d2) = w.ravel(), dy.ravel()
    dx = reference.conv_backward(dy, x, w).dx
    assert_array_equal(dx.ravel(), [w1 * d1, w2 * d1 + w1 * d2, w3 * d1 + w2 * d2, w3 * d2])


def test_unpadded_1d_dx_is_dy_padded_by_2_convolved_with_the_reversed_filter(unpadded_1d):
    x, w, dy = unpadded_1d
    dx = reference.conv_backward(dy, x, w).dx
    assert_array_equal(dx, reference.conv_forward(dy, w[:, :, ::-1], padding=2))


def test_unpadded_1d_dw_is_x_correlated_with_dy(unpadded_1d):
    x, w, dy = unpadded_1d
    (x1, x2, x3, x4), (d1, d2) = x.ravel(), dy.ravel()
    dw = reference.conv_backward(dy, x, w).dw
    assert_array_equal(dw, reference.conv_forward(x, dy))
    assert_array_equal(dw.ravel(), [d1 * x1 + d2 * x2, d1 * x2 + d2 * x3, d1 * x3 + d2 * x4])


def test_unpadded_1d_db_is_the_sum_of_dy(unpadded_1d):
    x, w, dy = unpadded_1d
    assert_array_equal(reference.conv_backward(dy, x, w).db, [5.0])


def test_shapes_through_the_network_on_64x64_rgb_images():
    def conv(x, in_channels, out_channels, kernel_size, padding):
        w = np.zeros((out_channels, in_channels, kernel_size, kernel_size))
        return reference.conv_forward(x, w, padding=padding)

    x = np.zeros((1, 3, 64, 64))
    x = conv(x, 3, 16, kernel_size=3, padding=1)
    assert x.shape == (1, 16, 64, 64)
    x, _ = reference.max_pool_forward(x, 2, stride=2)
    assert x.shape == (1, 16, 32, 32)
    x = conv(x, 16, 32, kernel_size=3, padding=0)
    assert x.shape == (1, 32, 30, 30)
    x, _ = reference.max_pool_forward(x, 2, stride=2, padding=1)
    assert x.shape == (1, 32, 16, 16)
    x = conv(x, 32, 8, kernel_size=1, padding=0)
    assert x.shape == (1, 8, 16, 16)
    x = conv(x, 8, 4, kernel_size=5, padding=0)
    assert x.shape == (1, 4, 12, 12)
    x = reference.affine_forward(x.reshape(1, -1), np.zeros((576, 10)), np.zeros(10))
    assert x.shape == (1, 10)


# ------------------------------------------------------------------- convolution: its other options


def test_conv_same_puts_the_odd_cell_at_the_end_and_same_lower_at_the_start():
    x, w = np.array([[[1.0, 10.0, 100.0]]]), np.ones((1, 1, 2))
    assert_array_equal(reference.conv_forward(x, w, padding="same"), [[[11, 110, 100]]])
    assert_array_equal(reference.conv_forward(x, w, padding="same_lower"), [[[1, 11, 110]]])


@pytest.mark.parametrize("padding", ["same", "same_lower"])
@pytest.mark.parametrize("size", [1, 4, 5, 6, 7])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(2, 2, 1), (3, 3, 1), (1, 2, 1), (3, 3, 2)]
)
def test_same_with_stride_gives_input_over_stride_rounded_up(
    padding, size, kernel, stride, dilation
):
    x, w = np.ones((1, 1, size)), np.ones((1, 1, kernel))
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    assert reference.conv_forward(x, w, **options).shape == (1, 1, math.ceil(size / stride))
    y, _ = reference.max_pool_forward(x, kernel, **options)
    assert y.shape == (1, 1, math.ceil(size / stride))


def test_conv_same_equals_the_pads_it_stands_for():
    x, w = integers(0, 1, 2, 5, 6), integers(1, 2, 2, 2, 4)
    dy = integers(2, 1, 2, 3, 3)
    for padding, pads in (("same", ((0, 1), (1, 1))), ("same_lower", ((1, 0), (1, 1)))):
        named, given = {"stride": 2, "padding": padding}, {"stride": 2, "padding": pads}
        assert_array_equal(
            reference.conv_forward(x, w, **named), reference.conv_forward(x, w, **given)
        )
        assert_array_equal(
            reference.conv_backward(dy, x, w, **named).dx,
            reference.conv_backward(dy, x, w, **given).dx,
        )


@pytest.mark.parametrize("layout", ["NWC", "NHWC", "NDHWC"])
def test_conv_channels_last_equals_channels_first_transposed(layout):
    axes = len(layout) - 2
    x, w, b = (
        integers(0, 2, 4, *(5, 4, 3)[:axes]),
        integers(1, 6, 2, *(3, 2, 2)[:axes]),
        integers(2, 6),
    )
    options = {"stride": 2, "padding": 1, "groups": 2}
    y = reference.conv_forward(x, w, b, **options)
    dy = integers(3, *y.shape)
    dx, dw, db = reference.conv_backward(dy, x, w, **options)

    x_last, dy_last = np.moveaxis(x, 1, -1), np.moveaxis(dy, 1, -1)
    y_last = reference.conv_forward(x_last, w, b, layout=layout, **options)
    assert_array_equal(y_last, np.moveaxis(y, 1, -1))
    assert y_last.flags.c_contiguous
    gradients = reference.conv_backward(dy_last, x_last, w, layout=layout, **options)
    assert_array_equal(gradients.dx, np.moveaxis(dx, 1, -1))
    assert gradients.dx.flags.c_contiguous
    assert_array_equal(gradients.dw, dw)
    assert_array_equal(gradients.db, db)


def test_conv_named_channels_first_layout_is_the_default():
    x, w = integers(0, 1, 2, 4, 4), integers(1, 2, 2, 3, 3)
    assert_array_equal(reference.conv_forward(x, w, layout="NCHW"), reference.conv_forward(x, w))


def test_conv_relu_activation_is_max_of_y_and_0():
    x, w, b = integers(0, 2, 2, 5), integers(1, 3, 2, 3), integers(2, 3)
    y = reference.conv_forward(x, w, b)
    assert (y < 0).any() and (y > 0).any()
    assert_array_equal(reference.conv_forward(x, w, b, activation="relu"), np.maximum(y, 0))


def test_conv_algorithm_is_accepted():
    x, w = integers(0, 1, 2, 5), integers(1, 3, 2, 3)
    y = reference.conv_forward(x, w)
    assert_array_equal(reference.conv_forward(x, w, algorithm="naive"), y)
    reference.conv_backward(y, x, w, algorithm="naive")


def test_conv_out_receives_the_result_even_where_it_overlaps_x():
    x, w = integers(0, 1, 1, 5), integers(1, 1, 1, 3)
    expected = reference.conv_forward(x, w, padding=1)
    out = np.empty_like(expected)
    assert reference.conv_forward(x, w, padding=1, out=out) is out
    assert_array_equal(out, expected)
    reference.conv_forward(x, w, padding=1, out=x)
    assert_array_equal(x, expected)
    with pytest.raises(ValueError, match="out has shape"):
        reference.conv_forward(x, w, padding=1, out=np.empty((1, 1, 4)))
    with pytest.raises(ValueError, match="out has dtype"):
        reference.conv_forward(x, w, padding=1, out=np.empty((1, 1, 5), dtype=np.float32))


@pytest.mark.parametrize("need", [(), ("dx",), ("dw",), ("db",), ("dx", "db"), ["dw", "dx"]])
def test_conv_backward_gives_none_for_what_is_not_needed(need):
    x, w, dy = integers(0, 1, 2, 5), integers(1, 3, 2, 3), integers(2, 1, 3, 3)
    full = reference.conv_backward(dy, x, w)
    part = reference.conv_backward(dy, x, w, need=need)
    for name in full._fields:
        if name in need:
            assert_array_equal(getattr(part, name), getattr(full, name))
        else:
            assert getattr(part, name) is None


def test_conv_of_an_empty_batch_is_empty_and_its_weight_gradients_are_zero():
    x, w = np.zeros((0, 2, 5, 5)), integers(0, 3, 2, 3, 3)
    y = reference.conv_forward(x, w)
    assert y.shape == (0, 3, 3, 3)
    dx, dw, db = reference.conv_backward(y, x, w)
    assert dx.shape == x.shape
    assert_array_equal(dw, np.zeros(w.shape))
    assert_array_equal(db, np.zeros(3))


def test_conv_nan_in_x_stays_within_its_receptive_field():
    x = np.ones((1, 1, 7))
    x[0, 0, 3] = NAN
    y = reference.conv_forward(x, np.ones((1, 1, 3)), padding=1)
    assert_array_equal(np.isnan(y[0, 0]), [False, False, True, True, True, False, False])


def test_conv_padded_zero_takes_part_in_the_forward_sum():
    x, w = np.ones((1, 1, 4)), np.array([INF, 1.0, 1.0]).reshape(1, 1, 3)
    y = reference.conv_forward(x, w, padding=1)
    assert_array_equal(y, [[[NAN, INF, INF, INF]]])  # 0 * inf at the start


def test_conv_dx_sums_over_existing_elements_of_dy_only():
    x, dy = np.ones((1, 1, 4)), np.ones((1, 1, 2))
    w = np.array([1.0, 1.0, INF]).reshape(1, 1, 3)
    dx = reference.conv_backward(dy, x, w).dx
    assert_array_equal(dx, [[[1, 2, INF, INF]]])


def test_conv_dw_sums_over_the_padded_zeros_of_x():
    x, w = np.ones((1, 1, 3)), np.ones((1, 1, 3))
    dy = np.array([INF, 1.0, 1.0]).reshape(1, 1, 3)
    dw = reference.conv_backward(dy, x, w, padding=1).dw
    assert_array_equal(dw, [[[NAN, INF, INF]]])


def test_conv_gradients_are_the_adjoint_of_the_forward():
    """sum(dy * y) is linear in x and in w: <dy, conv(x, w)> = <dx, x> = <dw, w>, exactly."""
    x, w = integers(0, 2, 4, 6, 5), integers(1, 6, 2, 3, 2)
    options = {"stride": (2, 1), "padding": ((1, 2), (0, 1)), "dilation": (1, 2), "groups": 2}
    y = reference.conv_forward(x, w, **options)
    dy = integers(2, *y.shape)
    dx, dw, _ = reference.conv_backward(dy, x, w, **options)
    assert (dy * y).sum() == (dx * x).sum() == (dw * w).sum()


# ---------------------------------------------------------------------------- forward-mode product

JVP_CASES = {
    "1d": ((2, 3, 9), (4, 3, 3), {"stride": 2, "padding": ((0, 2),)}),
    "2d": ((2, 3, 5, 6), (4, 3, 3, 2), {"padding": "same", "dilation": (1, 2)}),
    "2d_groups": ((2, 4, 6, 5), (6, 2, 3, 2), {"stride": (2, 1), "padding": 1, "groups": 2}),
    "3d": ((1, 2, 4, 3, 5), (2, 2, 2, 2, 3), {"padding": 1}),
}


def jvp_arguments(case):
    """x, w, b, their directions and the options, integers."""
    x_shape, w_shape, options = JVP_CASES[case]
    shapes = (x_shape, w_shape, w_shape[:1])
    point = [integers(i, *shape) for i, shape in enumerate(shapes)]
    direction = [integers(i + 3, *shape) for i, shape in enumerate(shapes)]
    return point, direction, options


@pytest.mark.parametrize("case", JVP_CASES)
def test_jvp_is_the_central_difference_of_the_forward(case):
    """The forward is quadratic in (x, w, b): its central differences are exact."""
    point, direction, options = jvp_arguments(case)
    ahead, behind = (
        reference.conv_forward(
            *(a + h * d for a, d in zip(point, direction, strict=True)), **options
        )
        for h in (1, -1)
    )
    x, w, _ = point
    y_dot = reference.conv_jvp(x, w, *direction, **options)
    assert_array_equal(y_dot, (ahead - behind) / 2)


@pytest.mark.parametrize("case", JVP_CASES)
def test_jvp_is_the_adjoint_of_conv_backward(case):
    """<dy, J v> = <J^T dy, v>, exactly."""
    (x, w, _), direction, options = jvp_arguments(case)
    y_dot = reference.conv_jvp(x, w, *direction, **options)
    dy = integers(9, *y_dot.shape)
    gradients = reference.conv_backward(dy, x, w, **options)
    pulled = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True))
    assert (dy * y_dot).sum() == pulled


def test_jvp_of_a_direction_that_is_none_leaves_its_term_out():
    (x, w, _), (x_dot, w_dot, b_dot), options = jvp_arguments("2d_groups")
    x_term = reference.conv_forward(x_dot, w, **options)
    w_term = reference.conv_forward(x, w_dot, **options)
    b_term = np.broadcast_to(b_dot[:, None, None], x_term.shape)
    assert_array_equal(reference.conv_jvp(x, w, x_dot, None, **options), x_term)
    assert_array_equal(reference.conv_jvp(x, w, None, w_dot, **options), w_term)
    assert_array_equal(reference.conv_jvp(x, w, None, None, b_dot, **options), b_term)
    assert_array_equal(reference.conv_jvp(x, w, None, None, **options), 0 * b_term)
    w[0, 0, 0, 0] = INF
    assert_array_equal(reference.conv_jvp(x, w, None, w_dot, **options), w_term)
    x[:] = NAN
    assert_array_equal(reference.conv_jvp(x, w, None, None, **options), 0 * b_term)


@pytest.mark.parametrize("layout", ["NWC", "NHWC", "NDHWC"])
def test_jvp_channels_last_equals_channels_first_transposed(layout):
    (x, w, _), (x_dot, w_dot, b_dot), options = jvp_arguments(f"{len(layout) - 2}d")
    y_dot = reference.conv_jvp(x, w, x_dot, w_dot, b_dot, **options)
    x, x_dot = np.moveaxis(x, 1, -1), np.moveaxis(x_dot, 1, -1)
    last = reference.conv_jvp(x, w, x_dot, w_dot, b_dot, layout=layout, **options)
    assert last.flags.c_contiguous
    assert_array_equal(last, np.moveaxis(y_dot, 1, -1))


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_jvp_of_the_activation_is_the_direction_where_the_forward_is_positive(layout):
    (x, w, _), (x_dot, w_dot, b_dot), options = jvp_arguments("2d_groups")
    if layout:
        x, x_dot = np.moveaxis(x, 1, -1), np.moveaxis(x_dot, 1, -1)
    options = options | {"layout": layout}
    y = reference.conv_forward(x, w, **options)
    assert (y > 0).any() and (y < 0).any()
    y_dot = reference.conv_jvp(x, w, x_dot, w_dot, b_dot, **options)
    rectified = reference.conv_jvp(x, w, x_dot, w_dot, b_dot, activation="relu", **options)
    assert rectified.flags.c_contiguous
    assert_array_equal(rectified, np.where(y > 0, y_dot, 0))


def test_jvp_of_the_activation_is_zero_at_the_kink_and_at_nan():
    x, x_dot = np.array([[[INF, 2.0, 0.0, -3.0, NAN, -INF]]]), np.full((1, 1, 6), 5.0)
    y_dot = reference.conv_jvp(x, np.ones((1, 1, 1)), x_dot, None, activation="relu")
    assert_array_equal(y_dot, [[[5, 5, 0, 0, 0, 0]]])


def test_jvp_out_is_filled_and_returned():
    (x, w, _), direction, options = jvp_arguments("2d")
    y_dot = reference.conv_jvp(x, w, *direction, **options)
    out = np.full(y_dot.shape, NAN)
    assert reference.conv_jvp(x, w, *direction, out=out, **options) is out
    assert_array_equal(out, y_dot)
    with pytest.raises(ValueError, match="out has shape"):
        reference.conv_jvp(x, w, *direction, out=out[..., 1:], **options)


def test_jvp_refuses_an_unknown_activation():
    x, w = np.ones((1, 2, 5)), np.ones((3, 2, 3))
    with pytest.raises(ValueError, match="activation is 'tanh'"):
        reference.conv_jvp(x, w, x, w, activation="tanh")


def test_jvp_refuses_directions_of_another_shape():
    x, w = np.ones((1, 2, 5)), np.ones((3, 2, 3))
    with pytest.raises(ValueError, match="x_dot has shape"):
        reference.conv_jvp(x, w, x[..., 1:], w)
    with pytest.raises(ValueError, match="w_dot has shape"):
        reference.conv_jvp(x, w, x, w[1:])
    with pytest.raises(ValueError, match="b_dot has shape"):
        reference.conv_jvp(x, w, x, w, np.ones(2))
