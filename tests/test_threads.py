"""Threads: same bits at every count, forks, concurrent callers, signals, refusals, settings."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from cases import CONV_BY_NAME, EXACT, Case

import fastconv
from fastconv import runtime

CASES = [
    Case("image", (3, 20, 30, 31), (33, 20, 3, 3), {"padding": 1}),
    Case("stem", (2, 3, 64, 64), (16, 3, 7, 7), {"stride": 2, "padding": 3}),
    Case("small_images", (37, 16, 7, 7), (40, 16, 3, 3), {"padding": 1}),
    Case("one_image_many_channels", (1, 64, 8, 8), (96, 64, 3, 3), {"padding": 1}),
    Case("pointwise", (2, 64, 40, 41), (48, 64, 1, 1)),
    Case("long_line", (2, 8, 9000), (12, 8, 5), {"dilation": 16}),
    Case("volume", (2, 4, 6, 9, 10), (6, 2, 3, 3, 3), {"groups": 2, "padding": 1}),
]


def all_results(case, dtype=np.float32):
    x, w, b = case.random(dtype=dtype)
    y = fastconv.conv_forward(x, w, b, **case.options)
    dy = np.random.default_rng(9).uniform(-1, 1, y.shape).astype(dtype)
    return [y, *fastconv.conv_backward(dy, x, w, **case.options)]


@pytest.mark.parametrize("isa", fastconv.isas())
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_thread_count_gives_the_same_bits(case, isa):
    with fastconv.use_isa(isa):
        with fastconv.num_threads(1):
            expected = all_results(case)
        for threads in (2, 3, 7, 16):
            with fastconv.num_threads(threads):
                for actual, want in zip(all_results(case), expected, strict=True):
                    np.testing.assert_array_equal(actual.view("u4"), want.view("u4"))


def test_settings_are_checked_and_restored():
    before = fastconv.get_num_threads()
    with fastconv.num_threads(3):
        assert fastconv.get_num_threads() == 3
        with pytest.raises(RuntimeError, match="out of the block"), fastconv.num_threads(5):
            raise RuntimeError("out of the block")
        assert fastconv.get_num_threads() == 3
    assert fastconv.get_num_threads() == before
    for bad in (0, -1, 1_000_000):
        with pytest.raises(ValueError, match=f"n is {bad}, expected an integer from 1 to"):
            fastconv.set_num_threads(bad)
    for bad in (1.0, True, None, "2"):
        with pytest.raises(TypeError, match="n is"):
            fastconv.set_num_threads(bad)
    with (
        pytest.raises(ValueError, match="name is 'sse9', expected one of"),
        fastconv.use_isa("sse9"),
    ):
        pass


def run_python(code, timeout=60, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_environment_sets_threads_instruction_set_and_accuracy():
    code = """
