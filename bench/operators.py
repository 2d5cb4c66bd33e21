"""The problems of everything but convolution: their names, their data, single exact results.

PROBLEMS lists them by family, the words of compare.py's --ops; each op of a problem is one row.
Average pools, columns and transposed convolutions are convolutions with particular weights, so
they have the geometry of a Layer, and their exact results are those of layers.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from layers import Layer, image_layer
from layers import Problem as Convolution

# Per op: arrays in, in the order of fastconv's function of that name, and arrays out.
OPERATIONS = {
    "max_pool_forward": (("x",), ("y", "indices")),
    "max_pool_backward": (("dy", "indices"), ("dx",)),
    "avg_pool_forward": (("x",), ("y",)),
    "avg_pool_backward": (("dy",), ("dx",)),
    "adaptive_avg_pool_forward": (("x",), ("y",)),
    "adaptive_avg_pool_backward": (("dy",), ("dx",)),
    "conv_transpose_forward": (("x", "w", "b"), ("y",)),
    "conv_transpose_backward": (("dy", "x", "w"), ("dx", "dw", "db")),
    "im2col": (("x",), ("cols",)),
    "col2im": (("cols",), ("x",)),
    "batch_norm_forward": (("x", "gamma", "beta"), ("y", "mean", "inv_std")),
    "batch_norm_backward": (("dy", "x", "gamma", "mean", "inv_std"), ("dx", "dgamma", "dbeta")),
    "relu_forward": (("x",), ("y",)),
    "relu_backward": (("dy", "y"), ("dx",)),
    "sigmoid_forward": (("x",), ("y",)),
    "sigmoid_backward": (("dy", "y"), ("dx",)),
    "softmax_cross_entropy": (("scores", "labels"), ("loss", "dscores")),
}
IMAGES = ("x", "y", "dy", "dx", "indices")  # these have a layout, if they have four axes

# Factors of the unit of errors, of which measure.TOLERANCE = 2**12 are let pass.
MOVED = 2.0**-100  # a result that is copied, compared or counted: any difference is wrong
ROUNDED = 2.0**-8  # few roundings: 16 eps pass
CHAINED = 2.0**-4  # few roundings of what came out of a long sum: 256 eps pass

BATCH_NORM_EPS = 1e-5


def in_layout(shape, layout):
    n, c, *size = shape
    return (n, *size, c) if layout == "NHWC" else tuple(shape)


@dataclass(frozen=True)
class Operator:
    """A named problem. Subclasses say which ops run on it, on what data, and what is right."""

    name: str
    dtype = None  # the one it is about; None: any float
    layouts = ("NCHW", "NHWC")

    @property
    def ops(self):
        raise NotImplementedError

    def options(self, op, layout):
        """The keyword arguments of fastconv's function."""
        raise NotImplementedError

    def arrays(self, op, normal, rng):
        """At least the arrays in, by name. normal(*shape) draws from the normal distribution."""
        raise NotImplementedError

    def exact(self, problem, name, index):
        """One element of the result `name`, in float64 from the definition."""
        raise NotImplementedError

    def unit(self, op, name):
        """The size in which errors are stated, in eps of the dtype."""
        raise NotImplementedError


def _convolved(layer, name, index, *, x=None, w=None, dy=None):
    """One exact element of a convolution without bias."""
    no_bias = np.zeros(layer.K)
    return Convolution(layer, name, 1, x, w, no_bias, dy).exact(name, index)


def max_pool(x, layer):
    """y and indices: the first maximum of each window."""
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    stride_h, stride_w = layer.stride
    pad_h, pad_w = layer.padding
    pads = (0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)
    padded = np.pad(x, pads, constant_values=lowest)
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, (2, 3))
    windows = windows[:, :, ::stride_h, ::stride_w].reshape(*layer.y_shape, -1)
    tap = windows.argmax(-1)
    y = np.take_along_axis(windows, tap[..., None], -1)[..., 0]
    row = np.arange(layer.P)[:, None] * stride_h - pad_h + tap // layer.S
    col = np.arange(layer.Q) * stride_w - pad_w + tap % layer.S
    return y, row * layer.W + col


