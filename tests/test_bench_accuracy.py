"""The benchmark of rounding errors: its bounds hold on a layer, and are noticed elsewhere."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = str(Path(__file__).parents[1] / "bench")
sys.path.append(BENCH)
try:
    import accuracy
finally:
    sys.path.remove(BENCH)


def test_bounds_hold_on_a_layer(capsys):
    assert accuracy.main(["--layers", "rn50_l3_3x3_b1"]) == 0
    header, _, row, normal, high = capsys.readouterr().out.splitlines()
    assert header.count("|") == row.count("|") == 11
    ratios = [float(cell) for cell in row.split("|")[5:11]]
    assert all(1 < ratio <= 4 for ratio in ratios[:3])
    # Of dw the errors are as large as those of direct sums: 0.98 to 1.00 by the instruction set.
    assert all(0 < ratio < 1 for ratio in ratios[3:5]) and 0 < ratios[5] <= 1.5
    assert normal.endswith("promised 4.0") and high.endswith("promised 1.5")


def test_a_worse_error_is_noticed(monkeypatch):
    right = accuracy.results

    def wrong(problem, dtype, algorithm):
        y, dx, dw = right(problem, dtype, algorithm)
        return (y * np.float32(1 + 1e-4 * (algorithm == "auto")), dx, dw)

    monkeypatch.setattr(accuracy, "results", wrong)
    assert accuracy.main(["--layers", "cs231n_notebook"]) == 1


def test_unknown_layers_are_refused():
    with pytest.raises(SystemExit):
        accuracy.main(["--layers", "nothing"])
