"""Layers that are measured: their shapes, their cost, their data, and single exact results.

layers.csv has layers with names, chosen for what they ask of a library; zoo.csv has convolutions
of torchvision's networks, and how often each occurs. N batch, C input channels, K output channels;
size, kernel and the rest have an entry per spatial axis; of images H W input, P Q output, R S
kernel. A 1-D layer is an image of H = R = 1.
"""

from __future__ import annotations

import csv
import itertools
import math
import random
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

OPS = ("forward", "dx", "dw")
HERE = Path(__file__).parent
FEW_CHANNELS = 4  # of x: a stem


@dataclass(frozen=True)
class Layer:
    name: str
    N: int
    C: int
    size: tuple[int, ...]
    K: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def out_size(self):
        axes = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((i + 2 * p - (k - 1) * d - 1) // s + 1 for i, k, s, p, d in axes)

    @property
    def x_shape(self):
        return self.N, self.C, *self.size

    @property
    def w_shape(self):
        return self.K, self.C // self.groups, *self.kernel

    @property
    def y_shape(self):
        return self.N, self.K, *self.out_size

    H, W = (property(lambda self, axis=axis: self.size[axis]) for axis in range(2))
    P, Q = (property(lambda self, axis=axis: self.out_size[axis]) for axis in range(2))
    R, S = (property(lambda self, axis=axis: self.kernel[axis]) for axis in range(2))

    @property
    def kind(self):
        """What kind of work it is, of KINDS."""
        taps = math.prod(self.kernel)
        if len(self.size) == 3:
            return "volume"
        if self.groups > 1:
            return "depthwise" if self.groups == self.C else "grouped"
        if taps == 1:
            return "1x1"
        if self.kernel == self.stride and not any(self.padding):
            return "patches"
        if self.C <= FEW_CHANNELS:
            return "stem"
        return "3x3" if set(self.kernel) == {3} else "other"

    @property
    def flops(self):
        """Two per multiply-add, taps in the padding included; the same for forward, dx and dw."""
        return 2 * int(np.prod(self.y_shape)) * int(np.prod(self.w_shape[1:]))

    def bytes_moved(self, op, dtype):
        """Bytes if every operand and result crosses the memory bus once."""
        x, w, y = (int(np.prod(s)) for s in (self.x_shape, self.w_shape, self.y_shape))
        bias = 0 if op == "dx" else self.K
        return (x + w + y + bias) * np.dtype(dtype).itemsize

    def intensity(self, op, dtype):
        """FLOPs per byte: the abscissa of the roofline."""
        return self.flops / self.bytes_moved(op, dtype)

    def depth(self, op):
        """Terms in the longest sum behind one element of the result."""
        if op == "forward":
            return self.C // self.groups * math.prod(self.kernel)
        if op == "dx":
            return self.K // self.groups * math.prod(self.kernel)
        return self.N * math.prod(self.out_size)


KINDS = ("1x1", "3x3", "depthwise", "grouped", "volume", "patches", "stem", "other")


@dataclass(frozen=True)
class Problem:
    """One layer in one direction, with data. Arrays are channels first and C-contiguous."""

    layer: Layer
    op: str
    threads: int
    x: np.ndarray
    w: np.ndarray
    b: np.ndarray
    dy: np.ndarray

    @property
    def dtype(self):
        return self.x.dtype

    @property
    def result_names(self):
        return {"forward": ("y",), "dx": ("dx",), "dw": ("dw", "db")}[self.op]

    @property
    def operands(self):
        """The arrays that the op reads."""
        x, w, b, dy = self.x, self.w, self.b, self.dy
        return {"forward": (x, w, b), "dx": (dy, w), "dw": (dy, x)}[self.op]

    @property
    def geometry(self):
        """The keyword arguments of conv_forward and conv_backward."""
        layer = self.layer
        return {
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
            "groups": layer.groups,
        }

    def exact(self, name, index):
        """One element of the result `name`, summed in float64 from the definition."""
        if name == "db":
            return float(self.dy[:, index[0]].sum(dtype=np.float64))
        return {"y": _exact_y, "dx": _exact_dx, "dw": _exact_dw}[name](self, *index)

    def unit(self, name):
        """The size in which errors are stated: eps sqrt(L)."""
        op = {"y": "forward", "dx": "dx", "dw": "dw", "db": "dw"}[name]
        return float(np.finfo(self.dtype).eps) * math.sqrt(self.layer.depth(op))


def image_layer(name, N, C, H, W, K, R, S, stride, pad_h, pad_w, dilation, groups):
    """Of images; stride and dilation are those of both axes."""
    both = (stride, stride), (pad_h, pad_w), (dilation, dilation)
    return Layer(name, N, C, (H, W), K, (R, S), *both, groups)


def _named(row):
    """A layer of layers.csv."""
    name, *numbers = row.values()
    return image_layer(name, *map(int, numbers))


def _of_network(row):
    """A layer of zoo.csv, named after all that it is: no two are alike."""
    keys = ("size", "kernel", "stride", "padding", "dilation")
    size, kernel, stride, padding, dilation = (tuple(map(int, row[key].split("x"))) for key in keys)
    N, C, K, groups = (int(row[key]) for key in ("N", "C", "K", "groups"))
    name = "{network}:{N}x{C}x{size}-{K}-{kernel}".format(**row)
    same = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True))
    parts = (
        ("s", stride, max(stride) > 1),
        ("p", padding, padding != same),
        ("d", dilation, max(dilation) > 1),
        ("g", (groups,), groups > 1),
    )
    for letter, values, told in parts:
        if told:
            name += f"-{letter}" + "x".join(map(str, values))
    return Layer(name, N, C, size, K, kernel, stride, padding, dilation, groups)


