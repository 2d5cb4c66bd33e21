"""The rounding errors of "auto" beside those of direct sums, on real layers.

    python bench/accuracy.py --layers '*3x3*,conv5x5'

Results in float32 of standard normal data are compared with float64: the root mean square of the
differences over that of the results. Columns are the error of direct sums (implicit_gemm), and
that of auto, of accuracy "normal" and "high", over it. Below the table stand the bounds that the
package promises: 4 and 1.5; the exit status is 1 if one is passed.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from layers import load, random_problem, select

BOUNDS = {"normal": 4.0, "high": 1.5}


def relative_error(actual, exact):
    return float(np.sqrt(np.mean((actual - exact) ** 2) / np.mean(exact**2)))


def results(problem, dtype, algorithm):
    """y, dx, dw."""
    import fastconv

    x, w, dy = (array.astype(dtype) for array in (problem.x, problem.w, problem.dy))
    layer, options = problem.layer, problem.geometry | {"algorithm": algorithm}
    if layer.R == layer.H == 1:  # the height of a signal has one tap, which reaches nowhere
        options["dilation"] = (1, layer.dilation[1])
    y = fastconv.conv_forward(x, w, **options)
    dx, dw, _ = fastconv.conv_backward(dy, x, w, need=("dx", "dw"), **options)
    return y, dx, dw


def errors_of(layer, seed=0):
    """Of direct sums; by accuracy, those of auto over them: of y, dx and dw each."""
    import fastconv

    problem = random_problem(layer, "forward", dtype=np.float32, threads=1, seed=seed)
    exact = results(problem, np.float64, "implicit_gemm")

    def errors(algorithm):
        near = results(problem, np.float32, algorithm)
        return [relative_error(a, b) for a, b in zip(near, exact, strict=True)]

    direct = errors("implicit_gemm")
    ratios = {}
    for level in BOUNDS:
        with fastconv.accuracy(level):
            ratios[level] = [a / b for a, b in zip(errors("auto"), direct, strict=True)]
    return direct, ratios


def main(arguments=None):
    summary, _, details = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", default="*", help="names or patterns of layers.csv")
    parser.add_argument("--seed", type=int, default=0, help="of the random data")
    options = parser.parse_args(arguments)
    layers = {layer.name: layer for layer in load()}
    try:
        names = select(options.layers.split(","), list(layers))
    except ValueError as error:
        parser.error(str(error))
    print("| layer | direct: forward | dx | dw | normal | dx | dw | high | dx | dw |")
    print("|---|" + "---:|" * 9)
    worst = dict.fromkeys(BOUNDS, 0.0)
    for name in names:
        direct, ratios = errors_of(layers[name], options.seed)
        cells = [f"{error:.1e}" for error in direct]
        for level, found in ratios.items():
            cells += [f"{ratio:.2f}" for ratio in found]
            worst[level] = max(worst[level], *found)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    for level, bound in BOUNDS.items():
        print(f"{level}: at most {worst[level]:.2f} times direct sums, promised {bound}")
    return int(any(worst[level] > bound for level, bound in BOUNDS.items()))


if __name__ == "__main__":
    sys.exit(main())