@dataclass(frozen=True)
class Pool(Operator):
    """layer: the geometry, with one filter per channel. Padding counts in averages."""

    layer: Layer
    kinds: tuple[str, ...] = ("max_pool", "avg_pool")
    directions: tuple[str, ...] = ("forward", "backward")
    dtype: str | None = None

    @property
    def ops(self):
        return tuple(f"{kind}_{direction}" for kind in self.kinds for direction in self.directions)

    def options(self, op, layout):
        layer = self.layer
        found = {"layout": layout}
        if op.endswith("backward"):
            found["x_shape"] = in_layout(layer.x_shape, layout)
        if op == "adaptive_avg_pool_forward":
            found["output_size"] = 1
        if op.startswith("avg") or op == "max_pool_forward":
            found["kernel_size"] = layer.kernel
            found["stride"] = layer.stride
            found["padding"] = layer.padding
        return found

    def arrays(self, op, normal, rng):
        layer = self.layer
        if self.dtype:
            x = rng.integers(0, 256, layer.x_shape, self.dtype)
            return {"x": x}
        found = {"x": normal(*layer.x_shape)}
        if op.endswith("backward"):
            found["dy"] = normal(*layer.y_shape)
        if op == "max_pool_backward":
            found["indices"] = max_pool(found["x"], layer)[1]
        return found

    def exact(self, problem, name, index):
        layer, arrays = self.layer, problem.arrays
        if problem.op == "max_pool_forward":
            return self._exact_maximum(arrays["x"], name, index)
        if problem.op == "max_pool_backward":
            n, c, h, v = index
            chosen = arrays["indices"][n, c] == h * layer.W + v
            return float(arrays["dy"][n, c][chosen].sum(dtype=np.float64))
        w = np.full(layer.w_shape, 1 / (layer.R * layer.S))
        return _convolved(layer, name, index, x=arrays["x"], w=w, dy=arrays.get("dy"))

    def _exact_maximum(self, x, name, index):
        layer, (n, c, p, q) = self.layer, index
        outputs = zip((p, q), layer.stride, layer.padding, strict=True)
        top, left = (o * stride - pad for o, stride, pad in outputs)
        first_row, first_col = max(top, 0), max(left, 0)
        taps = x[n, c, first_row : top + layer.R, first_col : left + layer.S]
        row, col = np.unravel_index(taps.argmax(), taps.shape)
        return float(
            taps[row, col] if name == "y" else (first_row + row) * layer.W + first_col + col
        )

    def unit(self, op, name):
        if op == "max_pool_forward":
            return MOVED
        return ROUNDED * math.sqrt(self.layer.R * self.layer.S)


@dataclass(frozen=True)
class Transpose(Operator):
    """layer: the convolution whose dx is the forward pass here, so its y is x here."""

    layer: Layer
    output_padding: int
    ops = ("conv_transpose_forward", "conv_transpose_backward")

    def options(self, op, layout):
        layer, pad = self.layer, self.output_padding
        return {
            "stride": layer.stride,
            "padding": layer.padding,
            "output_padding": (pad, pad),
            "dilation": layer.dilation,
            "groups": layer.groups,
            "layout": layout,
        }

    def arrays(self, op, normal, rng):
        layer = self.layer
        found = {"x": normal(*layer.y_shape), "w": normal(*layer.w_shape)}
        if op == "conv_transpose_forward":
            return {**found, "b": normal(layer.C)}
        return {**found, "dy": normal(*layer.x_shape)}

    def exact(self, problem, name, index):
        arrays = problem.arrays
        if name == "db":
            return float(arrays["dy"][:, index[0]].sum(dtype=np.float64))
        mirrored = {"y": "dx", "dx": "y", "dw": "dw"}[name]
        mirror = {"x": arrays.get("dy"), "w": arrays["w"], "dy": arrays["x"]}
        bias = float(arrays["b"][index[1]]) if name == "y" else 0.0
        return _convolved(self.layer, mirrored, index, **mirror) + bias

    def unit(self, op, name):
        layer = self.layer
        if name == "db":
            return math.sqrt(layer.N * layer.H * layer.W)
        return math.sqrt(layer.depth({"y": "dx", "dx": "forward", "dw": "dw"}[name]))


@dataclass(frozen=True)
class Columns(Operator):
    """layer: the geometry, with one filter per row of the matrix, which picks its tap."""

    layer: Layer
    ops, layouts = ("im2col", "col2im"), ("NCHW",)

    @property
    def cols_shape(self):
        n, rows, p, q = self.layer.y_shape
        return n, rows, p * q

    def options(self, op, layout):
        layer = self.layer
        found = {
            "kernel_size": layer.kernel,
            "stride": layer.stride,
            "padding": layer.padding,
        }
        return found if op == "im2col" else {**found, "x_shape": layer.x_shape}

    def arrays(self, op, normal, rng):
        if op == "im2col":
            return {"x": normal(*self.layer.x_shape)}
        return {"cols": normal(*self.cols_shape)}

    def exact(self, problem, name, index):
        layer, arrays = self.layer, problem.arrays
        w = np.tile(np.eye(layer.R * layer.S), (layer.C, 1)).reshape(layer.w_shape)
        if name == "cols":
            n, row, pixel = index
            pixel = divmod(pixel, layer.Q)
            return _convolved(layer, "y", (n, row, *pixel), x=arrays["x"], w=w)
        dy = arrays["cols"].reshape(layer.y_shape)
        return _convolved(layer, "dx", index, w=w, dy=dy)

    def unit(self, op, name):
        return MOVED if op == "im2col" else ROUNDED * math.sqrt(self.layer.R * self.layer.S)


