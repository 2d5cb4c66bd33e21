"""The benchmark's operators: data, exact elements and peers agree; a wrong result is noticed."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv

BENCH = str(Path(__file__).parents[1] / "bench")
sys.path.append(BENCH)
try:
    import machine
    import measure
    import numpy_operators
    import operators
    import report
    import tasks
    import torch_operators
    from library import Fastconv, Refusal
finally:
    sys.path.remove(BENCH)

SMALL = (
    operators._pool("pool", (2, 3, 9, 8), 3, 2, 1),
    operators._pool("mosaic", (2, 3, 8, 8), 2, 2, 0),
    operators._pool("overlapping", (2, 3, 7, 6), 5, 1, 2),
    operators._pool("global", (2, 3, 5, 5), 5, 5, 0, kinds=("adaptive_avg_pool",)),
    operators._transpose("transpose", (2, 4, 5, 6), 6, 4, 2, 1, groups=2),
    operators._transpose("output_padding", (1, 3, 4, 4), 2, 5, 4, 2, output_padding=3),
    operators._columns("columns", (2, 3, 7, 8), 3, 1, 1),
    operators._columns("strided_columns", (2, 3, 9, 9), 5, 2, 2),
    operators.BatchNorm("norm", (3, 4, 5, 6)),
    operators.BatchNorm("norm_dense", (9, 4)),
    operators.Activation("activation", (2, 3, 4, 5)),
    operators.CrossEntropy("scores", 6, 5),
)
CASES = [(one, op) for one in SMALL for op in one.ops]
IDS = [f"{one.name}-{op}" for one, op in CASES]


def small(one, op, dtype="float64", layout="NCHW"):
    return operators.random_operator_problem(one, op, dtype=dtype, threads=1, layout=layout)


def all_right(problem, ways):
    for way in ways:
        results = way.result(way.run())
        assert [a.dtype for a in results if a.dtype.kind == "f"] in (
            [problem.dtype] * len(results),
            [problem.dtype] * (len(results) - 1),  # and indices
        )
        found = measure.spot_check(problem, results)
        assert found.error <= measure.TOLERANCE, f"{way.name}: {found.reason}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("one, op", CASES, ids=IDS)
def test_numpy_is_right(one, op, dtype):
    if op not in numpy_operators.OPS:
        pytest.skip("no NumPy version")
    problem = small(one, op, dtype)
    all_right(problem, numpy_operators.ways(problem))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("one, op", CASES, ids=IDS)
def test_pytorch_is_right(one, op, layout):
    torch = pytest.importorskip("torch")
    problem = small(one, op, layout=layout)
    all_right(problem, torch_operators.ways(torch, problem))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("one, op", CASES, ids=IDS)
def test_fastconv_is_right(one, op, layout):
    problem = small(one, op, layout=layout)
    try:
        all_right(problem, Fastconv().ways(problem))
    except Refusal as refusal:
        pytest.skip(str(refusal))


@pytest.mark.parametrize("one, op", CASES, ids=IDS)
def test_a_wrong_element_is_noticed(one, op):
    """As far from right as a float32 sum may not be, in each of the results."""
    torch = pytest.importorskip("torch")
    problem = small(one, op, "float32")
    way = torch_operators.ways(torch, problem)[0]
    right = [a.copy() for a in way.result(way.run())]
    assert measure.compare(problem, right, [a.copy() for a in right]).error == 0
    for i, name in enumerate(problem.result_names):
        wrong = [a.copy() for a in right]
        step = 1 if wrong[i].dtype.kind == "i" else max(2.0**13 * problem.unit(name), 1e-6)
        wrong[i].flat[0] += step
        found = measure.compare(problem, right, wrong)
        assert found.error > measure.TOLERANCE and not found.ours_wrong
        assert measure.compare(problem, wrong, right).ours_wrong
        assert measure.spot_check(problem, wrong).error > measure.TOLERANCE


@pytest.mark.parametrize("op", operators.OPERATIONS)
def test_arguments_are_those_of_fastconv(op):
    function = getattr(fastconv, op, None)
    if function is None:
        pytest.skip("not written yet")
    arrays = operators.OPERATIONS[op][0]
    assert tuple(inspect.signature(function).parameters)[: len(arrays)] == arrays


def test_names_and_tables_are_whole():
    names = [one.name for family in operators.PROBLEMS.values() for one in family]
    assert len(set(names)) == len(names)
    settings = {"layers": [], "problems": names, "ops": list(operators.PROBLEMS)}
    listed = {task.op for task in tasks.tasks(settings)}
    assert listed == set(operators.OPERATIONS) == set(torch_operators.OPS)
    assert set(numpy_operators.OPS) < listed


def test_a_table_has_rates_ratios_and_what_was_refused():
    def record(op, peer, **more):
        where = {"layer": "columns_cifar_5x5", "op": op, "peer": peer}
        return {"malloc": "warm", "threads": 1, "status": "ok", "reason": "", **where, **more}

    ours, theirs = {"best": 2e-3}, {"best": 3e-3}
    records = [
        record("im2col", None, bytes=8e6, ours=ours),
        record("im2col", "pytorch", ours=ours, theirs=theirs),
        record("col2im", None, status="refused", reason="no time"),
    ]
    settings = {"layers": [], "problems": ["columns_cifar_5x5"], "ops": ["columns"], "plan": False}
    settings |= {"peers": ["numpy", "pytorch", "ncnn"], "threads": [1]}
    settings |= {"dtype": "float32", "layout": "NCHW", "isa": "best"}
    (found,) = report.tables(report.Results({}, settings, {}, [], records))
    assert found.header == ["problem", "ms", "GB/s", "numpy", "pytorch", "best peer"]
    assert found.rows[0] == ["columns_cifar_5x5 im2col", "2", "4.0", "-", "1.50", "1.50 pytorch"]
    assert found.rows[1] == ["columns_cifar_5x5 col2im", "-", "-", "-", "-", "-"]
    assert found.summary[0][-2:] == ["1.50", "1.50"]
    assert found.notes == ["fastconv, columns_cifar_5x5 col2im, malloc warm: no time"]
    held = settings | {"isa": "avx2", "has_better_isa": True, "ops": ["forward"], "set": "layers"}
    held["layers"] = ["cifar_rn20_l3"]
    records = [record("forward", None, bytes=8e6, ours=ours) | {"layer": "cifar_rn20_l3"}]
    (found,) = report.tables(report.Results({}, held, {}, [], records))
    assert found.notes == ["not held to avx2: ncnn"]


@pytest.mark.skipif(not machine.is_x86(), reason="the variables are those of x86")
def test_peers_are_held_to_the_instruction_set_that_is_asked_for():
    best, held = (machine.environment(1, "warm", isa) for isa in ("avx512", "avx2"))
    assert held["ONEDNN_MAX_CPU_ISA"] == "AVX2" and held["OPENBLAS_CORETYPE"] == "Haswell"
    assert "--xla_cpu_max_isa=AVX2" in held["XLA_FLAGS"].split()
    assert "intra_op_parallelism_threads=1" in held["XLA_FLAGS"].split()
    assert not machine.HELD["avx2"].keys() & best.keys() and "max_isa" not in best["XLA_FLAGS"]
    assert machine.environment(2, "warm", "avx512").get("XLA_FLAGS", "") == ""


def test_pytorch_does_as_it_is_told():
    pytest.importorskip("torch")
    asked = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    environment = machine.environment(1, "warm", "portable")
    done = subprocess.run(
        [sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True
    )
    assert not machine.is_x86() or done.stdout.strip() == "DEFAULT"


def test_a_difference_of_one_index_is_wrong():
    problem = small(SMALL[0], "max_pool_forward", "float32")
    (way,) = numpy_operators.ways(problem)
    y, indices = way.result(way.run())
    assert measure.compare(problem, (y, indices), (y, indices + np.int64(1))).status == "wrong"
