"""One process of the comparison: one number of threads, one malloc setting, all tasks.

compare.py starts it with its cores and environment set, writes a job to its input (see run_job) and
reads events, one JSON object a line. What libraries print goes to the error stream instead.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from functools import partial

import measure
from library import Fastconv, Refusal
from machine import OtherLoad, limits
from peers import find
from tasks import tasks


def _message(error):
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


class Case:
    """One row of a table: fastconv's result, against which each peer is checked."""

    def __init__(self, job, task):
        self.budget = measure.Budget(job["repeat"], job["min_time"])
        self.problem = task.random_problem(job)
        fastconv = Fastconv(job["layout"], job["algorithm"], plan=job["plan"])
        (self.way,) = fastconv.ways(self.problem)
        self.results = self.way.result(self.way.run())

    def ours(self):
        """The record of fastconv alone."""
        found = measure.spot_check(self.problem, self.results)
        if found.error > measure.TOLERANCE:
            return {"status": "wrong", "reason": found.reason, "error": found.error}
        (times,) = measure.time_in_turn([self.way.run], self.budget)
        return {
            "status": "ok",
            "reason": "",
            "error": found.error,
            "bytes": measure.bytes_moved(self.problem, self.results),
            "ours": measure.summary(times),
        }

    def against(self, peer):
        """The record of one peer: how far its results are, then both times."""
        right, rejected = [], None
        for way in peer.ways(self.problem):
            way.run()
            found = measure.compare(self.problem, self.results, way.result(way.run()))
            if found.status in ("wrong", "fastconv_wrong"):
                rejected = found
            else:
                right.append((way, found))
        if not right or (rejected and rejected.ours_wrong):
            return {"status": rejected.status, "reason": rejected.reason, "error": rejected.error}
        probes = [measure.probe(way.run) if right[1:] else 0.0 for way, _ in right]
        way, found = right[probes.index(min(probes))]
        ours, theirs = measure.time_in_turn([self.way.run, way.run], self.budget)
        return {
            "status": found.status,
            "reason": found.reason if found.status == "imprecise" else "",
            "error": found.error,
            "way": way.name,
            "ways_tried": {w.name: t for (w, _), t in zip(right, probes, strict=True) if t},
            "ours": measure.summary(ours),
            "theirs": measure.summary(theirs),
        }


def guarded(action):
    """A record even where a library cannot: nothing it raises ends the comparison."""
    try:
        return action()
    except Refusal as refusal:
        return {"status": "refused", "reason": str(refusal)}
    except Exception as error:  # each library has exceptions of its own
        return {"status": "failed", "reason": _message(error)}


def run_task(job, task, emit):
    done = {(name, o, peer) for name, o, peer in job["done"]}

    def cell(peer, action):
        if (task.name, task.op, peer) in done:
            return None
        key = {**task.key, "peer": peer}
        emit({"event": "start", **key})
        record = guarded(action)
        emit({"event": "record", **key, **record})
        gc.collect()
        return record

    wanted = [None, *job["peers"]]
    if all((task.name, task.op, peer) in done for peer in wanted):
        return
    emit({"event": "start", **task.key, "peer": None})
    case = guarded(partial(Case, job, task))
    if isinstance(case, dict):
        emit({"event": "record", **task.key, "peer": None, **case})
        return
    alone = cell(None, case.ours)
    if alone and alone["status"] != "ok":
        return
    for name in job["peers"]:
        cell(name, partial(case.against, find(name, job["layout"])))


LIMITS = ("scratch", "threads", "dtype", "isa")  # what they depend on, in order


def run_job(job, emit):
    """job: layers, problems, ops, peers, threads, dtype, layout, algorithm, plan, repeat, min_time,
    seed, isa, scratch; done, the (layer, op, peer) that an earlier process finished or died of."""
    load_by_others = OtherLoad()
    if job["measure_limits"]:
        emit({"event": "limits", **limits(*(job[key] for key in LIMITS))})
    for task in tasks(job):
        run_task(job, task, emit)
    emit({"event": "done", "taken_by_others": load_by_others.share()})


def main():
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def emit(event):
        print(json.dumps(event), file=events, flush=True)

    run_job(json.load(sys.stdin), emit)
    events.flush()
    os._exit(0)  # some runtimes do not survive their own unloading


if __name__ == "__main__":
    main()