SETS = {"layers": _named, "zoo": _of_network}


def load(name="layers"):
    """The layers of a file beside this one."""
    with open(HERE / f"{name}.csv", newline="") as file:
        return [SETS[name](row) for row in csv.DictReader(file)]


def sample(layers, count, seed):
    """So many of them, in their order; a layer is as likely as any other."""
    chosen = random.Random(seed).sample(range(len(layers)), min(count, len(layers)))
    return [layers[i] for i in sorted(chosen)]


def select(patterns, names, kind="layer"):
    """The names that match one of the shell patterns, in their order."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"no {kind} is called {pattern!r}; there are {', '.join(names)}")
    return [name for name in names if any(fnmatchcase(name, p) for p in patterns)]


def random_problem(layer, op, *, dtype, threads, seed=0):
    """Standard normal data: a sum of `depth` products then has the size sqrt(depth)."""
    rng = np.random.default_rng(seed)
    x, w, b, dy = (
        rng.standard_normal(shape, dtype=dtype)
        for shape in (layer.x_shape, layer.w_shape, (layer.K,), layer.y_shape)
    )
    return Problem(layer, op, threads, x, w, b, dy)


def _taps(layer):
    return itertools.product(*map(range, layer.kernel))


def _seen(layer, output, tap):
    """The position that a tap of an output reads, or None in the padding."""
    axes = zip(output, tap, layer.stride, layer.padding, layer.dilation, strict=True)
    at = tuple(o * s - p + t * d for o, t, s, p, d in axes)
    inside = all(0 <= i < n for i, n in zip(at, layer.size, strict=True))
    return at if inside else None


def _seeing(layer, at, tap):
    """The output whose tap reads this position, or None."""
    axes = zip(at, tap, layer.stride, layer.padding, layer.dilation, strict=True)
    found = [divmod(i + p - t * d, s) for i, t, s, p, d in axes]
    inside = all(off == 0 and 0 <= o < n for (o, off), n in zip(found, layer.out_size, strict=True))
    return tuple(o for o, _ in found) if inside else None


def _exact_y(problem, n, k, *output):
    layer, group = problem.layer, k // (problem.layer.K // problem.layer.groups)
    channels = layer.C // layer.groups
    mine = slice(group * channels, (group + 1) * channels)
    total = float(problem.b[k])
    for tap in _taps(layer):
        at = _seen(layer, output, tap)
        if at is not None:
            terms = problem.x[(n, mine, *at)].astype(np.float64)
            total += np.dot(terms, problem.w[(k, slice(None), *tap)])
    return total


def _exact_dx(problem, n, c, *at):
    layer = problem.layer
    group, channel = divmod(c, layer.C // layer.groups)
    filters = layer.K // layer.groups
    mine = slice(group * filters, (group + 1) * filters)
    total = 0.0
    for tap in _taps(layer):
        output = _seeing(layer, at, tap)
        if output is not None:
            terms = problem.dy[(n, mine, *output)].astype(np.float64)
            total += np.dot(terms, problem.w[(mine, channel, *tap)])
    return total


def _exact_dw(problem, k, c, *tap):
    layer = problem.layer
    group = k // (layer.K // layer.groups)
    x = problem.x[:, group * (layer.C // layer.groups) + c].astype(np.float64)
    dy = problem.dy[:, k]
    axes = zip(tap, layer.stride, layer.padding, layer.dilation, strict=True)
    for axis, (t, stride, pad, dilation) in enumerate(axes, 1):
        at = np.arange(dy.shape[axis]) * stride - pad + t * dilation
        inside = (at >= 0) & (at < x.shape[axis])
        x, dy = x.take(at[inside], axis), dy.compress(inside, axis)
    return float((x * dy).sum())
