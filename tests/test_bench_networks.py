"""The benchmark's networks: fastconv's passes and PyTorch's agree; what auto chose is judged."""

import sys
from pathlib import Path

import numpy as np
import pytest
from tiers import long_except

torch = pytest.importorskip("torch")

BENCH = str(Path(__file__).parents[1] / "bench")
sys.path.append(BENCH)
try:
    import architectures
    import choose
    import machine
    import networks
    import report
finally:
    sys.path.remove(BENCH)

NETWORKS = {  # small images that leave a pixel to every layer
    "resnet50": (architectures.resnet50, 64),
    "vgg16": (architectures.vgg16, 32),
    "mobilenet_v2": (architectures.mobilenet_v2, 32),
    "unet": (architectures.unet, 32),
    "cs231n": (architectures.cs231n, 16),
}
PUBLISHED = {  # numbers of parameters
    "resnet50": 25_557_032,
    "vgg16": 138_357_544,
    "mobilenet_v2": 3_504_872,
    "unet": 31_031_810,
    "cs231n": (3 * 7 * 7 + 1) * 32 + (32 * 16 * 16 + 1) * 100 + 101 * 10,
}


@pytest.mark.parametrize("name", architectures.NETWORKS)
def test_networks_have_the_published_parameters(name):
    build, batch, size = architectures.NETWORKS[name]
    shapes = [shape for node in build(batch, size).nodes for shape in node.parameters]
    assert sum(int(np.prod(shape)) for shape in shapes) == PUBLISHED[name]


@pytest.mark.parametrize("name", long_except(["mobilenet_v2", "cs231n"], NETWORKS))
def test_forward_and_gradients_agree_with_pytorch(name):
    build, size = NETWORKS[name]
    network = build(2, size)
    contests = networks.network_contests(network, "float64")  # raises where they do not
    assert list(contests) == ["forward", "training step"]
    for contest in contests.values():
        assert list(contest.theirs) == ["contiguous_format", "channels_last"]


def test_a_wrong_gradient_is_noticed(monkeypatch):
    right = networks.FastconvNetwork.dense_backward

    def wrong(self, node, dy, x, w, b):
        inputs, (dw, db) = right(self, node, dy, x, w, b)
        return inputs, (dw, db * 1.001)

    monkeypatch.setattr(networks.FastconvNetwork, "dense_backward", wrong)
    with pytest.raises(SystemExit, match="apart"):
        networks.network_contests(architectures.cs231n(2, 16), "float64")


def test_a_step_updates_every_parameter():
    network = architectures.cs231n(2, 16)
    x, dy, parameters = networks.random_arguments(network, "float64")
    before = [[array.copy() for array in arrays] for arrays in parameters]
    networks.FastconvNetwork(network, parameters).step(x, dy)
    for ours, old in zip(parameters, before, strict=True):
        assert all((a != b).any() for a, b in zip(ours, old, strict=True))


def result(records):
    settings = {"plan": False, "peers": ["implicit_gemm", "winograd"]}
    return report.Results({}, settings, {}, [], records)


def record(peer, ours, theirs):
    key = {"malloc": "warm", "threads": 1, "layer": "l", "op": "dx", "peer": peer}
    return {**key, "status": "ok", "ours": {"best": ours}, "theirs": {"best": theirs}}


def test_a_dear_choice_is_found():
    records = [record("implicit_gemm", 2.0, 1.0), record("winograd", 2.0, 2.0)]
    assert choose.costs(result(records)) == {("l", "dx", 1): (2.0, "implicit_gemm")}


def test_the_best_choice_costs_nothing():
    records = [record("implicit_gemm", 1.0, 3.0), record("winograd", 1.0, 1.01)]
    assert choose.costs(result(records)) == {("l", "dx", 1): (1.0, "auto")}


def test_choose_measures_the_algorithms(capsys):
    arguments = "--layers cs231n_notebook --ops forward --threads 1 --repeat 1 --min-time 0"
    status = choose.main([*arguments.split(), "--limit", "1e9"])
    printed = capsys.readouterr().out
    assert status == 0 and "implicit_gemm" in printed and "winograd" in printed
    assert "0 of them cost more" in printed


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--algorithms fft", "'fft' is not one of"),
        ("--ops pool", "pool has one algorithm only"),
        ("--algorithm naive", "it is auto that is judged"),
        ("--plan --ops forward", "judged by functions"),
    ],
)
def test_choose_refuses(capsys, arguments, message):
    with pytest.raises(SystemExit):
        choose.parse_arguments(arguments.split())
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", ["--threads 0", "--threads 99999", "--batch -1", "--isa sse9", "--networks lenet"]
)
def test_networks_refuses(capsys, arguments):
    with pytest.raises(SystemExit):
        networks.parse_arguments(arguments.split())
    assert f"argument {arguments.split()[0]}" in capsys.readouterr().err


def test_networks_takes_an_instruction_set():
    options = networks.parse_arguments(["--isa", "best"])
    assert options.isa in networks.Fastconv.isas()


def test_a_process_of_one_count_of_threads_is_asked_for_nothing_else():
    given = "--networks cs231n,unet --threads 1 --batch 3 --dtype float64 --repeat 7 --min-time 0.5"
    options = networks.parse_arguments(given.split())
    options.threads = [1, 64]
    own = networks.parse_arguments(networks.of_one_count(options, 1))
    assert vars(own) == {**vars(options), "threads": [1], "measure_here": True}


@pytest.mark.skipif(len(machine.cores()) < 2, reason="one core")
def test_networks_on_one_thread_and_on_two(capsys):
    arguments = "--networks cs231n --batch 2 --threads 1,2 --repeat 1 --min-time 0"
    assert networks.main(arguments.split()) == 0
    printed = capsys.readouterr().out
    assert "1 thread," in printed and "2 threads," in printed
