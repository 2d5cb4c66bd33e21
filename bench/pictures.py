"""Ratios to each peer, as bars and sorted, and the roofline of convolutions. Needs matplotlib."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import report
from layers import OPS

# Okabe and Ito's colours, told apart by colour-blind eyes too.
COLOURS = {
    "numpy": "#999999",
    "pytorch": "#e69f00",
    "onnxruntime": "#56b4e9",
    "openvino": "#009e73",
    "jax": "#f0e442",
    "ncnn": "#0072b2",
    "mnn": "#d55e00",
}
MARKERS = {"forward": "o", "dx": "^", "dw": "s"}
BARS = 60  # layers; of more there are no bars
MANY = 12  # layers; more of them are not named in the roofline


def _as_ratio(value, _):
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"


def _bars(axes, results, table, threads):
    peers, tasks = results.peers(table), results.rows(table)
    where = {"threads": threads, "malloc": results.mallocs[0]}
    width = 0.85 / max(1, len(peers))
    for i, peer in enumerate(peers):
        heights = [
            report.ratio(results.record(**where, **task.key, peer=peer)) or np.nan for task in tasks
        ]
        at = np.arange(len(tasks)) + (i - (len(peers) - 1) / 2) * width
        # From 1 up or down, so that a bar that hangs is a peer that is faster.
        axes.bar(at, np.array(heights) - 1, width, bottom=1, color=COLOURS[peer])
    axes.axhline(1, color="black", linewidth=1)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(_as_ratio)
    axes.set_xlim(-0.6, len(tasks) - 0.4)
    axes.set_xticks(range(len(tasks)), [task.label for task in tasks], rotation=60, ha="right")
    axes.set_ylabel("peer's time / fastconv's")
    axes.set_title(results.heading(table, threads), loc="left")
    axes.grid(axis="y", linewidth=0.4)
    axes.set_axisbelow(True)


def draw_ratios(results, tables, path):
    """One panel per table and number of threads; those of convolutions share their layers."""
    panels = [(table, t) for t in results.settings["threads"] for table in tables]
    shared, widest = tables[0] in OPS, max(len(results.rows(table)) for table in tables)
    names = 0.065 * max(len(task.label) for table in tables for task in results.rows(table))
    height = 0.7 + names + 2.6 * len(panels) if shared else 5.2 * len(panels)
    size = (max(8, 2 + 0.55 * widest), height)
    figure, axes = plt.subplots(len(panels), 1, figsize=size, squeeze=False, sharex=shared)
    for panel, (table, threads) in zip(axes[:, 0], panels, strict=True):
        _bars(panel, results, table, threads)
    keys = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[p]) for p in results.settings["peers"]]
    if keys:
        options = {"loc": "upper center", "ncols": len(keys), "frameon": False}
        figure.legend(keys, results.settings["peers"], **options)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.4 / size[1]))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_sorted(results, ops, path):
    """All ratios to a peer, sorted, one line an op; a panel per peer and number of threads."""
    counts, peers = results.settings["threads"], results.peers(ops[0])
    size = (1 + 4.5 * len(peers), 1 + 3.2 * len(counts))
    figure, axes = plt.subplots(
        len(counts), len(peers), figsize=size, squeeze=False, sharex=True, sharey=True
    )
    for (row, threads), (column, peer) in itertools.product(enumerate(counts), enumerate(peers)):
        panel = axes[row, column]
        for op, colour in zip(ops, ("ncnn", "mnn", "openvino"), strict=False):
            values = sorted(report.ratios(results, op, threads, peer).values())
            at = (np.arange(len(values)) + 0.5) / max(1, len(values))
            panel.plot(100 * at, values, color=COLOURS[colour], label=results.measured(op))
        panel.set_title(f"{peer}, {threads} thread{'s' if threads > 1 else ''}", loc="left")
        panel.axhline(1, color="black", linewidth=1)
        panel.set_yscale("log", base=2)
        panel.yaxis.set_major_formatter(_as_ratio)
        panel.grid(linewidth=0.4)
    for panel in axes[-1]:
        panel.set_xlabel("% of the layers")
    for panel in axes[:, 0]:
        panel.set_ylabel("peer's time / fastconv's")
    axes[0, 0].legend(frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _best_peer(results, **where):
    records = [r for r in results.select(**where) if r["peer"] and r["status"] in report.TIMED]
    return min((r["theirs"]["best"] for r in records), default=None)


def _points(axes, results, op, threads, named):
    """fastconv filled, the best peer hollow."""
    dtype, tasks = results.settings["dtype"], results.rows(op)
    where = {"op": op, "threads": threads, "malloc": results.mallocs[0]}
    for layer in (task.subject for task in tasks):
        at = layer.intensity(op, dtype)
        ours = results.ours(**where, layer=layer.name)
        theirs = _best_peer(results, **where, layer=layer.name)
        if theirs:
            rate = layer.flops / theirs / 1e9
            axes.plot(at, rate, MARKERS[op], mfc="none", mec=COLOURS["mnn"], alpha=0.7)
        if ours:
            rate = layer.flops / ours / 1e9
            axes.plot(at, rate, MARKERS[op], color=COLOURS["ncnn"])
            if named and len(tasks) <= MANY:
                spot = {"xytext": (4, -9), "textcoords": "offset points", "fontsize": 7}
                axes.annotate(layer.name, (at, rate), **spot)


def _roof(axes, limits):
    peak, bandwidth = limits["peak"] / 1e9, limits["bandwidth"] / 1e9
    low, high = axes.get_xlim()
    intensities = np.geomspace(low, high, 200)
    label = f"{peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s"
    axes.plot(intensities, np.minimum(peak, bandwidth * intensities), "k-", lw=1.2, label=label)
    axes.set_xlim(low, high)


def draw_roofline(results, ops, path):
    """Rates count the multiply-adds of the definition, so Winograd may pass the roof."""
    counts = [t for t in results.settings["threads"] if t in results.limits]
    figure, axes = plt.subplots(
        1, len(counts), figsize=(7 * len(counts), 5.5), squeeze=False, sharey=True
    )
    for panel, threads in zip(axes[0], counts, strict=True):
        panel.set_xscale("log", base=2)
        panel.set_yscale("log", base=2)
        panel.margins(x=0.15, y=0.1)
        for op in ops:
            _points(panel, results, op, threads, named=op == ops[0])
            panel.plot([], [], "k" + MARKERS[op], label=results.measured(op))
        panel.plot([], [], "o", color=COLOURS["ncnn"], label="fastconv")
        panel.plot([], [], "o", mfc="none", mec=COLOURS["mnn"], label="best peer")
        _roof(panel, results.limits[threads])
        panel.xaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_xlabel("FLOP per byte of operands and result")
        panel.set_title(f"{threads} thread{'s' if threads > 1 else ''}", loc="left")
        panel.grid(linewidth=0.4)
        panel.legend(fontsize="small", frameon=False, loc="lower right")
    axes[0, 0].set_ylabel("GFLOP/s")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw(results, folder):
    shown = [table for table in results.settings["ops"] if results.rows(table)]
    convolutions = [table for table in shown if table in OPS]
    operators = [table for table in shown if table not in OPS]
    paths = []
    for name, tables in (("ratios.png", convolutions), ("operators.png", operators)):
        if tables and max(len(results.rows(table)) for table in tables) <= BARS:
            paths.append(Path(folder, name))
            draw_ratios(results, tables, paths[-1])
    if convolutions and results.peers(convolutions[0]):
        paths.append(Path(folder, "sorted.png"))
        draw_sorted(results, convolutions, paths[-1])
    if convolutions and results.limits:
        paths.append(Path(folder, "roofline.png"))
        draw_roofline(results, convolutions, paths[-1])
    return paths
