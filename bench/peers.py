"""The libraries fastconv is compared with, one small class each, imported when first used.

NumPy as the course has it, PyTorch and JAX are here; the inference engines are in engines.py.
"""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import numpy_operators
import torch_operators
from engines import Mnn, Ncnn, OnnxRuntime, OpenVINO
from library import Fastconv, Library, Way, channels_first, channels_last


class NumpyIm2col(Library):
    """im2col by fancy indexing and one matrix product, col2im by np.add.at.

    After the course notes of CS231n (cs231n.github.io/convolutional-networks, "Implementation as
    Matrix Multiplication"), extended by dilation and by groups as a stack of products. dw builds
    the columns again, since like all others it is given x and not the columns of the forward pass.
    """

    name, distributions = "numpy", ("numpy",)
    operators = numpy_operators.OPS

    def _ways(self, problem):
        from contextlib import nullcontext

        limits = nullcontext
        if importlib.util.find_spec("threadpoolctl"):
            from threadpoolctl import ThreadpoolController

            controller = ThreadpoolController()

            def limits():
                return controller.limit(limits=problem.threads, user_api="blas")

        def run():
            with limits():
                return getattr(self, "_" + problem.op)(problem)

        return [Way("im2col", run, tuple)]

    def _operator_ways(self, problem):
        return numpy_operators.ways(problem)

    @staticmethod
    def _indices(layer):
        """Channel and position in the padded image, as (C * taps, outputs) index arrays."""
        taps, outputs = math.prod(layer.kernel), math.prod(layer.out_size)
        channel = np.repeat(np.arange(layer.C), taps)
        axes = zip(
            np.indices(layer.kernel).reshape(-1, taps),
            np.indices(layer.out_size).reshape(-1, outputs),
            layer.stride,
            layer.dilation,
            strict=True,
        )
        at = [(np.tile(t * d, layer.C)[:, None] + o * s) for t, o, s, d in axes]
        return channel[:, None], *at

    def _columns(self, problem):
        """(G, C/G * taps, outputs * N)."""
        layer = problem.layer
        padded = np.pad(problem.x, ((0, 0), (0, 0), *((pad, pad) for pad in layer.padding)))
        columns = padded[(slice(None), *self._indices(layer))]
        return columns.transpose(1, 2, 0).reshape(layer.groups, layer.depth("forward"), -1)

    @staticmethod
    def _filters(problem):
        """(G, K/G, C/G * taps)."""
        layer = problem.layer
        return problem.w.reshape(layer.groups, layer.K // layer.groups, -1)

    @staticmethod
    def _dy_rows(problem):
        """(G, K/G, outputs * N)."""
        layer = problem.layer
        rows = np.moveaxis(problem.dy, 0, -1)
        return rows.reshape(layer.groups, layer.K // layer.groups, -1)

    def _forward(self, problem):
        layer = problem.layer
        y = self._filters(problem) @ self._columns(problem)
        y = y.reshape(layer.K, -1) + problem.b[:, None]
        y = y.reshape(layer.K, *layer.out_size, layer.N)
        return (np.ascontiguousarray(np.moveaxis(y, -1, 0)),)

    def _dx(self, problem):
        layer = problem.layer
        columns = self._filters(problem).transpose(0, 2, 1) @ self._dy_rows(problem)
        columns = columns.reshape(layer.C * math.prod(layer.kernel), -1, layer.N).transpose(2, 0, 1)
        size = (n + 2 * pad for n, pad in zip(layer.size, layer.padding, strict=True))
        padded = np.zeros((layer.N, layer.C, *size), problem.dtype)
        np.add.at(padded, (slice(None), *self._indices(layer)), columns)
        inside = (slice(p, p + n) for n, p in zip(layer.size, layer.padding, strict=True))
        return (np.ascontiguousarray(padded[(..., *inside)]),)

    def _dw(self, problem):
        dw = self._dy_rows(problem) @ self._columns(problem).transpose(0, 2, 1)
        return dw.reshape(problem.w.shape), problem.dy.sum(axis=(0, *range(2, problem.dy.ndim)))


class PyTorch(Library):
    name, modules, distributions = "pytorch", ("torch",), ("torch",)
    operators = torch_operators.OPS

    @staticmethod
    def _torch(problem):
        import torch

        torch.set_num_threads(problem.threads)
        torch.set_grad_enabled(False)
        return torch

    def _operator_ways(self, problem):
        return torch_operators.ways(self._torch(problem), problem)

    def _ways(self, problem):
        torch = self._torch(problem)
        last = torch.channels_last_3d if len(problem.layer.size) == 3 else torch.channels_last
        formats = {"contiguous": torch.contiguous_format, "channels_last": last}
        return [self._way(torch, problem, name, fmt) for name, fmt in formats.items()]

    @staticmethod
    def _way(torch, problem, name, memory_format):
        layer, geometry = problem.layer, problem.geometry
        x, w, dy = (
            torch.from_numpy(a).contiguous(memory_format=memory_format)
            for a in (problem.x, problem.w, problem.dy)
        )
        b = torch.from_numpy(problem.b)
        wanted = [problem.op == "dx", problem.op == "dw", problem.op == "dw"]

        volume = len(layer.size) == 3
        conv = torch.nn.functional.conv3d if volume else torch.nn.functional.conv2d

        def forward():
            return (conv(x, w, b, **geometry),)

        def backward():
            gradients = torch.ops.aten.convolution_backward(
                dy,
                x,
                w,
                [layer.K],
                geometry["stride"],
                geometry["padding"],
                geometry["dilation"],
                False,  # not transposed
                [0] * len(layer.size),
                layer.groups,
                wanted,
            )
            return tuple(g for g, want in zip(gradients, wanted, strict=True) if want)

        run = forward if problem.op == "forward" else backward
        return Way(name, run, lambda result: tuple(r.numpy() for r in result))


class Jax(Library):
    name, modules, distributions = "jax", ("jax",), ("jax", "jaxlib")

    def _ways(self, problem):
        import jax

        jax.config.update("jax_enable_x64", problem.dtype == np.float64)
        return [self._way(jax, problem, last) for last in (False, True)]

    @staticmethod
    def _way(jax, problem, last):
        geometry = problem.geometry
        x, dy, w = problem.x, problem.dy, problem.w
        if last:
            x, dy, w = channels_last(x), channels_last(dy), np.moveaxis(w, (1, 0), (-2, -1))
        x, w, b, dy = (jax.numpy.asarray(a) for a in (x, w, problem.b, dy))
        axes = tuple(range(2, 2 + len(problem.layer.size)))
        space = "DHW"[-len(axes) :]
        names = (
            (f"N{space}C", f"{space}IO", f"N{space}C")
            if last
            else (f"NC{space}", f"OI{space}", f"NC{space}")
        )

        def conv(x, w):
            return jax.lax.conv_general_dilated(
                x,
                w,
                geometry["stride"],
                [(pad, pad) for pad in geometry["padding"]],
                rhs_dilation=geometry["dilation"],
                dimension_numbers=tuple(names),
                feature_group_count=geometry["groups"],
            )

        def forward(x, w, b, dy):
            return (conv(x, w) + (b if last else b.reshape(-1, *[1] * len(axes))),)

        def dx(x, w, b, dy):
            return jax.vjp(lambda v: conv(v, w), x)[1](dy)

        def dw(x, w, b, dy):
            summed = (0, *(axis - 1 if last else axis for axis in axes))
            return *jax.vjp(lambda v: conv(x, v), w)[1](dy), dy.sum(summed)

        compiled = jax.jit({"forward": forward, "dx": dx, "dw": dw}[problem.op])

        def to_arrays(result):
            arrays = [np.asarray(r) for r in result]
            if last and problem.op == "dw":
                arrays[0] = np.moveaxis(arrays[0], (-2, -1), (1, 0))
            elif last:
                arrays[0] = channels_first(arrays[0])
            return tuple(arrays)

        def run():
            return jax.block_until_ready(compiled(x, w, b, dy))

        return Way(names[0], run, to_arrays)


PEERS = {
    peer.name: peer
    for peer in (NumpyIm2col(), PyTorch(), OnnxRuntime(), OpenVINO(), Jax(), Ncnn(), Mnn())
}


def find(name, layout="NCHW"):
    """The peer of this name, or fastconv kept to its algorithm of this name."""
    return PEERS.get(name) or Fastconv(layout, name)