import fastconv as f
print(f.get_num_threads(), f.runtime._core.get_isa(), f.get_accuracy())
"""
    done = run_python(
        code, FASTCONV_NUM_THREADS="5", FASTCONV_ISA="portable", FASTCONV_ACCURACY="high"
    )
    assert done.stdout.split() == ["5", "portable", "high"]


@pytest.mark.parametrize("count", ["0", "many", "-3", "5000"])
def test_environment_that_means_nothing_is_said_and_left_aside(count):
    done = run_python(
        "import fastconv", FASTCONV_NUM_THREADS=count, FASTCONV_ISA="mmx", FASTCONV_ACCURACY=count
    )
    assert done.returncode == 0
    assert f"FASTCONV_ACCURACY is {count!r}, expected one of ('normal', 'high')" in done.stderr
    assert f"FASTCONV_NUM_THREADS is {count!r}" in done.stderr
    assert "FASTCONV_ISA is 'mmx'" in done.stderr


USABLE = "import fastconv as f; print(*f.isas(), f.runtime._core.get_isa())"
COMPILED_IN = [name for name, _ in runtime._core.all_isas()]


def nothing_hidden():
    """What isas() is in a process that hides none."""
    return run_python(USABLE, FASTCONV_HIDE_ISAS="").stdout.split()[:-1]


def test_row_25_instruction_set_that_the_processor_lacks_falls_back():
    everything = nothing_hidden()
    for name in set(COMPILED_IN) - set(everything):
        done = run_python(USABLE, FASTCONV_ISA=name, FASTCONV_HIDE_ISAS="")
        assert done.stdout.split() == [*everything, everything[0]]
        assert "this processor lacks it" in done.stderr
    assert fastconv.isas()[-1] == "portable"


@pytest.mark.parametrize("count", range(1, len(COMPILED_IN)))
def test_row_25_hidden_instruction_sets_are_as_if_the_processor_lacked_them(count):
    hidden = COMPILED_IN[:count]
    left = [name for name in nothing_hidden() if name not in hidden]
    done = run_python(USABLE, FASTCONV_HIDE_ISAS=",".join(hidden), FASTCONV_ISA="")
    assert (done.stdout.split(), done.stderr) == ([*left, left[0]], "")
    for name in hidden:
        done = run_python(USABLE, FASTCONV_HIDE_ISAS=" , ".join(hidden), FASTCONV_ISA=name)
        assert done.stdout.split() == [*left, left[0]]
        expected = f"FASTCONV_ISA is {name!r}, expected one of {tuple(left)}: FASTCONV_HIDE_ISAS"
        assert f"{expected} hides it, using {left[0]!r}" in done.stderr
        code = f"import fastconv as f; f.use_isa({name!r}).__enter__()"
        done = run_python(code, FASTCONV_HIDE_ISAS=",".join(hidden), FASTCONV_ISA="")
        assert f"ValueError: name is {name!r}, expected one of {tuple(left)}" in done.stderr


@pytest.mark.parametrize("bad, reason", [("mmx", "unknown"), ("portable", "always there")])
def test_names_that_cannot_be_hidden_are_said_and_left_aside(bad, reason):
    value = ",".join([bad, *COMPILED_IN[:-1]])
    done = run_python(USABLE, FASTCONV_HIDE_ISAS=value, FASTCONV_ISA="")
    assert done.stdout.split() == ["portable", "portable"]
    expected = f"some of {tuple(COMPILED_IN[:-1])}"
    said = f"FASTCONV_HIDE_ISAS is {value!r}, expected {expected}: {bad!r} is {reason}"
    assert said in done.stderr and done.stderr.count("RuntimeWarning") == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_quota_of_a_cgroup_is_read(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert runtime.cgroup_quota(tmp_path) == expected


def test_default_is_at_most_the_affinity_mask():
    code = (
        "import os; os.sched_setaffinity(0, {0}); import fastconv as f; print(f.get_num_threads())"
    )
    assert run_python(code).stdout.strip() == "1"


def test_threadpoolctl_sees_and_limits_the_threads():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with fastconv.num_threads(4):
        (info,) = [i for i in threadpoolctl.threadpool_info() if i["user_api"] == "fastconv"]
        assert info["num_threads"] == 4 and info["version"] == fastconv.__version__
        with threadpoolctl.threadpool_limits(1, user_api="fastconv"):
            assert fastconv.get_num_threads() == 1
        assert fastconv.get_num_threads() == 4


def test_concurrent_callers_get_right_answers():
    case = CASES[0]
    expected = all_results(case)
    wrong = []

    def call():
        for _ in range(5):
            results = all_results(case)
            wrong.extend(
                1 for a, e in zip(results, expected, strict=True) if not np.array_equal(a, e)
            )

    with fastconv.num_threads(3):
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


def child_is_right(connection):
    case = CASES[0]
    with fastconv.num_threads(3):
        connection.send([array.tobytes() for array in all_results(case)])


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_row_30_child_process_after_a_call(method):
    with fastconv.num_threads(3):
        expected = [array.tobytes() for array in all_results(CASES[0])]
        context = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        child = context.Process(target=child_is_right, args=(theirs,))
        child.start()
        assert ours.poll(60), "the child hangs"
        assert ours.recv() == expected
        child.join(60)
        assert child.exitcode == 0
        again = [array.tobytes() for array in all_results(CASES[0])]
    assert again == expected


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_row_30_fork_while_another_thread_computes():
    stop = threading.Event()
    case = CONV_BY_NAME["course_7x7"]

    def compute():
        while not stop.is_set():
            all_results(case)

    with fastconv.num_threads(2):
        thread = threading.Thread(target=compute)
        thread.start()
        try:
            for _ in range(10):
                child = os.fork()
                if child == 0:
                    all_results(CASES[0])
                    os._exit(0)
                deadline = time.monotonic() + 60
                pid = 0
                while not pid and time.monotonic() < deadline:
                    pid, status = os.waitpid(child, os.WNOHANG)
                    time.sleep(0.001)
                if not pid:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                assert pid == child, "the child hangs"
                assert status == 0
        finally:
            stop.set()
            thread.join()


def test_row_30_interpreter_exits_while_other_threads_compute():
    code = """
