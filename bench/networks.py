"""Whole networks, forward and a training step, by fastconv and by PyTorch in the same process.

    python bench/networks.py --networks resnet50,vgg16 --threads 1,2

A training step is the forward pass, the gradients of all parameters for a given gradient of the
result, and an SGD update; forward alone has batch norms that know their statistics. ReLU is fused
into convolutions with a bias and, in training, with the sum of a residual into batch norms. What
fastconv has no function for (joining branches, the update, sums of forward alone) is NumPy's, on
one thread.

"convolutions" are the network's convolutions one by one, forward, or forward, dx and dw, each as
often as it occurs. PyTorch runs with both of its layouts; its results are compared first. Page
faults are excluded as in compare.py. Ratios are PyTorch's best time over fastconv's.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace

import machine
import measure
import numpy as np
from architectures import NETWORKS
from compare import as_list, isa, positive, thread_count
from layers import OPS, random_problem
from library import Fastconv
from peers import PyTorch
from report import Table, as_markdown, as_text

RATE = 1e-9  # of the update: too small to change the next step
# Of disagreement(): of results and of gradients through 50 layers with their ReLUs.
TOLERANCE = {"float32": 0.1, "float64": 1e-6}


def random_arguments(network, dtype, seed=0):
    """Images, the gradient of the result, and per node its parameters, He's initialisation."""
    rng = np.random.default_rng(seed)

    def normal(shape, scale=1.0):
        return rng.standard_normal(shape, dtype) * np.dtype(dtype).type(scale)

    def parameters(node):
        if node.kind == "norm":
            (shape, _) = node.parameters
            return [np.ones(shape, dtype), np.zeros(shape, dtype)]
        if not node.parameters:
            return []
        weights, *bias = node.parameters
        inputs = weights[0] if node.kind in ("dense", "conv_transpose") else math.prod(weights[1:])
        return [normal(weights, math.sqrt(2 / inputs)), *(np.zeros(b, dtype) for b in bias)]

    nodes = network.nodes
    x = normal((network.batch, *nodes[0].shape))
    return x, normal((network.batch, *nodes[-1].shape)), [parameters(node) for node in nodes]


