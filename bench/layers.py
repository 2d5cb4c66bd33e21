"""The layers of layers.csv: their shapes, their cost, their data, and single exact results.

N batch, C input channels, K output channels, H W input, P Q output, R S kernel.
A 1-D layer has H = R = 1.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

OPS = ("forward", "dx", "dw")
CSV = Path(__file__).with_name("layers.csv")


@dataclass(frozen=True)
class Layer:
    name: str
    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    stride: int
    pad_h: int
    pad_w: int
    dilation: int
    groups: int

    @property
    def P(self):
        return (self.H + 2 * self.pad_h - (self.R - 1) * self.dilation - 1) // self.stride + 1

    @property
    def Q(self):
        return (self.W + 2 * self.pad_w - (self.S - 1) * self.dilation - 1) // self.stride + 1

    @property
    def x_shape(self):
        return self.N, self.C, self.H, self.W

    @property
    def w_shape(self):
        return self.K, self.C // self.groups, self.R, self.S

    @property
    def y_shape(self):
        return self.N, self.K, self.P, self.Q

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
            return self.C // self.groups * self.R * self.S
        if op == "dx":
            return self.K // self.groups * self.R * self.S
        return self.N * self.P * self.Q


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
            "stride": (layer.stride, layer.stride),
            "padding": (layer.pad_h, layer.pad_w),
            "dilation": (layer.dilation, layer.dilation),
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


def load(path=CSV):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    names = [field.name for field in fields(Layer)]
    return [Layer(row["name"], *(int(row[name]) for name in names[1:])) for row in rows]


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


def _exact_y(problem, n, k, p, q):
    layer, group = problem.layer, k // (problem.layer.K // problem.layer.groups)
    channels = layer.C // layer.groups
    total = float(problem.b[k])
    for r in range(layer.R):
        for s in range(layer.S):
            h = p * layer.stride - layer.pad_h + r * layer.dilation
            v = q * layer.stride - layer.pad_w + s * layer.dilation
            if 0 <= h < layer.H and 0 <= v < layer.W:
                taps = problem.x[n, group * channels : (group + 1) * channels, h, v]
                total += np.dot(taps.astype(np.float64), problem.w[k, :, r, s])
    return total


def _exact_dx(problem, n, c, h, v):
    layer = problem.layer
    group, channel = divmod(c, layer.C // layer.groups)
    filters = layer.K // layer.groups
    mine = slice(group * filters, (group + 1) * filters)
    total = 0.0
    for r in range(layer.R):
        for s in range(layer.S):
            p, p_off = divmod(h + layer.pad_h - r * layer.dilation, layer.stride)
            q, q_off = divmod(v + layer.pad_w - s * layer.dilation, layer.stride)
            if p_off == q_off == 0 and 0 <= p < layer.P and 0 <= q < layer.Q:
                taps = problem.dy[n, mine, p, q].astype(np.float64)
                total += np.dot(taps, problem.w[mine, channel, r, s])
    return total


def _exact_dw(problem, k, c, r, s):
    layer = problem.layer
    group = k // (layer.K // layer.groups)
    plane = problem.x[:, group * (layer.C // layer.groups) + c]
    rows = np.arange(layer.P) * layer.stride - layer.pad_h + r * layer.dilation
    cols = np.arange(layer.Q) * layer.stride - layer.pad_w + s * layer.dilation
    p, q = (rows >= 0) & (rows < layer.H), (cols >= 0) & (cols < layer.W)
    taps = plane[:, rows[p][:, None], cols[q]].astype(np.float64)
    return float((taps * problem.dy[:, k][:, p][:, :, q]).sum())
