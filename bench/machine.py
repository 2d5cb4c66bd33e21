"""What this processor is and how fast it can be, and the environment a measurement runs in."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

# glibc returns freed memory to the system and maps large blocks afresh, so that every call pays for
# page faults. With these three it keeps what it has. They have to be set before a process starts.
WARM_MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "67108864",
}

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "FASTCONV_NUM_THREADS",
)

# What keeps peers to fastconv's instruction set where the processor has a better one: oneDNN (of
# PyTorch; OpenVINO asks for two variables), PyTorch's own loops, OpenBLAS, MKL, and XLA by a flag.
HELD = {
    "avx2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OV_CPU_MAX_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "portable": {
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OV_CPU_MAX_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
        "OPENBLAS_CORETYPE": "Nehalem",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
}
HELD_XLA = {"avx2": "AVX2", "portable": "SSE4_2"}
NOT_HELD = ("onnxruntime", "ncnn", "mnn")  # they have no such setting
VECTOR_BYTES = {"portable": 16, "avx2": 32}  # at most; of others 64

# Twelve independent chains cover latency 4 x 2 units (or 5 x 2) and leave 4 of 16 registers free.
FMA_SOURCE = """
#define CHAINS 12
typedef SCALAR vec __attribute__((vector_size(VECTOR_BYTES)));

double fma_chains(long steps, double scale, double shift) {
    enum { LANES = VECTOR_BYTES / sizeof(SCALAR) };
    vec a[CHAINS], m = (vec){} + (SCALAR)scale, s = (vec){} + (SCALAR)shift;
    for (int i = 0; i < CHAINS; i++) a[i] = (vec){} + (SCALAR)i;
    for (long step = 0; step < steps; step++) {
        _Pragma("GCC unroll 12")
        for (int i = 0; i < CHAINS; i++) a[i] = a[i] * m + s;
    }
    double total = 0;
    for (int i = 0; i < CHAINS; i++)
        for (int lane = 0; lane < LANES; lane++) total += a[i][lane];
    return total;
}
"""
CHAINS = 12


def cores():
    """The processors this process may use, one per physical core first."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    siblings, first, rest = set(), [], []
    for cpu in sorted(os.sched_getaffinity(0)):
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        group = path.read_text().strip() if path.exists() else str(cpu)
        (rest if group in siblings else first).append(cpu)
        siblings.add(group)
    return first + rest


@contextmanager
def pinned(threads):
    """Processes started inside are confined to that many cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores()[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment(threads, malloc, isa):
    """For a process that compares on that many threads.

    malloc: "warm" or "default"; isa: fastconv's instruction set, to which peers are held, too.
    """
    variables = {k: v for k, v in os.environ.items() if k not in WARM_MALLOC}
    if malloc == "warm":
        variables |= WARM_MALLOC
    variables |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    variables |= {"FASTCONV_ISA": isa, "JAX_PLATFORMS": "cpu"}
    flags = [variables.get("XLA_FLAGS", "")]
    if threads == 1:  # more than one follow the cores the process may use
        flags += ["--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1"]
    if is_x86() and isa in HELD:
        variables |= HELD[isa]
        flags.append(f"--xla_cpu_max_isa={HELD_XLA[isa]}")
    variables["XLA_FLAGS"] = " ".join(filter(None, flags))
    return variables


def is_x86():
    return platform.machine().lower() in ("x86_64", "amd64")


def _compiled_chains(scratch, dtype, vector_bytes):
    """fma_chains as a function, or None where there is no working C compiler."""
    compiler = next(filter(shutil.which, (os.environ.get("CC", "gcc"), "gcc", "clang")), None)
    if compiler is None:
        return None
    scalar = {"float32": "float", "float64": "double"}[np.dtype(dtype).name]
    source, library = Path(scratch, "fma.c"), Path(scratch, f"fma_{scalar}_{vector_bytes}.so")
    if not library.exists():
        source.write_text(FMA_SOURCE)
        native = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
        defines = [f"-DSCALAR={scalar}", f"-DVECTOR_BYTES={vector_bytes}"]
        flags = ["-O2", "-ffp-contract=fast", "-shared", "-fPIC", native, *defines]
        command = [compiler, *flags, "-o", str(library), str(source)]
        if subprocess.run(command, capture_output=True).returncode:
            return None
    function = ctypes.CDLL(str(library)).fma_chains
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_long] + [ctypes.c_double] * 2
    return function


def _best_rate(work, amount, seconds=0.3):
    """Highest amount / time over repetitions of work()."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return amount / best


