"""Draws the pictures of the course pages: python docs/course/pictures.py [folder].

One function per picture; its name, with hyphens, is the file's. Units are cells, y points down.
"""

import sys
from io import StringIO
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

import fastconv

STYLE = {
    "svg.hashsalt": "fastconv",
    "svg.fonttype": "none",
    "font.size": 9,
    "font.family": "sans-serif",
    "path.simplify": True,
}
INK, FAINT = "#222222", "#999999"
WHITE, GREY, BLUE, ORANGE, GREEN = "white", "#e4e4e4", "#cfe2f3", "#fbd5b0", "#cfe8c9"
LINES = "#1f6fb4", "#d2691e", "#3a8f3a", "#8a4fb0"


# ---------------------------------------------------------------------------------------------
# Tools


def canvas(width, height, cell=0.36):
    """An empty drawing of so many cells."""
    figure = Figure(figsize=(width * cell, height * cell))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def text(axes, x, y, words, **options):
    options = {"ha": "center", "va": "center", "color": INK, **options}
    axes.text(x, y, words, **options)


def box(axes, x, y, width=1, height=1, fill=WHITE, words="", **options):
    style = {"edgecolor": INK, "linewidth": 0.7, **options}
    axes.add_patch(Rectangle((x, y), width, height, facecolor=fill, clip_on=False, **style))
    if words != "":
        text(axes, x + width / 2, y + height / 2, words)


def grid(axes, x, y, values, fill=WHITE):
    """Cells with numbers; fill: a colour, or a function of row and column."""
    for (i, j), value in np.ndenumerate(np.atleast_2d(values)):
        words = value if isinstance(value, str) else f"{value:g}"
        box(axes, x + j, y + i, 1, 1, fill(i, j) if callable(fill) else fill, words)


def arrow(axes, start, end, color=INK, style="-|>", **options):
    options = {"linewidth": 0.9, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8, **options}
    axes.annotate("", end, start, arrowprops={"arrowstyle": style, "color": color, **options})


def slab(axes, x, y, width, height, depth, fill):
    """A box in space: its front, and the edges of top and right side going back by `depth`."""
    dx, dy = 0.6 * depth, -0.5 * depth
    top = [(x, y), (x + dx, y + dy), (x + width + dx, y + dy), (x + width, y)]
    side = [top[3], top[2], (x + width + dx, y + height + dy), (x + width, y + height)]
    for corners in (top, side):
        axes.add_patch(Polygon(corners, facecolor=fill, edgecolor=INK, linewidth=0.7))
    box(axes, x, y, width, height, fill)


