"""The three-layer convnet of the course, written its way on fastconv.cs231n."""

import numpy as np
import pytest
from course import (
    DTYPES,
    relative_error,
)

import fastconv
from fastconv import cs231n

# The three-layer convnet of the course


class ThreeLayerConvNet:
    """conv - relu - 2x2 max pool - affine - relu - affine - softmax."""

    def __init__(
        self,
        input_dim=(3, 16, 16),
        num_filters=3,
        filter_size=7,
        hidden_dim=7,
        num_classes=10,
        weight_scale=1e-3,
        reg=0.0,
        dtype=np.float64,
    ):
        rng = np.random.default_rng(231)
        channels, height, width = input_dim
        pooled_size = num_filters * (height // 2) * (width // 2)
        shapes = {
            "W1": (num_filters, channels, filter_size, filter_size),
            "W2": (pooled_size, hidden_dim),
            "W3": (hidden_dim, num_classes),
        }
        self.params = {
            name: (weight_scale * rng.standard_normal(shape)).astype(dtype)
            for name, shape in shapes.items()
        }
        for name, size in (("b1", num_filters), ("b2", hidden_dim), ("b3", num_classes)):
            self.params[name] = np.zeros(size, dtype)
        self.conv_param = {"stride": 1, "pad": (filter_size - 1) // 2}
        self.pool_param = {"pool_height": 2, "pool_width": 2, "stride": 2}
        self.reg = reg

    def loss(self, X, y=None):
        """Scores where y is None, else loss and gradients."""
        w1, w2, w3 = (self.params[name] for name in ("W1", "W2", "W3"))
        b1, b2, b3 = (self.params[name] for name in ("b1", "b2", "b3"))
        pooled, conv_cache = cs231n.conv_relu_pool_forward(
            X, w1, b1, self.conv_param, self.pool_param
        )
        flat = pooled.reshape(len(X), -1).astype(w2.dtype)
        hidden = fastconv.relu_forward(fastconv.affine_forward(flat, w2, b2))
        scores = fastconv.affine_forward(hidden, w3, b3)
        if y is None:
            return scores

        loss, dscores = fastconv.softmax_cross_entropy(scores, y)
        loss += self.reg / 2 * sum(np.sum(w**2) for w in (w1, w2, w3))
        grads = {}
        dhidden, grads["W3"], grads["b3"] = fastconv.affine_backward(dscores, hidden, w3)
        dhidden = fastconv.relu_backward(dhidden, hidden)
        dflat, grads["W2"], grads["b2"] = fastconv.affine_backward(dhidden, flat, w2)
        _, grads["W1"], grads["b1"] = cs231n.conv_relu_pool_backward(
            dflat.reshape(pooled.shape), conv_cache
        )
        for name in ("W1", "W2", "W3"):
            grads[name] += self.reg * self.params[name]
        return loss, grads


def images_and_labels(count, dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 3, 16, 16)).astype(dtype), rng.integers(0, 10, count)


def test_three_layer_convnet_starts_at_the_loss_of_a_guess():
    X, y = images_and_labels(20)
    loss, _ = ThreeLayerConvNet().loss(X, y)
    assert loss == pytest.approx(np.log(10), abs=1e-3)
    regularised, _ = ThreeLayerConvNet(reg=0.5).loss(X, y)
    assert loss < regularised < loss + 0.01


@pytest.mark.parametrize("reg", [0.0, 0.5])
def test_three_layer_convnet_gradients_agree_with_finite_differences(reg):
    X, y = images_and_labels(3)
    net = ThreeLayerConvNet(weight_scale=0.1, reg=reg)
    _, grads = net.loss(X, y)
    step = 1e-5
    rng = np.random.default_rng(1)
    for name, param in net.params.items():
        chosen = rng.choice(param.size, min(param.size, 60), replace=False)
        numerical = []
        for index in chosen:
            held = param.flat[index]
            param.flat[index] = held + step
            above, _ = net.loss(X, y)
            param.flat[index] = held - step
            below, _ = net.loss(X, y)
            param.flat[index] = held
            numerical.append((above - below) / (2 * step))
        analytic = grads[name].flat[chosen]
        assert np.abs(analytic).max() > 1e-3, name
        assert relative_error(analytic, np.array(numerical)) < 1e-6, name


# The course's own loader gives float64 images, and its network float32 parameters.
@pytest.mark.parametrize("image_dtype", DTYPES)
@pytest.mark.parametrize("param_dtype", DTYPES)
def test_three_layer_convnet_overfits_a_few_images(param_dtype, image_dtype):
    X, y = images_and_labels(20, image_dtype)
    net = ThreeLayerConvNet(num_filters=8, hidden_dim=50, weight_scale=0.05, dtype=param_dtype)
    velocity = {name: np.zeros_like(param) for name, param in net.params.items()}
    for _ in range(60):
        loss, grads = net.loss(X, y)
        for name, param in net.params.items():
            velocity[name] *= 0.9
            velocity[name] -= 0.03 * grads[name].astype(param_dtype)
            param += velocity[name]
    assert loss < 0.1
    assert (net.loss(X).argmax(axis=1) == y).all()