class FastconvNetwork:
    """One method per kind of node: its result, and what its gradient needs; then the gradients."""

    def __init__(self, network, parameters):
        self.nodes, self.parameters = network.nodes, parameters
        reads = [i for node in network.nodes for i in node.inputs]
        self.readers = Counter(reads)

    def forward(self, x):
        return self._run(x, training=False)[0]

    def step(self, x, dy):
        """The gradients, after the update."""
        _, saved = self._run(x, training=True)
        gradients = self._gradients(dy, saved)
        for ours, theirs in zip(self.parameters, gradients, strict=True):
            for parameter, gradient in zip(ours, theirs, strict=True):
                parameter -= gradient.dtype.type(RATE) * gradient
        return gradients

    def _run(self, x, training):
        """The result and, in training, what the backward passes need; else values go at once."""
        values, saved, left = [x], [None], Counter(self.readers)
        for node, parameters in zip(self.nodes[1:], self.parameters[1:], strict=True):
            inputs = [values[i] for i in node.inputs]
            y, kept = getattr(self, node.kind)(node, training, *inputs, *parameters)
            values.append(y)
            saved.append(kept)
            del inputs, kept
            for i in node.inputs:
                left[i] -= 1
                if not left[i]:
                    values[i] = None
            if not training:
                saved[-1] = None
        return values[-1], saved

    def _gradients(self, dy, saved):
        grads = [None] * len(self.nodes)
        found = [[] for _ in self.nodes]
        grads[-1] = dy
        for i in range(len(self.nodes) - 1, 0, -1):
            node = self.nodes[i]
            backward = getattr(self, node.kind + "_backward")
            inputs, found[i] = backward(node, grads[i], saved[i], *self.parameters[i])
            grads[i] = saved[i] = None
            for j, gradient in zip(node.inputs, inputs, strict=True):
                grads[j] = gradient if grads[j] is None else grads[j] + gradient
        return found

    @staticmethod
    def _geometry(layer):
        return {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}

    def conv(self, node, training, x, w, b=None):
        import fastconv

        activation = "relu" if node.relu else None
        y = fastconv.conv_forward(x, w, b, activation=activation, **self._geometry(node.layer))
        return y, (x, y if node.relu else None)

    def conv_backward(self, node, dy, saved, w, b=None):
        import fastconv

        x, y = saved
        if node.relu:
            dy = fastconv.relu_backward(dy, y)
        need = ["dw", *["db"] * (b is not None), *["dx"] * (node.inputs != (0,))]
        dx, *own = fastconv.conv_backward(dy, x, w, need=need, **self._geometry(node.layer))
        return [dx], [gradient for gradient in own if gradient is not None]

    def conv_transpose(self, node, training, x, w, b):
        import fastconv

        return fastconv.conv_transpose_forward(x, w, b, stride=2), x

    def conv_transpose_backward(self, node, dy, x, w, b):
        import fastconv

        dx, *own = fastconv.conv_transpose_backward(dy, x, w, stride=2)
        return [dx], own

    def norm(self, node, training, x, *more):
        import fastconv

        *residual, gamma, beta = more
        if training:
            fused = {"activation": "relu" if node.relu else None}
            fused |= {"residual": residual[0]} if residual else {}
            y, mean, inv_std = fastconv.batch_norm_forward(x, gamma, beta, **fused)
            return y, (x, mean, inv_std, y if node.relu else None)
        zeros, ones = np.zeros_like(gamma), np.ones_like(gamma)
        y = fastconv.batch_norm_inference(x, gamma, beta, zeros, ones)
        for array in residual:
            y += array
        return fastconv.relu_forward(y) if node.relu else y, None

    def norm_backward(self, node, dy, saved, gamma, beta):
        import fastconv

        x, mean, inv_std, y = saved
        dx, dgamma, dbeta, *residual = fastconv.batch_norm_backward(
            dy, x, gamma, mean, inv_std, y=y, activation="relu"
        )
        return [dx, *(residual or [dy])][: len(node.inputs)], [dgamma, dbeta]

    def relu(self, node, training, x):
        import fastconv

        y = fastconv.relu_forward(x)
        return y, y

    def relu_backward(self, node, dy, y):
        import fastconv

        return [fastconv.relu_backward(dy, y)], []

    def max_pool(self, node, training, x):
        import fastconv

        layer = node.layer
        window = {"stride": layer.stride, "padding": layer.padding}
        if not training:
            return fastconv.max_pool_forward(x, layer.R, return_indices=False, **window), None
        y, indices = fastconv.max_pool_forward(x, layer.R, **window)
        return y, (indices, x.shape)

    def max_pool_backward(self, node, dy, saved):
        import fastconv

        return [fastconv.max_pool_backward(dy, *saved)], []

    def mean(self, node, training, x):
        import fastconv

        return fastconv.adaptive_avg_pool_forward(x, 1)[:, :, 0, 0], x.shape

    def mean_backward(self, node, dy, x_shape):
        import fastconv

        return [fastconv.adaptive_avg_pool_backward(dy[:, :, None, None], x_shape)], []

    def flat(self, node, training, x):
        return x.reshape(len(x), -1), x.shape

    def flat_backward(self, node, dy, x_shape):
        return [dy.reshape(x_shape)], []

    def dense(self, node, training, x, w, b):
        import fastconv

        return fastconv.affine_forward(x, w, b), x

    def dense_backward(self, node, dy, x, w, b):
        import fastconv

        dx, *own = fastconv.affine_backward(dy, x, w)
        return [dx], own

    def join(self, node, training, a, b):
        return np.concatenate((a, b), axis=1), a.shape[1]

    def join_backward(self, node, dy, channels):
        return [dy[:, :channels], dy[:, channels:]], []