import threading, numpy as np, fastconv
x, w = np.ones((4, 64, 64, 64), "f4"), np.ones((64, 64, 3, 3), "f4")
fastconv.set_num_threads(3)
def compute():
    while True:
        fastconv.conv_forward(x, w)
for _ in range(2):
    threading.Thread(target=compute, daemon=True).start()
fastconv.conv_forward(x, w)
print("done")
"""
    done = run_python(code)
    assert done.returncode == 0 and done.stdout.strip() == "done"


INTERRUPTED = """
import os, signal, sys, threading, numpy as np, fastconv
algorithm, op = sys.argv[1:]
fastconv.set_num_threads(2)
PROBLEMS = [  # that take seconds: dense, depthwise, as large as the image
    ((64, 256, 128, 128), (256, 256, 3, 3), {}),
    ((64, 256, 128, 128), (256, 1, 21, 21), {"groups": 256, "padding": 10}),
    ((4096, 256, 8, 8), (1024, 256, 8, 8), {}),
]
def refused(x_shape, w_shape, options):
    try:
        fastconv.explain(op, x_shape, w_shape, algorithm=algorithm, **options)
    except ValueError:
        return True
problem = next((p for p in PROBLEMS if not refused(*p)), None)
if problem is None:
    sys.exit("refused")
x_shape, w_shape, options = problem
x, w = np.ones(x_shape, "f4"), np.ones(w_shape, "f4")
dy = np.ones(fastconv.conv_output_shape(x_shape, w_shape, **options), "f4")
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    with fastconv.use_isa("portable"):
        while True:
            if op == "forward":
                fastconv.conv_forward(x, w, algorithm=algorithm, **options)
            else:
                fastconv.conv_backward(dy, x, w, need=op, algorithm=algorithm, **options)
            print("ran to its end")
except KeyboardInterrupt:
    print("interrupted")
print(fastconv.conv_forward(x[:1, :1, :3, :3], w[:1, :1, :3, :3]).item())
"""


@pytest.mark.parametrize("op", ["forward", "dx", "dw"])
@pytest.mark.parametrize("algorithm", EXACT)
def test_ctrl_c_interrupts_a_call_and_leaves_the_library_usable(algorithm, op):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, algorithm, op],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.stderr.strip() == "refused":
        pytest.skip(f"{algorithm} refuses all that take seconds")
    assert done.stdout.split() == ["interrupted", "9.0"], done.stderr


INTERRUPTED_SIGMOID = """
import os, signal, threading, numpy as np, fastconv
fastconv.set_num_threads(1)
x = np.ones(60_000_000)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    with fastconv.use_isa("portable"):
        while True:
            fastconv.sigmoid_forward(x)
            print("ran to its end")
except KeyboardInterrupt:
    print("interrupted")
print(fastconv.sigmoid_forward(x[:1] * 0).item())
"""


def test_ctrl_c_interrupts_an_activation():
    done = run_python(INTERRUPTED_SIGMOID)
    assert done.stdout.split() == ["interrupted", "0.5"], done.stderr


def test_row_28_threads_that_the_system_refuses_are_done_without():
    code = """
import resource, numpy as np, fastconv
x, w = np.ones((2, 16, 64, 64), "f4"), np.ones((16, 16, 3, 3), "f4")
expected = fastconv.conv_forward(x, w)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20),) * 2)
fastconv.set_num_threads(512)
print(np.array_equal(fastconv.conv_forward(x, w), expected))
"""
    done = run_python(code)
    assert done.stdout.strip() == "True", done.stderr
