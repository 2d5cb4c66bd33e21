"""Convolution and pooling for plain NumPy arrays, forward and backward, compiled.

    conv.py         what you call: docstring, one line that validates, one that computes
      _problem.py     arguments -> a frozen problem; every message
        _matmul.py      algorithm "im2col": columns in tiles (_columns.pyx), BLAS by numpy.matmul
        _core.pyx       the bridge to csrc/: plan.c picks an algorithm, algorithms/ run it
    pool.py, columns.py -> _pool.pyx, _columns.pyx
    reference/      the same functions as plain loops

`algorithms()` names what can run, `show_config()` says what does.
"""

from .columns import col2im, im2col
from .conv import ConvGradients, conv_backward, conv_forward
from .costs import ConvCost, conv_cost, conv_output_shape, pool_output_shape
from .gradients import check_gradients, numerical_gradient
from .layers import (
    affine_backward,
    affine_forward,
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    softmax_cross_entropy,
)
from .pool import avg_pool_backward, avg_pool_forward, max_pool_backward, max_pool_forward
from .runtime import algorithms, show_config

__version__ = "0.1.0"

__all__ = [
    "ConvCost",
    "ConvGradients",
    "affine_backward",
    "affine_forward",
    "algorithms",
    "avg_pool_backward",
    "avg_pool_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "check_gradients",
    "col2im",
    "conv_backward",
    "conv_cost",
    "conv_forward",
    "conv_output_shape",
    "im2col",
    "max_pool_backward",
    "max_pool_forward",
    "numerical_gradient",
    "pool_output_shape",
    "relu_backward",
    "relu_forward",
    "show_config",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_cross_entropy",
]