@dataclass(frozen=True)
class BatchNorm(Operator):
    shape: tuple[int, ...]  # (N, C, H, W) or (N, C)
    ops = ("batch_norm_forward", "batch_norm_backward")

    @property
    def count(self):
        """Elements per channel."""
        return math.prod(self.shape) // self.shape[1]

    def options(self, op, layout):
        found = {"eps": BATCH_NORM_EPS} if op == "batch_norm_forward" else {}
        return {**found, "layout": layout} if len(self.shape) == 4 else found

    def arrays(self, op, normal, rng):
        x, gamma = normal(*self.shape), normal(self.shape[1])
        if op == "batch_norm_forward":
            return {"x": x, "gamma": gamma, "beta": normal(self.shape[1])}
        over = (0, *range(2, x.ndim))
        mean, var = (f(over, dtype=np.float64) for f in (x.mean, x.var))
        inv_std = 1 / np.sqrt(var + BATCH_NORM_EPS)
        found = {"dy": normal(*self.shape), "x": x, "gamma": gamma}
        return {**found, "mean": mean.astype(x.dtype), "inv_std": inv_std.astype(x.dtype)}

    def exact(self, problem, name, index):
        c = index[1] if index[1:] else index[0]
        channel = (*index[:1], *index[2:])
        arrays = {key: a[:, c] if a.ndim > 1 else a[c] for key, a in problem.arrays.items()}
        arrays = {key: np.asarray(a, np.float64) for key, a in arrays.items()}
        element = self._exact_forward if "beta" in arrays else self._exact_backward
        return float(element(name, channel, **arrays))

    @staticmethod
    def _exact_forward(name, at, x, gamma, beta):
        mean, inv_std = x.mean(), 1 / math.sqrt(x.var() + BATCH_NORM_EPS)
        if name == "y":
            return gamma * (x[at] - mean) * inv_std + beta
        return {"mean": mean, "inv_std": inv_std}[name]

    @staticmethod
    def _exact_backward(name, at, dy, x, gamma, mean, inv_std):
        x_hat = (x - mean) * inv_std
        dbeta, dgamma = dy.sum(), (dy * x_hat).sum()
        if name == "dx":
            return gamma * inv_std * (dy[at] - dbeta / x.size - x_hat[at] * dgamma / x.size)
        return {"dgamma": dgamma, "dbeta": dbeta}[name]

    def unit(self, op, name):
        """The variance is a sum of squares: a single chain over norm_56 rounds it by 50 eps."""
        sums = math.sqrt(self.count)
        units = {"mean": 1 / sums, "inv_std": ROUNDED * sums, "y": 4 * ROUNDED * sums}
        return {**units, "dx": CHAINED, "dgamma": sums, "dbeta": sums}[name]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@dataclass(frozen=True)
class Activation(Operator):
    shape: tuple[int, ...]
    ops = ("relu_forward", "relu_backward", "sigmoid_forward", "sigmoid_backward")

    def options(self, op, layout):
        return {}

    def arrays(self, op, normal, rng):
        x = normal(*self.shape)
        if op.endswith("forward"):
            return {"x": x}
        return {"dy": normal(*self.shape), "y": np.maximum(x, 0) if "relu" in op else sigmoid(x)}

    def exact(self, problem, name, index):
        arrays = {key: float(a[index]) for key, a in problem.arrays.items()}
        if problem.op == "relu_forward":
            return max(arrays["x"], 0.0)
        if problem.op == "sigmoid_forward":
            return float(sigmoid(arrays["x"]))
        y, dy = arrays["y"], arrays["dy"]
        return dy * y * (1 - y) if "sigmoid" in problem.op else dy * (y > 0)

    def unit(self, op, name):
        return MOVED if "relu" in op else ROUNDED


@dataclass(frozen=True)
class CrossEntropy(Operator):
    batch: int
    classes: int
    ops = ("softmax_cross_entropy",)

    def options(self, op, layout):
        return {}

    def arrays(self, op, normal, rng):
        labels = rng.integers(0, self.classes, self.batch)
        return {"scores": normal(self.batch, self.classes), "labels": labels}

    def exact(self, problem, name, index):
        scores = problem.arrays["scores"].astype(np.float64)
        labels = problem.arrays["labels"]
        p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        if name == "loss":
            return float(-np.log(p[np.arange(self.batch), labels]).mean())
        n, label = index
        return float((p[n, label] - (label == labels[n])) / self.batch)

    def unit(self, op, name):
        return CHAINED if name == "loss" else ROUNDED / self.batch