def fma_peak(scratch, threads, dtype, isa):
    """FLOP/s of independent multiply-adds in registers, at the best vector width of `isa`.

    None without a C compiler.
    """
    steps, rates = 2_000_000, []
    with ThreadPoolExecutor(threads) as pool:
        for vector_bytes in (16, 32, 64):
            if vector_bytes > VECTOR_BYTES.get(isa, 64):
                break
            chains = _compiled_chains(scratch, dtype, vector_bytes)
            if chains is None:
                continue

            def work(chains=chains):
                list(pool.map(lambda _: chains(steps, 0.999, 0.001), range(threads)))

            lanes = vector_bytes // np.dtype(dtype).itemsize
            rates.append(_best_rate(work, 2.0 * steps * CHAINS * lanes * threads))
    return max(rates, default=None)


def gemm_rate(dtype, size=1536):
    """FLOP/s of NumPy's matrix product, on the threads its BLAS is set to."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), dtype=dtype) for _ in "ab")
    out = np.empty_like(a)
    return _best_rate(lambda: np.matmul(a, b, out=out), 2.0 * size**3, seconds=0.6)


def bandwidth(threads, megabytes=256):
    """Bytes/s of a copy too large for the caches; what is read and what is written both count."""
    size = megabytes << 20
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    slices = [slice(size * i // threads, size * (i + 1) // threads) for i in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def work():
            list(pool.map(lambda part: np.copyto(target[part], source[part]), slices))

        return _best_rate(work, 2.0 * size)


def limits(scratch, threads, dtype, isa):
    """What this process can reach. `peak` is the better of FMA chains and GEMM."""
    fma, gemm = fma_peak(scratch, threads, dtype, isa), gemm_rate(dtype)
    return {
        "threads": threads,
        "peak": max(fma or 0.0, gemm),
        "fma_peak": fma,
        "gemm": gemm,
        "bandwidth": bandwidth(threads),
    }


class OtherLoad:
    """How much of this process's cores others took since this was made."""

    def __init__(self):
        self.wall, self.own, self.busy = time.perf_counter(), time.process_time(), self._busy()

    @staticmethod
    def _busy():
        """Seconds in which these cores were not idle, or None where the system does not tell."""
        stat = Path("/proc/stat")
        if not stat.exists():
            return None
        mine = {f"cpu{cpu}" for cpu in cores()}
        rows = [line.split() for line in stat.read_text().splitlines()]
        ticks = [list(map(int, row[1:9])) for row in rows if row and row[0] in mine]
        idle_and_wait = slice(3, 5)  # user nice system idle iowait irq softirq steal
        return sum(sum(t) - sum(t[idle_and_wait]) for t in ticks) / os.sysconf("SC_CLK_TCK")

    def share(self):
        """From 0 to 1, or None."""
        if self.busy is None:
            return None
        others = (self._busy() - self.busy) - (time.process_time() - self.own)
        return max(0.0, others / (time.perf_counter() - self.wall) / len(cores()))


def processor():
    """Model, instruction set flags, caches and cores, as far as the system tells."""
    described = {"machine": platform.machine(), "system": platform.system(), "cores": len(cores())}
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (li.partition(":") for li in lines)}
    keys = ("model name", "cpu family", "model", "stepping", "flags", "Features")
    described |= {key: facts[key] for key in keys if key in facts}
    described.setdefault("model name", platform.processor())
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / n).read_text().strip() for n in ("level", "type", "size"))
        described[f"L{level} {kind}"] = size
    return described
