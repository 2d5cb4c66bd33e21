"""What a library is to the benchmark, and fastconv as the first of them.

A library gives one or more ways to run a problem; the fastest right one is timed. What it may do
once per network rather than once per call (packing weights, choosing a layout, compiling) is done
before the timing, so the inference engines are seen from their best side.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from layers import OPS
from operators import OPERATIONS


class Refusal(Exception):
    """The library cannot do this problem; the message says why."""


@dataclass(frozen=True)
class Way:
    """run() is what is timed; result() turns what run returned into channels-first arrays."""

    name: str
    run: Callable[[], Any]
    result: Callable[[Any], tuple[np.ndarray, ...]]


class Library:
    name = ""
    modules: tuple[str, ...] = ()  # what has to be importable
    distributions: tuple[str, ...] = ()  # whose versions are reported
    ops = OPS  # convolutions, of these dtypes
    dtypes = ("float32", "float64")
    operators: tuple[str, ...] = ()  # of operators.py

    def missing(self):
        """The modules that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]

    def versions(self):
        found = {}
        for name in self.distributions:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = getattr(importlib.import_module(self.modules[0]), "__version__", "?")
        return found

    def has(self, op):
        return op in self.ops or op in self.operators

    def ways(self, problem):
        """Ways to run the problem, or Refusal."""
        if not self.has(problem.op):
            raise Refusal(f"{self.name} has no {problem.op}")
        missing = self.missing()
        if missing:
            raise Refusal(f"not installed: {', '.join(missing)}")
        if problem.op in self.operators:
            return self._operator_ways(problem)
        if problem.dtype.name not in self.dtypes:
            raise Refusal(f"{self.name} has no {problem.dtype.name} convolution")
        return self._ways(problem)

    def _ways(self, problem):
        """problem: of layers.py."""
        raise NotImplementedError

    def _operator_ways(self, problem):
        """problem: of operators.py."""
        raise NotImplementedError


def channels_last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def channels_first(array):
    return np.moveaxis(array, -1, 1)


class Fastconv(Library):
    name, modules, distributions = "fastconv", ("fastconv",), ("fastconv",)
    operators = tuple(OPERATIONS)

    def __init__(self, layout="NCHW", algorithm="auto", *, plan=False):
        self.layout, self.algorithm, self.plan = layout, algorithm, plan
        self.ops = ("forward",) if plan else OPS

    @staticmethod
    def isas():
        """The instruction sets usable here, best first."""
        import fastconv

        return fastconv.isas()

    def _ways(self, problem):
        if self.algorithm == "auto":
            return [self._way(problem)]
        try:
            way = self._way(problem)
            way.run()
        except ValueError as error:
            raise Refusal(str(error)) from error
        return [way]

    def _way(self, problem):
        import fastconv

        fastconv.set_num_threads(problem.threads)
        last = self.layout == "NHWC"
        layout = self.layout.replace("H", "DH") if problem.x.ndim == 5 else self.layout
        x, dy = (channels_last(a) if last else a for a in (problem.x, problem.dy))
        w, b, need = problem.w, problem.b, problem.result_names
        options = {**problem.geometry, "layout": layout, "algorithm": self.algorithm}

        def to_arrays(result):
            if problem.op == "forward":
                named = {"y": result}
            else:
                named = dict(zip(("dx", "dw", "db"), result, strict=True))
            if last:
                named |= {n: channels_first(named[n]) for n in ("y", "dx") if n in need}
            return tuple(named[name] for name in need)

        if self.plan:
            plan = fastconv.ConvPlan(x.shape, w, b, **options)
            return Way(f"{self.layout} plan", lambda: plan(x), to_arrays)
        if problem.op == "forward":
            return Way(self.layout, lambda: fastconv.conv_forward(x, w, b, **options), to_arrays)

        def backward():
            return fastconv.conv_backward(dy, x, w, need=need, **options)

        return Way(self.layout, backward, to_arrays)

    def _operator_ways(self, problem):
        import fastconv

        function = getattr(fastconv, problem.op, None)
        if function is None:
            raise Refusal(f"fastconv has no {problem.op}")
        if problem.layout not in problem.operator.layouts:
            raise Refusal(f"{problem.op} has no layout {problem.layout}")
        fastconv.set_num_threads(problem.threads)
        arguments = [
            channels_last(array) if problem.channels_last(name, array) else array
            for name, array in zip(problem.argument_names, problem.operands, strict=True)
        ]
        options = problem.options

        def to_arrays(result):
            arrays = zip(problem.result_names, problem.as_arrays(result), strict=True)
            return tuple(channels_first(a) if problem.channels_last(n, a) else a for n, a in arrays)

        return [Way(problem.layout, lambda: function(*arguments, **options), to_arrays)]
