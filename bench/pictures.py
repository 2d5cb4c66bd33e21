"""Bars of the ratios to each peer, and the roofline. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import report

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
MANY = 12  # layers; more of them are not named in the roofline


def _panels(results):
    return [(op, t) for t in results.settings["threads"] for op in results.settings["ops"]]


def _bars(axes, results, op, threads):
    peers, layers = results.peers(op), results.layers
    where = {"op": op, "threads": threads, "malloc": results.mallocs[0]}
    width = 0.85 / max(1, len(peers))
    for i, peer in enumerate(peers):
        heights = [
            report.ratio(results.record(**where, layer=layer.name, peer=peer)) or np.nan
            for layer in layers
        ]
        at = np.arange(len(layers)) + (i - (len(peers) - 1) / 2) * width
        # From 1 up or down, so that a bar that hangs is a peer that is faster.
        axes.bar(at, np.array(heights) - 1, width, bottom=1, color=COLOURS[peer])
    axes.axhline(1, color="black", linewidth=1)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}" if v >= 1 else f"1/{1 / v:g}")
    axes.set_xlim(-0.6, len(layers) - 0.4)
    axes.set_xticks(range(len(layers)), [layer.name for layer in layers], rotation=60, ha="right")
    axes.set_ylabel("peer's time / fastconv's")
    axes.set_title(results.heading(op, threads), loc="left")
    axes.grid(axis="y", linewidth=0.4)
    axes.set_axisbelow(True)


def draw_ratios(results, path):
    panels = _panels(results)
    size = (max(8, 2 + 0.55 * len(results.layers)), 2 + 2.6 * len(panels))
    figure, axes = plt.subplots(len(panels), 1, figsize=size, squeeze=False, sharex=True)
    for panel, (op, threads) in zip(axes[:, 0], panels, strict=True):
        _bars(panel, results, op, threads)
    keys = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[p]) for p in results.settings["peers"]]
    if keys:
        options = {"loc": "upper center", "ncols": len(keys), "frameon": False}
        figure.legend(keys, results.settings["peers"], **options)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.4 / size[1]))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _best_peer(results, **where):
    records = [r for r in results.select(**where) if r["peer"] and r["status"] in report.TIMED]
    return min((r["theirs"]["best"] for r in records), default=None)


def _points(axes, results, op, threads):
    """fastconv filled, the best peer hollow."""
    dtype = results.settings["dtype"]
    where = {"op": op, "threads": threads, "malloc": results.mallocs[0]}
    for layer in results.layers:
        at = layer.intensity(op, dtype)
        ours = results.ours(**where, layer=layer.name)
        theirs = _best_peer(results, **where, layer=layer.name)
        if theirs:
            rate = layer.flops / theirs / 1e9
            axes.plot(at, rate, MARKERS[op], mfc="none", mec=COLOURS["mnn"], alpha=0.7)
        if ours:
            rate = layer.flops / ours / 1e9
            axes.plot(at, rate, MARKERS[op], color=COLOURS["ncnn"])
            if len(results.layers) <= MANY and op == results.settings["ops"][0]:
                spot = {"xytext": (4, -9), "textcoords": "offset points", "fontsize": 7}
                axes.annotate(layer.name, (at, rate), **spot)


def _roof(axes, limits):
    peak, bandwidth = limits["peak"] / 1e9, limits["bandwidth"] / 1e9
    low, high = axes.get_xlim()
    intensities = np.geomspace(low, high, 200)
    label = f"{peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s"
    axes.plot(intensities, np.minimum(peak, bandwidth * intensities), "k-", lw=1.2, label=label)
    axes.set_xlim(low, high)


def draw_roofline(results, path):
    """Rates count the multiply-adds of the definition, so Winograd may pass the roof."""
    counts = [t for t in results.settings["threads"] if t in results.limits]
    figure, axes = plt.subplots(
        1, len(counts), figsize=(7 * len(counts), 5.5), squeeze=False, sharey=True
    )
    for panel, threads in zip(axes[0], counts, strict=True):
        panel.set_xscale("log", base=2)
        panel.set_yscale("log", base=2)
        panel.margins(x=0.15, y=0.1)
        for op in results.settings["ops"]:
            _points(panel, results, op, threads)
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
    paths = [Path(folder, "ratios.png"), Path(folder, "roofline.png")]
    draw_ratios(results, paths[0])
    if not results.limits:
        return paths[:1]
    draw_roofline(results, paths[1])
    return paths