def plot(width=4.6, height=2.7):
    """Axes for curves."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


# ---------------------------------------------------------------------------------------------
# Convolution


def cross_correlation():
    x, w = np.arange(1.0, 7.0), np.array([1.0, 10.0, 100.0])
    y = fastconv.conv_forward(x[None, None], w[None, None])[0, 0]
    figure, axes = canvas(12.5, 6)
    text(axes, 0.8, 1, "x")
    grid(axes, 1.5, 0.5, x, BLUE)
    for p, value in enumerate(y):
        grid(axes, 1.5 + p, 1.6 + p, w, ORANGE)
        arrow(axes, (4.7 + p, 2.1 + p), (9.4, 2.1 + p), FAINT)
        box(axes, 9.5, 1.6 + p, 1.6, 1, GREEN, f"{value:g}")
    text(axes, 0.8, 2.1, "w")
    text(axes, 10.3, 1, "y")
    return figure


def dimensions():
    cost = fastconv.conv_cost((1, 3, 32, 32), (10, 3, 5, 5), padding=2)
    figure, axes = canvas(17, 7.4)
    slab(axes, 0.8, 1.6, 4, 4, 0.8, BLUE)
    slab(axes, 1.4, 2.4, 0.9, 0.9, 0.8, ORANGE)
    text(axes, 2.9, 6.1, "x: 32×32×3")
    slab(axes, 7.3, 3.1, 0.9, 0.9, 0.8, ORANGE)
    text(axes, 7.9, 4.6, "a filter: 5×5×3")
    text(axes, 7.9, 5.3, "75 weights, 1 bias")
    slab(axes, 11, 1.6, 4, 4, 2.4, GREEN)
    text(axes, 13, 6.1, "y: 32×32×10, a channel per filter")
    arrow(axes, (5.5, 3.4), (7, 3.4))
    arrow(axes, (9, 3.4), (10.7, 3.4))
    text(axes, 8.5, 6.9, f"10 filters: {cost.parameters} parameters")
    return figure


def pointwise():
    x = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[1, 0], [0, 9]]], float)
    w = np.array([[1, 1, 1], [1, 0, -1]], float)
    y = fastconv.conv_forward(x[None], w.reshape(2, 3, 1, 1))[0]
    figure, axes = canvas(20, 8.3)

    def plane(left, top, values, colour, name, name_left):
        grid(axes, left, top, values, lambda i, j: colour if i == j == 1 else WHITE)
        text(axes, name_left, top + 1, name)

    text(axes, 9.4, 2.2, "w times the channels of a pixel")
    for c in range(3):
        plane(1.6, 0.5 + 2.6 * c, x[c], BLUE, f"c = {c}", 0.8)
        arrow(axes, (3.75, 2 + 2.6 * c), (5.7, 3.65 + c), FAINT)
    grid(axes, 5.8, 3.15, x[:, 1, 1, None], BLUE)
    arrow(axes, (6.9, 4.65), (7.9, 4.65))
    grid(axes, 8.1, 3.65, w, ORANGE)
    arrow(axes, (11.2, 4.65), (12.2, 4.65))
    grid(axes, 12.4, 3.65, y[:, 1, 1, None], GREEN)
    for k in range(2):
        plane(16.2, 1.7 + 2.9 * k, y[k], GREEN, f"k = {k}", 19)
        arrow(axes, (13.5, 4.15 + k), (16.1, 3.2 + 2.9 * k), FAINT)
    return figure


def matrix():
    w = np.array([1.0, 2.0, 3.0])
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 0.0])
    y = fastconv.conv_forward(x[None, None], w[None, None])[0, 0]
    rows = np.zeros((4, 6))
    for p in range(4):
        rows[p, p : p + 3] = w
    figure, axes = canvas(13.2, 7)
    text(axes, 3.5, 0.6, "A, a row per output")
    colours = {0: WHITE, 1: BLUE, 2: ORANGE, 3: GREEN}
    grid(axes, 0.5, 1.7, rows, lambda p, i: colours[int(rows[p, i])])
    text(axes, 7.1, 3.7, "×")
    text(axes, 8.2, 0.4, "x")
    grid(axes, 7.7, 0.75, x[:, None], GREY)
    text(axes, 9.4, 3.7, "=")
    text(axes, 10.8, 1.2, "y")
    for p, value in enumerate(y):
        box(axes, 10.1, 1.7 + p, 1.4, 1, GREY, f"{value:g}")
    return figure


# ---------------------------------------------------------------------------------------------
# Backward


def backward_1d():
    x, w, dy = np.arange(1.0, 5.0), np.array([1.0, 10.0, 100.0]), np.array([1.0, 2.0])
    dx, dw, _ = (g.ravel() for g in fastconv.conv_backward(*(a[None, None] for a in (dy, x, w))))
    figure, axes = canvas(21.5, 7)
    padded = np.array([0, 0, 1, 2, 0, 0])
    text(axes, 4, 0.5, "dx: padded dy with the reversed filter")
    grid(axes, 1, 1, padded, lambda i, j: GREEN if j in (2, 3) else WHITE)
    for i, value in enumerate(dx):
        grid(axes, 1 + i, 2.2 + i, w[::-1], ORANGE)
        arrow(axes, (4.2 + i, 2.7 + i), (8.2, 2.7 + i), FAINT)
        box(axes, 8.3, 2.2 + i, 1.5, 1, BLUE, f"{value:g}")
    text(axes, 9.05, 1.5, "dx")
    text(axes, 0.5, 1.5, "dy")
    text(axes, 15.5, 0.5, "dw: x with dy")
    grid(axes, 13, 1, x, BLUE)
    text(axes, 12.5, 1.5, "x")
    for r, value in enumerate(dw):
        grid(axes, 13 + r, 2.2 + r, dy, GREEN)
        arrow(axes, (15.2 + r, 2.7 + r), (18.6, 2.7 + r), FAINT)
        box(axes, 18.7, 2.2 + r, 1.5, 1, ORANGE, f"{value:g}")
    text(axes, 19.45, 1.5, "dw")
    return figure


def spray():
    w = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    one = np.zeros((1, 1, 5, 5))
    one[0, 0, 2, 2] = 1
    y = fastconv.conv_forward(one, w)[0, 0]
    dx = fastconv.conv_backward(one[:, :, 1:4, 1:4], one, w).dx[0, 0]
    figure, axes = canvas(22, 6.6)

    def field(x, top, size, name):
        box(axes, x, top, size, size, WHITE)
        text(axes, x + size / 2, 6.1, name)

    field(0.5, 0.5, 5, "x: a single one")
    grid(axes, 2.5, 2.5, one[0, 0, 2:3, 2:3], BLUE)
    arrow(axes, (5.7, 3), (7.1, 3))
    grid(axes, 7.3, 1.5, y, ORANGE)
    text(axes, 8.8, 6.1, "y: w rotated")
    field(12.3, 1.5, 3, "dy: a single one")
    grid(axes, 13.3, 2.5, one[0, 0, 2:3, 2:3], GREEN)
    arrow(axes, (15.5, 3), (16.3, 3))
    field(16.5, 0.5, 5, "dx: w as it is")
    grid(axes, 17.5, 1.5, dx[1:4, 1:4], ORANGE)
    return figure


def strided_backward():
    w, dy = np.array([1.0, 10.0, 100.0]), np.array([1.0, 2.0, 3.0])
    x = np.zeros((1, 1, 7))
    dx = fastconv.conv_backward(dy[None, None], x, w[None, None], stride=2).dx[0, 0]
    figure, axes = canvas(15.5, 7.2)
    text(axes, 0.7, 1, "dy")
    left = 1.4
    centres = [left + 1 + 4 * p + 2 for p in range(3)]
    for centre, value in zip(centres, dy, strict=True):
        box(axes, centre - 0.5, 0.5, fill=GREEN, words=f"{value:g}")
    text(axes, 0.7, 5.2, "dx")
    for i, value in enumerate(dx):
        box(axes, left + 2 * i, 4.7, 1.6, 1, ORANGE if i % 2 else BLUE, f"{value:g}")
        text(axes, left + 2 * i + 0.8, 6.1, "odd" if i % 2 else "even", color=FAINT)
    for p, centre in enumerate(centres):
        for r, name in enumerate(("w₁", "w₂", "w₃")):
            end = left + 2 * (2 * p + r) + 0.8
            colour = LINES[1] if r == 1 else LINES[0]
            arrow(axes, (centre + 0.25 * (r - 1), 1.6), (end + 0.25 * (1 - r), 4.6), colour)
            offset = 0.55 * centre + 0.45 * end
            text(axes, offset + (0.35 if r else -0.35), 2.8, name, color=colour, fontsize=8)
    text(axes, 8.3, 6.8, "even positions meet w₁ and w₃, odd ones w₂")
    return figure


def backward_2d():
    figure, axes = canvas(19.6, 7.2)

    def stack(x, y, size, count, colour, name):
        for layer in reversed(range(count)):
            box(axes, x + 0.4 * layer, y - 0.4 * layer, size, size, colour)
        text(axes, x + size / 2, y + size + 0.6, name)

    # One element of dx.
    text(axes, 4.9, 0.5, "dx[n, c, h, w]: over k, r, s")
    stack(0.6, 2.3, 3, 3, GREEN, "dy, K channels")
    box(axes, 1.1, 2.8, 1.8, 1.8, ORANGE)
    text(axes, 2, 3.7, "w rotated", fontsize=7)
    arrow(axes, (3.2, 3.7), (6.3, 3.7), FAINT)
    stack(6, 2.3, 3, 2, BLUE, "dx, C channels")
    box(axes, 6.5, 3.4, 0.6, 0.6, ORANGE)
    # One element of dw.
    text(axes, 15.4, 0.5, "dw[k, c, r, s]: over n, p, q")
    stack(11.2, 2.3, 3, 3, BLUE, "x[:, c], N images")
    box(axes, 11.7, 2.8, 2.2, 2.2, GREEN)
    text(axes, 12.8, 3.9, "dy[:, k]", fontsize=7)
    arrow(axes, (14, 3.9), (17.1, 3.9), FAINT)
    stack(17, 2.8, 2, 1, ORANGE, "dw[k, c]")
    box(axes, 17.3, 3.5, 0.6, 0.6, GREEN)
    return figure


def pooling():
    x = np.array([[1, 3, 2, 1], [4, 2, 6, 5], [7, 8, 1, 0], [2, 9, 3, 4]], float)[None, None]
    dy = np.array([[10.0, 20.0], [30.0, 40.0]])
    _, indices = fastconv.max_pool_forward(x, 2)
    of_max = fastconv.max_pool_backward(dy[None, None], indices, x.shape)[0, 0]
    of_mean = fastconv.avg_pool_backward(dy[None, None], x.shape, 2)[0, 0]
    figure, axes = canvas(22.5, 6.2)

    def quarter(i, j):
        return (BLUE, ORANGE, GREEN, GREY)[i // 2 * 2 + j // 2]

    def at_maximum(i, j):
        return quarter(i, j) if of_max[i, j] else WHITE

    for left, values, fill, name in (
        (0.7, x[0, 0], at_maximum, "x"),
        (6.3, dy, lambda i, j: quarter(2 * i, 2 * j), "dy"),
        (10.7, of_max, at_maximum, "dx of the maximum"),
        (17.2, of_mean, quarter, "dx of the mean"),
    ):
        size = len(values)
        top = 2.5 - size / 2
        grid(axes, left, top, values, fill)
        if size == 4:
            for i in range(0, 4, 2):
                for j in range(0, 4, 2):
                    box(axes, left + i, top + j, 2, 2, "none", linewidth=1.8)
        text(axes, left + size / 2, 5.3, name)
    return figure


# ---------------------------------------------------------------------------------------------
# Layers


def batch_norm():
    figure, axes = canvas(18.5, 7)
    colours = BLUE, ORANGE, GREEN
    for n in range(2):
        left = 0.8 + 4.6 * n
        for c in reversed(range(3)):
            box(axes, left + 0.7 * c, 2.6 - 0.7 * c, 2, 2, colours[c])
        for third in (2 / 3, 4 / 3):
            axes.plot([left, left + 2], [2.6 + third] * 2, color=INK, linewidth=0.3)
            axes.plot([left + third] * 2, [2.6, 4.6], color=INK, linewidth=0.3)
        text(axes, left + 1.7, 5.2, f"image {n}: H×W×C")
    arrow(axes, (10, 3), (12, 3))
    text(axes, 11, 2.5, "reshape")
    for c in range(3):
        box(axes, 12.7 + 1.5 * c, 0.6, 1.4, 4.6, colours[c])
        text(axes, 13.4 + 1.5 * c, 5.7, f"c = {c}")
    text(axes, 13.3, 6.5, "N·H·W rows; a mean and a variance per column")
    return figure


def relu():
    figure, axes = plot()
    x = np.array([-3.0, -1.5, 0.0, 1.5, 3.0])
    y = fastconv.relu_forward(x)
    axes.plot(x, y, color=LINES[0], label="y = max(x, 0)")
    axes.plot([-3, 0], [0, 0], color=LINES[1], linestyle="--", label="derivative")
    axes.plot([0, 3], [1, 1], color=LINES[1], linestyle="--")
    axes.plot([0], [0], "o", color=LINES[1], markersize=4)
    axes.plot([0], [1], "o", color=LINES[1], markersize=4, markerfacecolor="white")
    axes.set(xlabel="x", xticks=[-2, 0, 2], yticks=[0, 1, 2, 3])
    axes.legend(frameon=False)
    return figure


def affine():
    X = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
    dY = np.array([[1.0, 10.0], [100.0, 0.0]])
    _, dw, _ = fastconv.affine_backward(dY, X, np.zeros((3, 2)))
    figure, axes = canvas(13, 5.6)
    grid(axes, 0.7, 1, X.T, lambda i, n: (BLUE, ORANGE)[n])
    text(axes, 1.7, 4.6, "Xᵀ: D×N")
    text(axes, 3.3, 2.5, "×")

    def wide(left, top, values, fill):
        for (i, j), value in np.ndenumerate(values):
            box(axes, left + 1.4 * j, top + i, 1.4, 1, fill(i), f"{value:g}")

    wide(4, 1.5, dY, lambda n: (BLUE, ORANGE)[n])
    text(axes, 5.4, 4.6, "dY: N×M")
    text(axes, 7.6, 2.5, "=")
    wide(8.4, 1, dw, lambda i: GREEN)
    text(axes, 9.8, 4.6, "dw: D×M")
    text(axes, 6, 0.4, "a colour per row of the batch")
    return figure


def softmax():
    _, dz = fastconv.softmax_cross_entropy(np.log([[1.0, 2.0, 5.0]]), [1])
    p = dz[0] + [0, 1, 0]
    figure, axes = plot()
    place = np.arange(3)
    bars = axes.bar(place - 0.19, p, 0.36, color=BLUE, edgecolor=INK, linewidth=0.7, label="$p$")
    bars_of_gradient = axes.bar(
        place + 0.19, dz[0], 0.36, color=ORANGE, edgecolor=INK, linewidth=0.7, label="$p - e_y$"
    )
    for drawn in (bars, bars_of_gradient):
        axes.bar_label(drawn, fmt="%.3g", padding=2)
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.set(
        xticks=place, xticklabels=["0", "1 (the label)", "2"], ylim=(-0.9, 0.95), xlabel="class"
    )
    axes.legend(frameon=False, loc="lower right")
    return figure


def skip():
    figure, axes = canvas(19, 6)
    nodes = {"x": 0.7, "· w₁": 4, "relu": 7.3, "· w₂": 10.6, "+": 13.9, "y": 17.2}
    for name, left in nodes.items():
        box(axes, left, 2.5, 1.3, 1, {"x": BLUE, "y": BLUE, "+": GREY}.get(name, ORANGE), name)
    lefts = list(nodes.values())
    for start, end in pairwise(lefts):
        arrow(axes, (start + 1.4, 2.8), (end - 0.1, 2.8))
        arrow(axes, (end - 0.1, 3.25), (start + 1.4, 3.25), LINES[2])
    arrow(axes, (1.35, 2.4), (14.55, 2.4), connectionstyle="arc3,rad=-0.2")
    arrow(axes, (14.55, 3.6), (1.35, 3.6), LINES[2], connectionstyle="arc3,rad=-0.2")
    for left, words in ((16.1, "(1, 10)"), (12.8, "(1, 10)"), (9.5, "(3, 11)"), (6.2, "(3, 0)")):
        text(axes, left, 3.75, words, color=LINES[2], fontsize=8)
    text(axes, 2.95, 3.75, "(3, 6)", color=LINES[2], fontsize=8)
    text(axes, 8, 5.35, "(1, 10)", color=LINES[2], fontsize=8)
    text(axes, 8, 0.6, "the skip")
    return figure


# ---------------------------------------------------------------------------------------------
# Derivatives and networks


def differentiation():
    steps = 10.0 ** np.arange(-15, 0.1, 0.25)
    exact = np.cos(1.0)
    one_sided = (np.sin(1 + steps) - np.sin(1)) / steps
    central = (np.sin(1 + steps) - np.sin(1 - steps)) / (2 * steps)
    figure, axes = plot()
    for values, colour, name in (
        (one_sided, LINES[1], "one-sided"),
        (central, LINES[0], "central"),
    ):
        error = np.maximum(np.abs(values - exact), 1e-17).round(17)
        axes.loglog(steps, error, ".-", color=colour, linewidth=0.8, markersize=3, label=name)
    axes.axvline(np.cbrt(np.finfo(float).eps), color=FAINT, linewidth=0.8, linestyle=":")
    axes.set(xlabel="step h", ylabel="error of the derivative of sin at 1", ylim=(1e-14, 3))
    axes.yaxis.label.set_fontsize(8)
    axes.legend(frameon=False, loc="lower right")
    return figure


def chain_rule():
    x = np.array([1.0, -1.0, 2.0, 0.0, -3.0, 1.0])[None, None]
    w, v = np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 100.0, 1000.0])
    z = fastconv.conv_forward(x, w[None, None])[0, 0]
    J_conv = np.zeros((4, 6))
    for p in range(4):
        J_conv[p, p : p + 3] = w
    J_relu = np.diag((z > 0).astype(float))
    figure, axes = canvas(21.5, 6)
    for left, top, values, colour, name in (
        (0.5, 2, v[None], GREEN, "affine 1×4"),
        (7.7, 0.5, J_relu, ORANGE, "ReLU 4×4"),
        (12.9, 0.5, J_conv, BLUE, "convolution 4×6"),
    ):
        step = 1.6 if name.startswith("affine") else 1
        for (i, j), value in np.ndenumerate(values):
            fill = colour if value else WHITE
            box(axes, left + step * j, top + i, step, 1, fill, f"{value:g}" if value else "")
        text(axes, left + values.shape[1] * step / 2, 5.2, name)
    for left in (7.3, 12.3):
        text(axes, left, 2.5, "×")
    return figure


def hidden_layer():
    inputs = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    target = np.array([[0.0], [1.0], [1.0], [0.0]])

    def paths(w0, w1, steps=240):
        b0, b1, kept = np.zeros(4), np.zeros(1), []
        for _ in range(steps):
            kept.append(w0[0])
            z = fastconv.sigmoid_forward(fastconv.affine_forward(inputs, w0, b0))
            y = fastconv.affine_forward(z, w1, b1)
            dz, dw1, db1 = fastconv.affine_backward((y - target) / 4, z, w1)
            da = fastconv.sigmoid_backward(dz, z)
            _, dw0, db0 = fastconv.affine_backward(da, inputs, w0)
            w0, b0, w1, b1 = w0 - dw0, b0 - db0, w1 - dw1, b1 - db1
        return np.round(kept[::4], 3)

    rng = np.random.default_rng(0)
    figure = Figure(figsize=(6.4, 2.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, start, name in (
        (
            left,
            (np.full((2, 4), 0.5), np.full((4, 1), 0.5)),
            "equal at the start: four lines in one",
        ),
        (right, (rng.standard_normal((2, 4)), rng.standard_normal((4, 1))), "random at the start"),
    ):
        for unit, path in enumerate(paths(*start).T):
            width = 7 - 2 * unit if axes is left else 1.2
            axes.plot(np.arange(0, 240, 4), path, color=LINES[unit], linewidth=width)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("first input's weight\ninto each hidden unit")
    return figure


def network_shapes():
    figure, axes = canvas(24.5, 6.7)
    layers = [
        ("conv 3×3", 16, 3, 1),
        ("pool 2×2", None, 2, 0),
        ("conv 3×3", 32, 3, 0),
        ("pool 2×2", None, 2, 1),
        ("conv 1×1", 8, 1, 0),
        ("conv 5×5", 4, 5, 0),
    ]

    def array(left, shape):
        """Draws (C, H, W); returns its right edge."""
        height, width = shape[1] / 20, 0.2 + shape[0] / 25
        slab(axes, left, 3 - height / 2, width, height, 0.4, BLUE)
        text(axes, left + width / 2 + 0.1, 5.1, "×".join(map(str, shape)), fontsize=8)
        return left + width + 0.3

    def layer(right, left, name, parameters):
        arrow(axes, (right + 0.1, 3), (left - 0.15, 3))
        text(axes, (right + left) / 2, 0.6, name, fontsize=8)
        text(axes, (right + left) / 2, 6.1, f"{parameters}", color=LINES[1])

    shape, left = (1, 3, 64, 64), 2
    right = array(left, shape[1:])
    for name, channels, kernel, padding in layers:
        left, parameters = left + 3.1, 0
        if channels:
            w_shape = (channels, shape[1], kernel, kernel)
            cost = fastconv.conv_cost(shape, w_shape, padding=padding)
            shape, parameters = cost.output_shape, cost.parameters
        else:
            shape = fastconv.pool_output_shape(shape, kernel, padding=padding)
        layer(right, left, name, parameters)
        right = array(left, shape[1:])
    left += 2.7
    layer(right, left, "linear", 576 * 10 + 10)
    box(axes, left, 2.2, 0.3, 1.6, GREEN)
    text(axes, left + 0.2, 5.1, "10", fontsize=8)
    text(axes, 0.2, 6.1, "parameters", color=LINES[1], ha="left")
    return figure


PICTURES = (
    cross_correlation,
    dimensions,
    pointwise,
    matrix,
    backward_1d,
    spray,
    strided_backward,
    backward_2d,
    pooling,
    batch_norm,
    relu,
    affine,
    softmax,
    skip,
    differentiation,
    chain_rule,
    hidden_layer,
    network_shapes,
)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for picture in PICTURES:
            path = folder / f"{picture.__name__.replace('_', '-')}.svg"
            svg = StringIO()
            picture().savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
            lines = svg.getvalue().splitlines()
            path.write_text("".join(line.rstrip() + "\n" for line in lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
