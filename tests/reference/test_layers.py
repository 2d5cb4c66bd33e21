"""The plain loops of the layers around a convolution."""

import math

import numpy as np
import pytest
from cases import integers
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import reference

NAN, INF = math.nan, math.inf


# -------------------------------------------------------------------------------------- batch norm


@pytest.mark.parametrize("size", [(), (6,), (3, 4), (2, 3, 2)], ids=["2-D", "1d", "2d", "3d"])
def test_batch_norm_and_its_gradients_equal_pytorch(torch, size):
    x, dy = integers(0, 5, 3, *size), integers(1, 5, 3, *size)
    gamma, beta = integers(2, 3), integers(3, 3)
    tx, tgamma, tbeta = (torch.from_numpy(a.copy()).requires_grad_() for a in (x, gamma, beta))
    ty = torch.nn.functional.batch_norm(tx, None, None, tgamma, tbeta, training=True, eps=1e-3)
    ty.backward(torch.from_numpy(dy))

    y, mean, inv_std = reference.batch_norm_forward(x, gamma, beta, eps=1e-3)
    close = {"rtol": 1e-12, "atol": 1e-12}
    assert_allclose(y, ty.detach(), **close)
    dx, dgamma, dbeta = reference.batch_norm_backward(dy, x, gamma, mean, inv_std)
    assert_allclose(dx, tx.grad, **close)
    assert_allclose(dgamma, tgamma.grad, **close)
    assert_array_equal(dbeta, tbeta.grad)


def test_batch_norm_inference_equals_pytorch(torch):
    x, gamma, beta = integers(0, 2, 3, 4, 4), integers(1, 3), integers(2, 3)
    mean, var = integers(3, 3), integers(4, 3, low=1)
    expected = torch.nn.functional.batch_norm(
        *(torch.from_numpy(a) for a in (x, mean, var, gamma, beta)), training=False, eps=1e-3
    )
    y = reference.batch_norm_inference(x, gamma, beta, mean, var, eps=1e-3)
    assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


def test_batch_norm_of_values_worked_by_hand():
    x = np.array([[0.0, 1.0], [4.0, 1.0], [8.0, 1.0], [4.0, 1.0]])
    y, mean, inv_std = reference.batch_norm_forward(x, [3.0, 5.0], [1.0, 2.0], eps=1.0)
    assert_array_equal(mean, [4, 1])
    assert_array_equal(inv_std, [1 / 3, 1])  # variances 8 and 0, biased, plus eps
    assert_array_equal(y, [[-3, 2], [1, 2], [5, 2], [1, 2]])


def test_batch_norm_of_a_cnn_is_the_plain_one_on_the_reshape_to_nhw_c():
    N, H, W, C = 3, 4, 2, 5
    x, dy = integers(0, N, H, W, C), integers(1, N, H, W, C)
    gamma, beta = integers(2, C), integers(3, C)
    y, mean, inv_std = reference.batch_norm_forward(x, gamma, beta, layout="NHWC")
    flat_y, flat_mean, flat_inv_std = reference.batch_norm_forward(
        x.reshape(N * H * W, C), gamma, beta
    )
    close = {"rtol": 1e-13, "atol": 1e-13}
    assert_allclose(y, flat_y.reshape(x.shape), **close)
    assert_allclose(mean, flat_mean, **close)
    assert_allclose(inv_std, flat_inv_std, **close)

    dx, dgamma, dbeta = reference.batch_norm_backward(dy, x, gamma, mean, inv_std, layout="NHWC")
    flat_dx, flat_dgamma, flat_dbeta = reference.batch_norm_backward(
        dy.reshape(N * H * W, C), x.reshape(N * H * W, C), gamma, flat_mean, flat_inv_std
    )
    assert_allclose(dx, flat_dx.reshape(x.shape), **close)
    assert_allclose(dgamma, flat_dgamma, **close)
    assert_array_equal(dbeta, flat_dbeta)


@pytest.mark.parametrize("layout", ["NWC", "NHWC", "NDHWC"])
def test_batch_norm_channels_last_equals_channels_first_transposed(layout):
    size = (4, 3, 2)[: len(layout) - 2]
    x, dy = integers(0, 3, 5, *size), integers(1, 3, 5, *size)
    gamma, beta = integers(2, 5), integers(3, 5)
    y, mean, inv_std = reference.batch_norm_forward(x, gamma, beta)
    dx, dgamma, dbeta = reference.batch_norm_backward(dy, x, gamma, mean, inv_std)

    x_last, dy_last = np.moveaxis(x, 1, -1), np.moveaxis(dy, 1, -1)
    y_last, *statistics = reference.batch_norm_forward(x_last, gamma, beta, layout=layout)
    assert_array_equal(y_last, np.moveaxis(y, 1, -1))
    assert_array_equal(statistics, [mean, inv_std])
    dx_last, *parameters = reference.batch_norm_backward(
        dy_last, x_last, gamma, mean, inv_std, layout=layout
    )
    assert_array_equal(dx_last, np.moveaxis(dx, 1, -1))
    assert_array_equal(parameters, [dgamma, dbeta])
    assert y_last.flags.c_contiguous and dx_last.flags.c_contiguous


def test_batch_norm_of_an_empty_batch_is_empty_and_its_parameter_gradients_are_zero():
    x, ones = np.zeros((0, 3, 2, 2)), np.ones(3)
    y, mean, inv_std = reference.batch_norm_forward(x, ones, ones)
    assert y.shape == x.shape
    dx, dgamma, dbeta = reference.batch_norm_backward(y, x, ones, mean, inv_std)
    assert dx.shape == x.shape
    assert_array_equal(dgamma, np.zeros(3))
    assert_array_equal(dbeta, np.zeros(3))


