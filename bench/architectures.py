"""Real networks as lists of operators, for networks.py: shapes, and which value feeds which.

ResNet-50 (He et al. 2016, the stride in the 3x3 convolution), VGG-16 (Simonyan & Zisserman 2015,
configuration D), MobileNetV2 (Sandler et al. 2018, with ReLU for ReLU6), U-Net (Ronneberger et al.
2015, padded), and the three-layer net of CS231n's second assignment.
"""

from __future__ import annotations

from dataclasses import dataclass

from layers import Layer, image_layer


@dataclass(frozen=True)
class Node:
    """One operator: a method of this name in networks.py runs it.

    inputs: positions of the nodes it reads. shape: of its result, without the batch.
    parameters: shapes of its weights. layer: its geometry, of convolutions and pools. relu: its
    result goes through ReLU, a norm's after the residual, its second input, if it has one.
    """

    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    parameters: tuple[tuple[int, ...], ...] = ()
    layer: Layer | None = None
    relu: bool = False


class Network:
    """Methods append a node and return its position; the last node is the network's result."""

    def __init__(self, name, batch, image):
        self.name, self.batch = name, batch
        self.nodes = [Node("input", (), image)]

    @property
    def convolutions(self):
        """The layers, and for each whether dx is needed: not where it reads the images."""
        return [(node.layer, node.inputs != (0,)) for node in self.nodes if node.kind == "conv"]

    def _append(self, *arguments, **options):
        self.nodes.append(Node(*arguments, **options))
        return len(self.nodes) - 1

    def _window(self, x, K, R, stride, pad, groups=1):
        C, H, W = self.nodes[x].shape
        name = f"{self.name}_{len(self.nodes)}"
        return image_layer(name, self.batch, C, H, W, K, R, R, stride, pad, pad, 1, groups)

    def conv(self, x, K, R, stride=1, groups=1, *, bias=False, relu=False):
        layer = self._window(x, K, R, stride, R // 2, groups)
        parameters = (layer.w_shape, (K,)) if bias else (layer.w_shape,)
        return self._append("conv", (x,), layer.y_shape[1:], parameters, layer, relu)

    def conv_transpose(self, x, K):
        """Twice as high and wide: 2x2, stride 2."""
        C, H, W = self.nodes[x].shape
        return self._append("conv_transpose", (x,), (K, 2 * H, 2 * W), ((C, K, 2, 2), (K,)))

    def norm(self, x, *, relu=True, residual=None):
        shape = self.nodes[x].shape
        inputs = (x,) if residual is None else (x, residual)
        return self._append("norm", inputs, shape, ((shape[0],), (shape[0],)), relu=relu)

    def relu(self, x):
        return self._append("relu", (x,), self.nodes[x].shape)

    def max_pool(self, x, R, stride, pad=0):
        layer = self._window(x, self.nodes[x].shape[0], R, stride, pad)
        return self._append("max_pool", (x,), layer.y_shape[1:], (), layer)

    def mean(self, x):
        """Over each plane."""
        return self._append("mean", (x,), self.nodes[x].shape[:1])

    def flat(self, x):
        C, H, W = self.nodes[x].shape
        return self._append("flat", (x,), (C * H * W,))

    def dense(self, x, features):
        inputs = self.nodes[x].shape[0]
        return self._append("dense", (x,), (features,), ((inputs, features), (features,)))

    def join(self, a, b):
        """Channels of a, then of b."""
        (channels_a, *size), (channels_b, *_) = self.nodes[a].shape, self.nodes[b].shape
        return self._append("join", (a, b), (channels_a + channels_b, *size))


def resnet50(batch, size=224):
    net = Network("resnet50", batch, (3, size, size))
    x = net.norm(net.conv(0, 64, 7, 2))
    x = net.max_pool(x, 3, 2, 1)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = net.norm(net.conv(x, width, 1))
            y = net.norm(net.conv(y, width, 3, stride))
            if not block:
                x = net.norm(net.conv(x, 4 * width, 1, stride), relu=False)
            x = net.norm(net.conv(y, 4 * width, 1), residual=x)
    net.dense(net.mean(x), 1000)
    return net


def vgg16(batch, size=224):
    net, x = Network("vgg16", batch, (3, size, size)), 0
    for width, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            x = net.conv(x, width, 3, bias=True, relu=True)
        x = net.max_pool(x, 2, 2)
    x = net.flat(x)
    for features in (4096, 4096):
        x = net.relu(net.dense(x, features))
    net.dense(x, 1000)
    return net


def mobilenet_v2(batch, size=224):
    net = Network("mobilenet_v2", batch, (3, size, size))
    x = net.norm(net.conv(0, 32, 3, 2))
    blocks = (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)
    for factor, width, count, first in (*blocks, (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for block in range(count):
            stride, C = 1 if block else first, net.nodes[x].shape[0]
            y = net.norm(net.conv(x, factor * C, 1)) if factor > 1 else x
            y = net.norm(net.conv(y, factor * C, 3, stride, factor * C))
            x = net.norm(net.conv(y, width, 1), relu=False, residual=x if block else None)
    x = net.norm(net.conv(x, 1280, 1))
    net.dense(net.mean(x), 1000)
    return net


def unet(batch, size=224):
    net, x, kept = Network("unet", batch, (3, size, size)), 0, []

    def twice(x, width):
        for _ in range(2):
            x = net.conv(x, width, 3, bias=True, relu=True)
        return x

    for width in (64, 128, 256, 512):
        kept.append(twice(x, width))
        x = net.max_pool(kept[-1], 2, 2)
    x = twice(x, 1024)
    for width in (512, 256, 128, 64):
        x = twice(net.join(kept.pop(), net.conv_transpose(x, width)), width)
    net.conv(x, 2, 1, bias=True)
    return net


def cs231n(batch, size=32):
    net = Network("cs231n", batch, (3, size, size))
    x = net.max_pool(net.conv(0, 32, 7, bias=True, relu=True), 2, 2)
    net.dense(net.relu(net.dense(net.flat(x), 100)), 10)
    return net


# Name: the function, and the batch and size that networks.py takes unasked.
NETWORKS = {
    "resnet50": (resnet50, 8, 224),
    "vgg16": (vgg16, 8, 224),
    "mobilenet_v2": (mobilenet_v2, 8, 224),
    "unet": (unet, 8, 224),
    "cs231n": (cs231n, 64, 32),
}
