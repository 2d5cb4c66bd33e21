"""Convolution and pooling for plain NumPy arrays, forward and backward, compiled.

    conv.py, conv_transpose.py      what you call: docstring, checks, computation
      _problem.py, _values.py         arguments -> a frozen problem; one alone; the messages
        _core.pyx                       the bridge: data pointers and strides in, a status out
          csrc/plan.c                     chooses a path; conv/, geometry/, kernels/, isa/ run it
    pool.py, columns.py, layers.py  the same way, to csrc/pool/, csrc/columns/, csrc/layers/
    plans.py                        explain: what would run, and why
      _pool.pyx, _columns.pyx         where csrc has no kernel for the dtype, or refuses
    reference/                      the same operations as plain loops

`algorithms()` names what can run, `explain()` says what would, and why.
"""

try:
    from . import _core  # noqa: F401
except ImportError as error:
    if error.name != __name__:  # it is there, and gives its own name
        raise
    raise ImportError(
        f"{__path__[0]} holds the sources of fastconv, uncompiled, and hides an installed fastconv "
        "from a Python that starts beside it: start Python in another folder, or run "
        '"pip install -e ." here'
    ) from None

from .columns import col2im, conv_matrix, im2col
from .conv import ConvGradients, ConvPlan, conv_backward, conv_forward, conv_jvp
from .conv_transpose import conv_transpose_backward, conv_transpose_forward
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
from .plans import explain
from .pool import (
    adaptive_avg_pool_backward,
    adaptive_avg_pool_forward,
    adaptive_max_pool_forward,
    avg_pool_backward,
    avg_pool_forward,
    max_pool_backward,
    max_pool_forward,
    max_unpool,
)
from .runtime import (
    accuracy,
    algorithms,
    get_accuracy,
    get_num_threads,
    isas,
    num_threads,
    set_accuracy,
    set_num_threads,
    show_config,
    use_isa,
)

__version__ = "0.1.0"

__all__ = [
    "ConvCost",
    "ConvGradients",
    "ConvPlan",
    "accuracy",
    "adaptive_avg_pool_backward",
    "adaptive_avg_pool_forward",
    "adaptive_max_pool_forward",
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
    "conv_jvp",
    "conv_matrix",
    "conv_output_shape",
    "conv_transpose_backward",
    "conv_transpose_forward",
    "explain",
    "get_accuracy",
    "get_num_threads",
    "im2col",
    "isas",
    "max_pool_backward",
    "max_pool_forward",
    "max_unpool",
    "num_threads",
    "numerical_gradient",
    "pool_output_shape",
    "relu_backward",
    "relu_forward",
    "set_accuracy",
    "set_num_threads",
    "show_config",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_cross_entropy",
    "use_isa",
]
