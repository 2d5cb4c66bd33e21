"""Results first, times second: comparing what two libraries return, then timing them in turn."""

from __future__ import annotations

import gc
import math
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

try:
    import resource
except ImportError:  # not a Unix
    resource = None

# A sum of L standard normal products has the size sqrt(L); these times eps sqrt(L) is how far a
# result may be off. Measured on layers.csv (the "error" fields of compare.json): most direct sums
# stay below 2**6, single chains over 1e5 terms in dw reach 2**9.5, ncnn's Winograd F(6x6) 2**8.3,
# MNN's larger tiles 2**17.3. A tap too many or too few is 1 / eps / sqrt(L) at a typical element
# and ten times that at the worst.
TOLERANCE = 2.0**12
IMPRECISE = 2.0**18  # up to here the sum is the right one, poorly rounded: timed, but marked

TURN = 0.01  # seconds of repeated calls before the other library has its turn
LONG = 0.05  # seconds of a call that is its own warm-up
TASKS = Path("/proc/self/task")
PATIENCE = 30  # times min_time: after this a slow pair ends, however few turns it had


@dataclass(frozen=True)
class Budget:
    repeat: int
    min_time: float

    def spent(self, turns, times, elapsed):
        if elapsed > PATIENCE * self.min_time and turns >= 2:
            return True
        return turns >= self.repeat and all(sum(t) >= self.min_time for t in times)


def _others_run():
    """Whether another thread of this process is running.

    Linux tells at once; elsewhere the time the process uses has to be watched. (On Linux that time
    lags by a tick of the scheduler.)
    """
    if not TASKS.is_dir():
        busy = time.process_time()
        time.sleep(0.02)
        return time.process_time() - busy > 0.005
    me = str(threading.get_native_id())
    for task in TASKS.iterdir():
        try:
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it has just ended
            continue
        if state == "R" and task.name != me:
            return True
    return False


def settle(limit=0.5):
    """Wait until no pool of this process spins: OpenBLAS does for 0.1 s after a task, ORT 0.03 s.

    What spins takes a core from whoever is timed next: MNN after OpenBLAS took three times as long.
    """
    quiet, end = 0, time.perf_counter() + limit
    while quiet < 2 and time.perf_counter() < end:
        time.sleep(0.001)
        quiet = 0 if _others_run() else quiet + 1


def _seconds(run):
    start = time.perf_counter()
    result = run()
    elapsed = time.perf_counter() - start
    del result
    return elapsed


def _page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0


def warm_up(run, patience=1.5):
    """Best seconds of some calls, which go on until one touches hardly any new page.

    Even a heap that keeps its memory may need ten calls: glibc does not reuse a block for an
    aligned request of the same size before the block has merged with a neighbour.
    """
    best, end = math.inf, time.perf_counter() + patience
    for call in range(16):
        faults = _page_faults()
        best = min(best, _seconds(run))
        if call and (_page_faults() - faults < 64 or time.perf_counter() > end):
            break
    return best


def turn(run, long):
    """Seconds of each call. If short, one more that does not count brings data and threads back."""
    settle()
    if not long:
        run()
    first = _seconds(run)
    more = math.ceil((TURN - first) / first)
    return [first, *(_seconds(run) for _ in range(min(50, more)))]


def time_in_turn(runs, budget):
    """Seconds of every call of every run, alternating, the order reversed each time."""
    times, turns, start = [[] for _ in runs], 0, time.perf_counter()
    order = list(range(len(runs)))
    gc.collect()
    gc.disable()
    try:
        long = [warm_up(run) > LONG for run in runs]
        while not budget.spent(turns, times, time.perf_counter() - start):
            for i in order:
                times[i] += turn(runs[i], long[i])
            order.reverse()
            turns += 1
    finally:
        gc.enable()
    return times


def probe(run):
    """Best seconds of one turn."""
    return min(turn(run, warm_up(run) > LONG))


def summary(times):
    """Seconds."""
    return {"best": min(times), "median": statistics.median(times), "calls": len(times)}


def bytes_moved(problem, results):
    """Bytes if every operand and result crosses the memory bus once."""
    return sum(array.nbytes for array in (*problem.operands, *results))


@dataclass(frozen=True)
class Difference:
    """The worst element, with its error in units of problem.unit, eps sqrt(L) for a sum."""

    error: float
    reason: str = ""
    ours_wrong: bool = False

    @property
    def status(self):
        if self.error <= TOLERANCE:
            return "ok"
        if self.ours_wrong:
            return "fastconv_wrong"
        return "imprecise" if self.error <= IMPRECISE else "wrong"


def spot_check(problem, results, count=48):
    """Some elements of each result against their definition in float64."""
    rng = np.random.default_rng(1)
    worst = Difference(0.0)
    for name, array in zip(problem.result_names, results, strict=True):
        for flat in [0, array.size - 1, *rng.integers(0, array.size, count)]:
            index = tuple(int(i) for i in np.unravel_index(flat, array.shape))
            expected = problem.exact(name, index)
            error = abs(float(array[index]) - expected) / problem.unit(name)
            if not error <= worst.error:
                where = f"{name}{list(index)} is {array[index]:.7g}, should be {expected:.7g}"
                worst = Difference(error if math.isfinite(error) else math.inf, where, True)
    return worst


def compare(problem, ours, theirs):
    """The worst disagreement of any element; who is wrong is settled by the definition."""
    worst = Difference(0.0)
    for name, a, b in zip(problem.result_names, ours, theirs, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            reason = f"{name} is {b.dtype} {b.shape}, should be {a.dtype} {a.shape}"
            return Difference(math.inf, reason)
        apart = np.abs(a - b) if a.dtype.kind == "f" else (a != b).astype(np.float32)
        apart[~np.isfinite(apart)] = math.inf
        index = tuple(int(i) for i in np.unravel_index(int(apart.argmax()), apart.shape))
        error = float(apart[index]) / problem.unit(name)
        if error > worst.error:
            expected = problem.exact(name, index)
            ours_wrong = not abs(float(a[index]) - expected) < abs(float(b[index]) - expected)
            reason = f"{name}{list(index)} is {b[index]:.7g}, fastconv has {a[index]:.7g}, "
            worst = Difference(error, reason + f"should be {expected:.7g}", ours_wrong)
    return worst
