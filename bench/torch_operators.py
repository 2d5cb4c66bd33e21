"""Pools, transposed convolutions, columns, norms and activations by PyTorch's own operators.

Backward passes are called as autograd would call them, without its graph. Images are contiguous
or, for NHWC, channels_last.
"""

from __future__ import annotations

from library import Way
from operators import BATCH_NORM_EPS


def _window(problem):
    """Kernel, stride, padding, dilation."""
    layer = problem.operator.layer
    return layer.kernel, layer.stride, layer.padding, layer.dilation


def _max_pool_forward(torch, problem, x):
    kernel, stride, pad, dilation = _window(problem)
    pool = torch.ops.aten.max_pool2d_with_indices.default
    return lambda: pool(x, kernel, stride, pad, dilation)


def _max_pool_backward(torch, problem, dy, indices, x):
    backward = torch.ops.aten.max_pool2d_with_indices_backward.default
    return lambda: backward(dy, x, *_window(problem), False, indices)


def _avg_pool_forward(torch, problem, x):
    window = _window(problem)[:3]
    return lambda: torch.nn.functional.avg_pool2d(x, *window)


def _avg_pool_backward(torch, problem, dy, x):
    window = _window(problem)[:3]
    backward = torch.ops.aten.avg_pool2d_backward.default
    return lambda: backward(dy, x, *window, False, True, None)


def _global_forward(torch, problem, x):
    return lambda: torch.nn.functional.adaptive_avg_pool2d(x, 1)


def _global_backward(torch, problem, dy, x):
    """The pool's own function, and what autograd runs, since the pool of one cell is a mean."""
    pixels = x.shape[2] * x.shape[3]
    return {
        "pool": lambda: torch.ops.aten._adaptive_avg_pool2d_backward.default(dy, x),
        "mean": lambda: dy.expand(x.shape) / pixels,
    }


def _conv_transpose_forward(torch, problem, x, w, b):
    options = {key: value for key, value in problem.options.items() if key != "layout"}
    return lambda: torch.nn.functional.conv_transpose2d(x, w, b, **options)


def _conv_transpose_backward(torch, problem, dy, x, w):
    layer, options = problem.operator.layer, problem.options
    geometry = (options["stride"], options["padding"], options["dilation"])
    backward = torch.ops.aten.convolution_backward.default
    return lambda: backward(
        dy,
        x,
        w,
        [layer.C],
        *geometry,
        True,  # transposed
        options["output_padding"],
        layer.groups,
        [True, True, True],
    )


def _im2col(torch, problem, x):
    kernel, stride, pad, dilation = _window(problem)
    return lambda: torch.nn.functional.unfold(x, kernel, dilation, pad, stride)


def _col2im(torch, problem, cols):
    kernel, stride, pad, dilation = _window(problem)
    size = problem.operator.layer.x_shape[2:]
    return lambda: torch.nn.functional.fold(cols, size, kernel, dilation, pad, stride)


def _batch_norm_forward(torch, problem, x, gamma, beta):
    norm = torch.ops.aten.native_batch_norm.default
    return lambda: norm(x, gamma, beta, None, None, True, 0.0, BATCH_NORM_EPS)


def _batch_norm_backward(torch, problem, dy, x, gamma, mean, inv_std):
    backward = torch.ops.aten.native_batch_norm_backward.default
    statistics = (None, None, mean, inv_std, True, BATCH_NORM_EPS)
    return lambda: backward(dy, x, gamma, *statistics, [True, True, True])


def _relu_forward(torch, problem, x):
    return lambda: torch.relu(x)


def _relu_backward(torch, problem, dy, y):
    return lambda: torch.ops.aten.threshold_backward.default(dy, y, 0)


def _sigmoid_forward(torch, problem, x):
    return lambda: torch.sigmoid(x)


def _sigmoid_backward(torch, problem, dy, y):
    return lambda: torch.ops.aten.sigmoid_backward.default(dy, y)


def _softmax_cross_entropy(torch, problem, scores, labels):
    aten, one = torch.ops.aten, torch.ones((), dtype=scores.dtype)
    mean, no_label = 1, -100  # the reduction; the label to leave out

    def run():
        logs = aten._log_softmax.default(scores, 1, False)
        loss, weight = aten.nll_loss_forward.default(logs, labels, None, mean, no_label)
        dlogs = aten.nll_loss_backward.default(one, logs, labels, None, mean, no_label, weight)
        return loss, aten._log_softmax_backward_data.default(dlogs, logs, 1, scores.dtype)

    return run


# A function gets tensors by name and returns what is timed, or several ways by name.
FUNCTIONS = {
    "max_pool_forward": _max_pool_forward,
    "max_pool_backward": _max_pool_backward,
    "avg_pool_forward": _avg_pool_forward,
    "avg_pool_backward": _avg_pool_backward,
    "adaptive_avg_pool_forward": _global_forward,
    "adaptive_avg_pool_backward": _global_backward,
    "conv_transpose_forward": _conv_transpose_forward,
    "conv_transpose_backward": _conv_transpose_backward,
    "im2col": _im2col,
    "col2im": _col2im,
    "batch_norm_forward": _batch_norm_forward,
    "batch_norm_backward": _batch_norm_backward,
    "relu_forward": _relu_forward,
    "relu_backward": _relu_backward,
    "sigmoid_forward": _sigmoid_forward,
    "sigmoid_backward": _sigmoid_backward,
    "softmax_cross_entropy": _softmax_cross_entropy,
}
OPS = tuple(FUNCTIONS)


def ways(torch, problem):
    """torch: the module, its threads set."""
    tensors, memory_format = {}, "contiguous"
    for name, array in problem.arrays.items():
        tensor = torch.from_numpy(array)
        if problem.layout == "NHWC" and array.ndim == 4:
            memory_format = "channels_last"
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        tensors[name] = tensor
    runs = FUNCTIONS[problem.op](torch, problem, **tensors)
    runs = runs if isinstance(runs, dict) else {"": runs}

    def to_arrays(result):
        result = (result,) if torch.is_tensor(result) else result
        return problem.as_arrays(tuple(tensor.numpy() for tensor in result))

    return [Way(f"{memory_format} {name}".strip(), run, to_arrays) for name, run in runs.items()]
