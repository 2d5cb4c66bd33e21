"""Every operation as plain loops: what the tests compare against, and what a student can read.

Each file holds one operation. Its docstring states the formula and where it comes from, and its
loops follow that formula literally, with the same letters:

    N batch    C input channels    K output channels    G groups
    R, S kernel height and width   P, Q output height and width

Loops over ``np.ndindex(*out_size)`` serve one, two and three spatial axes with one body. Nothing
is rearranged to be fast, and nothing here uses the rest of the package: a mistake in the compiled
code cannot hide by being made in both places.

Sums are accumulated in float64 and the result has the dtype of ``x`` (in native byte order). It is
fresh, C-contiguous and in the layout asked for; arguments are never modified. The checks are light:
an argument whose shape does not fit is a ``ValueError``, and that is about all. The functions of
the same names in ``fastconv`` check every argument.
"""

from .adaptive_pool import (
    adaptive_avg_pool_backward,
    adaptive_avg_pool_forward,
    adaptive_max_pool_forward,
)
from .affine import affine_backward, affine_forward
from .avg_pool import avg_pool_backward, avg_pool_forward
from .batch_norm import batch_norm_backward, batch_norm_forward, batch_norm_inference
from .columns import col2im, conv_matrix, im2col
from .conv import ConvGradients, conv_backward, conv_forward, conv_jvp
from .conv_transpose import conv_transpose_backward, conv_transpose_forward
from .max_pool import max_pool_backward, max_pool_forward, max_unpool
from .relu import relu_backward, relu_forward
from .sigmoid import sigmoid_backward, sigmoid_forward
from .softmax_cross_entropy import softmax_cross_entropy

__all__ = [
    "ConvGradients",
    "adaptive_avg_pool_backward",
    "adaptive_avg_pool_forward",
    "adaptive_max_pool_forward",
    "affine_backward",
    "affine_forward",
    "avg_pool_backward",
    "avg_pool_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "col2im",
    "conv_backward",
    "conv_forward",
    "conv_jvp",
    "conv_matrix",
    "conv_transpose_backward",
    "conv_transpose_forward",
    "im2col",
    "max_pool_backward",
    "max_pool_forward",
    "max_unpool",
    "relu_backward",
    "relu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_cross_entropy",
]