@dataclass(frozen=True)
class OperatorProblem:
    """One op of a named problem, with data. Arrays are channels first and C-contiguous."""

    operator: Operator
    op: str
    threads: int
    layout: str  # of the arrays that libraries get, where they have one
    dtype: np.dtype
    arrays: dict = field(repr=False)

    @property
    def argument_names(self):
        return OPERATIONS[self.op][0]

    @property
    def result_names(self):
        return OPERATIONS[self.op][1]

    @property
    def operands(self):
        return [self.arrays[name] for name in self.argument_names]

    @property
    def options(self):
        return self.operator.options(self.op, self.layout)

    def channels_last(self, name, array):
        """Whether fastconv gets, or returns, this array channels last."""
        return self.layout == "NHWC" and name in IMAGES and array.ndim == 4

    def as_arrays(self, results):
        """What a function returned, one array or several or a number among them, as a tuple."""
        results = results if isinstance(results, tuple) else (results,)
        arrays = (np.asarray(r, self.dtype if isinstance(r, float) else None) for r in results)
        return tuple(np.atleast_1d(array) for array in arrays)

    def exact(self, name, index):
        return self.operator.exact(self, name, index)

    def unit(self, name):
        factor = self.operator.unit(self.op, name)
        return factor * float(np.finfo(self.dtype).eps) if factor != MOVED else factor


def random_operator_problem(operator, op, *, dtype, threads, layout, seed=0):
    """Standard normal data."""
    dtype, rng = np.dtype(operator.dtype or dtype), np.random.default_rng(seed)
    arrays = operator.arrays(op, lambda *shape: rng.standard_normal(shape, dtype), rng)
    return OperatorProblem(operator, op, threads, layout, dtype, arrays)


def _pool(name, x_shape, kernel, stride, pad, **more):
    c = x_shape[1]
    geometry = (c, kernel, kernel, stride, pad, pad, 1, c)
    return Pool(name, image_layer(name, *x_shape, *geometry), **more)


def _transpose(name, x_shape, out_channels, kernel, stride, pad, output_padding=0, groups=1):
    n, c, *size = x_shape
    y_size = ((s - 1) * stride - 2 * pad + kernel + output_padding for s in size)
    geometry = (c, kernel, kernel, stride, pad, pad, 1, groups)
    return Transpose(name, image_layer(name, n, out_channels, *y_size, *geometry), output_padding)


def _columns(name, x_shape, kernel, stride, pad):
    c = x_shape[1]
    geometry = (c * kernel * kernel, kernel, kernel, stride, pad, pad, 1, c)
    return Columns(name, image_layer(name, *x_shape, *geometry))


# Shapes are those of x, channels first; then kernel, stride, padding.
PROBLEMS = {
    "pool": (
        _pool("resnet_pool", (8, 64, 112, 112), 3, 2, 1),
        _pool("vgg_pool", (4, 64, 224, 224), 2, 2, 0),
        _pool("inception_pool", (8, 192, 28, 28), 3, 1, 1),
        _pool("spp_pool", (8, 256, 14, 14), 5, 1, 2),
        _pool("resnet_global", (8, 2048, 7, 7), 7, 7, 0, kinds=("adaptive_avg_pool",)),
        _pool(
            "camera_uint8",
            (8, 3, 480, 640),
            2,
            2,
            0,
            kinds=("max_pool",),
            directions=("forward",),
            dtype="uint8",
        ),
    ),
    "transpose": (
        _transpose("dcgan_up", (16, 256, 8, 8), 128, 4, 2, 1),
        _transpose("unet_up", (4, 128, 56, 56), 64, 2, 2, 0),
        _transpose("fsrcnn_up", (1, 56, 64, 64), 1, 9, 4, 4, output_padding=3),
        _transpose("fcn8s_up", (1, 21, 70, 70), 21, 16, 8, 4, groups=21),
    ),
    "columns": (
        _columns("columns_rn50_l1", (8, 64, 56, 56), 3, 1, 1),
        _columns("columns_rn50_stem", (8, 3, 224, 224), 7, 2, 3),
        _columns("columns_rn50_l3", (16, 256, 14, 14), 3, 1, 1),
        _columns("columns_cifar_5x5", (64, 3, 32, 32), 5, 1, 2),
    ),
    "norm": (
        BatchNorm("norm_56", (32, 64, 56, 56)),
        BatchNorm("norm_14", (8, 256, 14, 14)),
        BatchNorm("norm_dense", (64, 1000)),
        Activation("activation_56", (32, 64, 56, 56)),
        CrossEntropy("scores_1000", 256, 1000),
    ),
}
