"""The benchmark's layers: both files are whole, peers agree with exact elements, ratios add up."""

import sys
from pathlib import Path

import pytest

BENCH = str(Path(__file__).parents[1] / "bench")
sys.path.append(BENCH)
try:
    import compare
    import layers
    import measure
    import report
    from library import Fastconv
    from peers import Jax, NumpyIm2col, PyTorch
finally:
    sys.path.remove(BENCH)


@pytest.fixture(autouse=True)
def pytorch_keeps_its_gradients():
    """The peer switches them off, for all of a process."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_grad_enabled(True)


LAYERS = {
    "signal": layers.image_layer("signal", 2, 4, 1, 17, 6, 1, 3, 1, 0, 2, 2, 1),
    "strided": layers.image_layer("strided", 2, 3, 9, 8, 4, 3, 3, 2, 1, 1, 1, 1),
    "grouped": layers.image_layer("grouped", 2, 4, 7, 7, 6, 3, 2, 1, 1, 0, 2, 2),
    "uneven": layers.Layer("uneven", 1, 2, (8, 9), 3, (3, 2), (2, 3), (1, 0), (1, 2), 1),
    "volume": layers.Layer(
        "volume", 2, 4, (5, 6, 7), 4, (3, 2, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2), 2
    ),
}
CASES = [(name, op) for name in LAYERS for op in layers.OPS]


@pytest.mark.parametrize(
    "library", [NumpyIm2col(), PyTorch(), Jax(), Fastconv()], ids=lambda a: a.name
)
@pytest.mark.parametrize("name, op", CASES, ids=map("-".join, CASES))
def test_every_library_has_the_defined_sums(name, op, library):
    if library.missing():
        pytest.skip(f"not installed: {', '.join(library.missing())}")
    problem = layers.random_problem(LAYERS[name], op, dtype="float32", threads=1)
    for way in library.ways(problem):
        found = measure.spot_check(problem, way.result(way.run()))
        assert found.error <= measure.TOLERANCE, f"{way.name}: {found.reason}"


@pytest.mark.parametrize("name", layers.SETS)
def test_names_of_a_set_are_different_and_no_output_is_empty(name):
    found = layers.load(name)
    assert len({layer.name for layer in found}) == len(found)
    assert not any("," in layer.name for layer in found)  # --layers separates by it
    assert all(min(layer.y_shape) > 0 for layer in found)


def test_the_zoo_has_layers_of_every_kind():
    zoo = layers.load("zoo")
    assert len(zoo) == 829
    assert {layer.kind for layer in zoo} == set(layers.KINDS)


@pytest.mark.parametrize(
    "kind, layer",
    [
        ("1x1", layers.image_layer("", 1, 8, 5, 5, 8, 1, 1, 2, 0, 0, 1, 1)),
        ("3x3", layers.image_layer("", 1, 8, 5, 5, 8, 3, 3, 1, 1, 1, 1, 1)),
        ("stem", layers.image_layer("", 1, 3, 9, 9, 8, 3, 3, 1, 1, 1, 1, 1)),
        ("patches", layers.image_layer("", 1, 3, 8, 8, 8, 4, 4, 4, 0, 0, 1, 1)),
        ("other", layers.image_layer("", 1, 8, 9, 9, 8, 5, 5, 1, 2, 2, 1, 1)),
        ("depthwise", layers.image_layer("", 1, 8, 5, 5, 16, 3, 3, 1, 1, 1, 1, 8)),
        ("grouped", layers.image_layer("", 1, 8, 5, 5, 8, 3, 3, 1, 1, 1, 1, 4)),
        ("volume", LAYERS["volume"]),
    ],
)
def test_a_layer_is_of_its_kind(kind, layer):
    assert layer.kind == kind


def test_a_sample_is_the_same_for_the_same_seed_and_keeps_the_order():
    numbers = list(range(100))
    first = layers.sample(numbers, 20, seed=1)
    assert first == layers.sample(numbers, 20, seed=1) == sorted(set(first))
    assert len(first) == 20 and first != layers.sample(numbers, 20, seed=2)
    assert layers.sample(numbers, 500, seed=1) == numbers


def test_options_choose_a_sample_of_a_set():
    options = compare.parse_arguments("--set zoo --layers resnet* --sample 3 --seed 1".split())
    assert len(options.layers) == 3 and all(name.startswith("resnet") for name in options.layers)


def test_ratios_are_spread_by_kind():
    """Nine 1x1 layers of ratio 1 and 3x3 layers of ratios 0.5 and 2."""
    zoo = layers.load("zoo")
    ones = [layer.name for layer in zoo if layer.kind == "1x1"][:9]
    threes = [layer.name for layer in zoo if layer.kind == "3x3"][:2]
    times = dict.fromkeys(ones, 1.0) | dict(zip(threes, (0.5, 2.0), strict=True))
    records = [
        {"malloc": "warm", "threads": 1, "layer": name, "op": "dx", "peer": "pytorch"}
        | {"status": "ok", "reason": "", "ours": {"best": 1.0}, "theirs": {"best": time}}
        for name, time in times.items()
    ]
    settings = {"set": "zoo", "layers": list(times), "problems": [], "ops": ["dx"], "plan": False}
    settings |= {"peers": ["pytorch"], "threads": [1], "layout": "NCHW"}
    found = report.spread(report.Results({}, settings, {}, [], records), "dx", 1)
    assert found.rows[0] == ["pytorch", "1x1", "9", *["1.00"] * 7, "0%", "0%"]
    assert found.rows[1][:5] == ["pytorch", "3x3", "2", "1.00", "0.50"]
    assert found.rows[1][-2:] == ["50%", "50%"]
    (whole,) = found.summary
    assert whole[:5] == ["pytorch", "all", "11", "1.00", "0.50"] and whole[-1] == "9%"


def test_a_comparison_on_the_zoo_prints_and_draws(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(BENCH)
    chosen = [layer.name for layer in layers.load("zoo") if layer.flops < 3e6][:10]
    arguments = ["--set", "zoo", "--layers", ",".join(chosen), "--peers", "numpy", "--threads", "1"]
    arguments += ["--repeat", "1", "--min-time", "0", "--ops", "dx", "--out", str(tmp_path)]
    assert compare.main(arguments) == 0
    assert "ratios by kind" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "compare.json",
        "ratios.png",
        "sorted.png",
        "roofline.png",
    }


def test_exact_elements_skip_the_padding():
    """All ones: an element counts its taps on the data."""
    layer = LAYERS["volume"]
    problem = layers.random_problem(layer, "forward", dtype="float32", threads=1)
    for array in (problem.x, problem.w, problem.dy):
        array[...] = 1
    problem.b[...] = 0
    # At the corner 2 of 3 taps in depth, 2 of 2 in height, 2 of 3 in width, 2 channels of a group.
    assert problem.exact("y", (0, 0, 0, 0, 0)) == 2 * 2 * 2 * 2
    depths, heights, widths = layer.out_size
    assert problem.exact("dw", (0, 0, 1, 0, 1)) == layer.N * depths * heights * widths
    # Its element of x is seen by 2 outputs in depth, 1 in height, 1 in width, of 2 filters.
    assert problem.exact("dx", (0, 0, 0, 0, 0)) == 2 * 1 * 1 * 2