# ---------------------------------------------------------------------- relu, sigmoid, affine, loss


def test_relu_and_its_gradient():
    x = np.array([-INF, -2.0, -0.0, 0.0, 3.0, INF, NAN])
    y = reference.relu_forward(x)
    assert_array_equal(y, [0, 0, 0, 0, 3, INF, NAN])
    dy = np.array([NAN, INF, 5.0, 5.0, 7.0, 8.0, 9.0])
    assert_array_equal(reference.relu_backward(dy, y), [0, 0, 0, 0, 7, 8, 0])


def test_sigmoid_hidden_unit_of_zero_weights_is_one_half():
    """One hidden layer, all parameters zero: every hidden unit is 1/2, y is 0, and only the
    gradients of the last layer differ from zero."""
    x = integers(0, 3, 2)
    hidden = reference.sigmoid_forward(reference.affine_forward(x, np.zeros((2, 4)), np.zeros(4)))
    assert_array_equal(hidden, np.full((3, 4), 0.5))
    y = reference.affine_forward(hidden, np.zeros((4, 1)), np.zeros(1))
    assert_array_equal(y, np.zeros((3, 1)))

    dy = np.ones((3, 1))
    dhidden, dw1, db1 = reference.affine_backward(dy, hidden, np.zeros((4, 1)))
    assert_array_equal(dw1, np.full((4, 1), 3 * 0.5))
    assert_array_equal(db1, [3])
    dz = reference.sigmoid_backward(dhidden, hidden)
    _, dw0, db0 = reference.affine_backward(dz, x, np.zeros((2, 4)))
    assert_array_equal(dw0, np.zeros((2, 4)))
    assert_array_equal(db0, np.zeros(4))


def test_sigmoid_and_its_gradient_equal_pytorch(torch):
    x, dy = integers(0, 4, 5) / 2, integers(1, 4, 5)
    tx = torch.from_numpy(x.copy()).requires_grad_()
    ty = torch.sigmoid(tx)
    ty.backward(torch.from_numpy(dy))
    y = reference.sigmoid_forward(x)
    assert_allclose(y, ty.detach(), rtol=1e-14)
    assert_allclose(reference.sigmoid_backward(dy, y), tx.grad, rtol=1e-12)


def test_sigmoid_saturates_without_overflow():
    y = reference.sigmoid_forward(np.array([-INF, -1e4, 0.0, 1e4, INF, NAN]))
    assert_array_equal(y, [0, 0, 0.5, 1, 1, NAN])


def test_affine_and_its_gradients_are_the_matrix_products():
    x, w, b, dy = integers(0, 4, 5), integers(1, 5, 3), integers(2, 3), integers(3, 4, 3)
    assert_array_equal(reference.affine_forward(x, w, b), x @ w + b)
    dx, dw, db = reference.affine_backward(dy, x, w)
    assert_array_equal(dx, dy @ w.T)
    assert_array_equal(dw, x.T @ dy)
    assert_array_equal(db, dy.sum(axis=0))


def test_affine_of_an_empty_batch():
    x, w, b = np.zeros((0, 5)), integers(0, 5, 3), integers(1, 3)
    y = reference.affine_forward(x, w, b)
    assert y.shape == (0, 3)
    dx, dw, db = reference.affine_backward(y, x, w)
    assert dx.shape == x.shape
    assert_array_equal(dw, np.zeros(w.shape))
    assert_array_equal(db, np.zeros(3))


def test_softmax_cross_entropy_and_its_gradient_equal_pytorch(torch):
    scores, labels = integers(0, 6, 4), np.array([3, 0, 1, 1, 2, 0])
    tscores = torch.from_numpy(scores.copy()).requires_grad_()
    tloss = torch.nn.functional.cross_entropy(tscores, torch.from_numpy(labels))
    tloss.backward()
    loss, dscores = reference.softmax_cross_entropy(scores, labels)
    assert loss == pytest.approx(tloss.item(), rel=1e-13)
    assert_allclose(dscores, tscores.grad, rtol=1e-12, atol=1e-15)


def test_softmax_gradient_is_p_minus_e_y_over_the_batch():
    scores, labels = integers(0, 3, 5), np.array([4, 0, 2])
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss, dscores = reference.softmax_cross_entropy(scores, labels)
    assert loss == pytest.approx(-np.log(p[np.arange(3), labels]).mean(), rel=1e-13)
    assert_allclose(dscores, (p - np.eye(5)[labels]) / 3, rtol=1e-12, atol=1e-15)


def test_softmax_cross_entropy_of_equal_scores_is_log_of_the_number_of_classes():
    loss, dscores = reference.softmax_cross_entropy(np.full((2, 4), 7.0), [1, 2])
    assert loss == math.log(4)
    assert_array_equal(8 * dscores, [[1, -3, 1, 1], [1, 1, -3, 1]])


def test_softmax_cross_entropy_of_huge_scores_does_not_overflow():
    loss, dscores = reference.softmax_cross_entropy(np.array([[1e4, 0.0]]), [1])
    assert loss == 1e4
    assert_array_equal(dscores, [[1, -1]])


def test_softmax_cross_entropy_refuses_labels_out_of_range():
    for labels in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match="labels are in"):
            reference.softmax_cross_entropy(np.zeros((2, 3)), labels)