class TorchNetwork:
    """The same by torch.nn.functional and autograd; arguments are converted once, not per call."""

    def __init__(self, network, parameters, memory_format):
        import torch

        self.nodes, self.torch, self.format = network.nodes, torch, memory_format
        self.parameters = [[self.tensor(array) for array in arrays] for arrays in parameters]
        self.flat = [p for arrays in self.parameters for p in arrays]

    def tensor(self, array):
        """A copy."""
        tensor = self.torch.from_numpy(array.copy())
        last = getattr(self.torch, self.format)
        return tensor.contiguous(memory_format=last) if tensor.ndim == 4 else tensor

    def forward(self, x):
        with self.torch.no_grad():
            return self._run(x, training=False)

    def step(self, x, dy):
        with self.torch.enable_grad():
            for parameter in self.flat:
                parameter.requires_grad_(True)
            gradients = self.torch.autograd.grad(self._run(x, training=True), self.flat, dy)
        with self.torch.no_grad():
            for parameter, gradient in zip(self.flat, gradients, strict=True):
                parameter.sub_(gradient, alpha=RATE)
        return gradients

    def _run(self, x, training):
        values, left = [x], Counter(i for node in self.nodes for i in node.inputs)
        for node, parameters in zip(self.nodes[1:], self.parameters[1:], strict=True):
            inputs = [values[i] for i in node.inputs]
            values.append(self._apply(node, training, inputs, parameters))
            for i in node.inputs:
                left[i] -= 1
                if not left[i]:
                    values[i] = None
        return values[-1]

    def _apply(self, node, training, inputs, parameters):
        functional, layer = self.torch.nn.functional, node.layer
        x = inputs[0]
        if node.kind == "conv":
            w, b = parameters if len(parameters) == 2 else (*parameters, None)
            y = functional.conv2d(x, w, b, layer.stride, layer.padding, 1, layer.groups)
            return y.relu_() if node.relu else y
        if node.kind == "conv_transpose":
            return functional.conv_transpose2d(x, *parameters, stride=2)
        if node.kind == "norm":
            gamma, beta = parameters
            mean, variance = self.torch.zeros_like(gamma), self.torch.ones_like(gamma)
            y = functional.batch_norm(x, mean, variance, gamma, beta, training)
            for residual in inputs[1:]:
                y += residual
            return functional.relu(y, inplace=True) if node.relu else y
        if node.kind == "relu":
            return functional.relu(x)
        if node.kind == "max_pool":
            return functional.max_pool2d(x, layer.R, layer.stride, layer.padding)
        if node.kind == "mean":
            return functional.adaptive_avg_pool2d(x, 1)[:, :, 0, 0]
        if node.kind == "flat":
            return x.flatten(1)
        if node.kind == "dense":
            w, b = parameters
            return self.torch.addmm(b, x, w)
        if node.kind == "join":
            return self.torch.cat(inputs, 1)
        raise ValueError(f"node.kind is {node.kind!r}")


def disagreement(ours, theirs):
    """The largest norm of a difference over the norm, or over a thousandth of the largest norm.

    The shift of a norm that feeds a convolution and a norm has the gradient zero.
    """
    norms = [float(np.linalg.norm(b)) for b in theirs]
    least = max(norms) / 1000
    apart = [float(np.linalg.norm(a - b)) for a, b in zip(ours, theirs, strict=True)]
    return max(d / max(norm, least) for d, norm in zip(apart, norms, strict=True))


@dataclass(frozen=True)
class Contest:
    """Functions to time: fastconv's, and PyTorch's by layout."""

    ours: object
    theirs: dict


def network_contests(network, dtype):
    """Contests of forward and step, after their results have been compared."""
    x, dy, parameters = random_arguments(network, dtype)
    net = FastconvNetwork(network, parameters)
    forward, step = {}, {}
    for name in ("contiguous_format", "channels_last"):
        peer = TorchNetwork(network, parameters, name)
        images, gradient = peer.tensor(x), peer.tensor(dy)
        apart = disagreement([net.forward(x)], [peer.forward(images).numpy()])
        ours = [g for arrays in net.step(x, dy) for g in arrays]
        apart = max(apart, disagreement(ours, [g.numpy() for g in peer.step(images, gradient)]))
        if not apart <= TOLERANCE[dtype]:
            raise SystemExit(f"{network.name} {name}: results are apart by {apart:.2g}")
        forward[name] = lambda peer=peer, images=images: peer.forward(images)
        step[name] = lambda p=peer, i=images, g=gradient: p.step(i, g)
    return {
        "forward": Contest(lambda: net.forward(x), forward),
        "training step": Contest(lambda: net.step(x, dy), step),
    }


def timed(contest, budget):
    """Best seconds: {"fastconv": ..., layout: ...}."""
    names = ["fastconv", *contest.theirs]
    times = measure.time_in_turn([contest.ours, *contest.theirs.values()], budget)
    return dict(zip(names, map(min, times), strict=True))


def convolution_times(network, dtype, threads, budget):
    """Seconds of all convolutions, forward alone and in training; PyTorch's better layout."""
    forward, training = Counter(), Counter()
    unique = Counter((replace(layer, name=""), dx) for layer, dx in network.convolutions)
    for (layer, needs_dx), count in unique.items():
        for op in OPS if needs_dx else ("forward", "dw"):
            problem = random_problem(layer, op, dtype=dtype, threads=threads)
            ways = {way.name: way.run for way in PyTorch().ways(problem)}
            (own,) = Fastconv().ways(problem)
            found = timed(Contest(own.run, ways), budget)
            for total in (forward, training) if op == "forward" else (training,):
                for name, seconds in found.items():
                    total[name] += count * seconds
                total["best of each"] += count * min(found[name] for name in ways)
    return {"convolutions forward": forward, "convolutions training": training}


def run(options):
    """In a process with its cores and environment set: one JSON object a line."""
    import torch

    import fastconv

    (threads,) = options.threads
    torch.set_num_threads(threads)
    fastconv.set_num_threads(threads)
    budget = measure.Budget(options.repeat, options.min_time)
    for name in options.networks:
        build, batch, size = NETWORKS[name]
        network = build(options.batch or batch, size)
        contests = network_contests(network, options.dtype)
        found = {what: timed(contest, budget) for what, contest in contests.items()}
        del contests
        found |= convolution_times(network, options.dtype, threads, budget)
        for what, seconds in found.items():
            row = {"network": name, "batch": network.batch, "what": what, "seconds": seconds}
            print(json.dumps(row), flush=True)


def as_table(rows, threads, dtype):
    header = ["network", "batch", "what", "ms", "contiguous", "channels last", "better"]
    lines = []
    for row in rows:
        ours, contiguous, last, *best = row["seconds"].values()
        ratios = [contiguous / ours, last / ours, min(contiguous, last, *best) / ours]
        cells = [row["network"], str(row["batch"]), row["what"], f"{ours * 1e3:.1f}"]
        lines.append([*cells, *(f"{ratio:.2f}" for ratio in ratios)])
    title = f"PyTorch's time / fastconv's, {threads} thread{'s' if threads > 1 else ''}, {dtype}"
    notes = ["better: of the layouts; of convolutions each by its own better layout"]
    return Table(title, header, lines, [], notes)


def parse_arguments(arguments=None):
    summary, _, details = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--networks", type=as_list(NETWORKS), default=list(NETWORKS), help=", ".join(NETWORKS))
    counts = as_list(convert=thread_count)
    add("--threads", type=counts, default=[1, 2][: len(machine.cores())], help="default 1,2")
    add("--dtype", choices=tuple(TOLERANCE), default="float32")
    add("--batch", type=positive, help="default: 8, of cs231n 64")
    add("--isa", type=isa, default="best", help="instruction set, to which PyTorch is held")
    add("--repeat", type=positive, default=3, help="least turns of each (%(default)s)")
    add("--min-time", type=float, default=0.1, help="least seconds of each (%(default)s)")
    add("--markdown", action="store_true", help="print the tables as GitHub markdown")
    add("--measure-here", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def of_one_count(options, threads):
    """The arguments of the process that measures on so many threads, and may use no more cores."""
    arguments = ["--measure-here", "--networks", ",".join(options.networks)]
    arguments += ["--threads", str(threads), "--dtype", options.dtype, "--isa", options.isa]
    arguments += ["--repeat", str(options.repeat), "--min-time", str(options.min_time)]
    return arguments if options.batch is None else [*arguments, "--batch", str(options.batch)]


def main(arguments=None):
    options = parse_arguments(arguments)
    if options.measure_here:
        run(options)
        return 0
    for threads in options.threads:
        command = [sys.executable, __file__, *of_one_count(options, threads)]
        with machine.pinned(threads):
            env = machine.environment(threads, "warm", options.isa)
            with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
                rows = [json.loads(line) for line in process.stdout]
        if process.returncode:
            return process.returncode
        table = as_table(rows, threads, options.dtype)
        print(as_markdown(table) if options.markdown else as_text(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
