"""fastconv beside its peers on real layers: forward, dx, dw with db, at given numbers of threads.

    python bench/compare.py --layers 'rn50_*' --threads 1,2 --peers pytorch,ncnn
    python bench/compare.py --set zoo --sample 150 --seed 1 --peers pytorch
    python bench/compare.py --ops pool,transpose,columns,norm --peers numpy,pytorch

Convolutions run on the layers of layers.csv or zoo.csv, the families of operators (pools,
transposed convolutions, im2col and col2im, norms and activations) on the problems of operators.py.

For each number of threads one process runs all libraries on so many cores, fastconv and one peer
in turn: a turn is a block of calls of one library, begun when no thread of another waits busily any
more, and of its calls the best counts. Results are compared before anything is timed. Printed are
fastconv's best times and, per peer, its best time over fastconv's: above 1 fastconv is faster; of
ten layers and more also how these ratios are spread, by kind of layer. `--out` receives
compare.json with every best and median, and the pictures: ratios.png, sorted.png and roofline.png
of convolutions, operators.png.

Tables of operators have GB/s: the bytes of arguments and results, each counted once. With --layout
NHWC PyTorch's operators get channels_last tensors; its convolutions are always tried both ways.

With `--isa avx2` on a processor with AVX-512, peers are held to AVX2, too; ONNX Runtime, ncnn and
MNN, which cannot be, are marked in the notes.

With `--plan` fastconv runs a ConvPlan made before the timing, as the inference engines run what
they have prepared; NumPy, PyTorch and JAX still get plain weights in each call.

A `~` marks a peer whose result is the right sum, but rounded far worse than float32 needs to be; a
peer with a wrong result is not timed. A dash is something a peer cannot do; the JSON says why.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import report
from layers import OPS, SETS, load, sample, select
from library import Fastconv
from operators import PROBLEMS
from peers import PEERS
from progress import Progress
from tasks import TABLES, tasks

HERE = Path(__file__).resolve().parent
MALLOC = {"warm": ("warm",), "default": ("default",), "both": ("warm", "default")}


def as_list(known=None, convert=str):
    def parse(text):
        values = [convert(item.strip()) for item in text.split(",") if item.strip()]
        for value in values:
            if known and value not in known:
                raise argparse.ArgumentTypeError(f"{value!r} is not one of {', '.join(known)}")
        return values

    return parse


def positive(text):
    count = int(text) if text.isdecimal() else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return count


def thread_count(text):
    count = positive(text)
    if count > len(machine.cores()):
        message = f"{count} threads, but this process may use {len(machine.cores())} core(s)"
        raise argparse.ArgumentTypeError(message)
    return count


def isa(text):
    known = Fastconv.isas()
    if text == "best":
        return known[0]
    if text not in known:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of best, {', '.join(known)}")
    return text


def _ops(options):
    """Those asked for, or all that make sense; ValueError where a plan cannot run them."""
    if not options.plan:
        return options.ops or list(OPS)
    others = [op for op in options.ops or () if op != "forward"]
    if others:
        raise ValueError(f"--plan measures forward only, but --ops asks for {', '.join(others)}")
    return ["forward"]


def _patterns(names):
    return ["*" if name == "all" else name for name in names]


def parse_arguments(arguments=None):
    summary, _, details = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--set", choices=SETS, default="layers", help="file of layers (%(default)s)")
    add("--layers", type=as_list(), default=["*"], help="names or patterns of that file; or all")
    add("--sample", type=positive, help="measure so many of these layers, chosen at random")
    add("--problems", type=as_list(), default=["*"], help="the same of operators.py")
    add("--threads", type=as_list(convert=thread_count), default=None, help="default 1,2")
    add("--peers", type=as_list(PEERS), help=f"of {', '.join(PEERS)}; default: all installed")
    help_ops = f"of {', '.join(TABLES)}; default forward,dx,dw; with --plan forward"
    add("--ops", type=as_list(TABLES), help=help_ops)
    add("--plan", action="store_true", help="forward by a ConvPlan made before the timing")
    add("--dtype", choices=("float32", "float64"), default="float32")
    add("--layout", choices=("NCHW", "NHWC"), default="NCHW", help="of fastconv's arrays")
    add("--algorithm", default="auto", help="passed to fastconv's convolutions")
    isa_default = os.environ.get("FASTCONV_ISA") or "best"
    help_isa = "instruction set, one of fastconv.isas(), to which peers are held (%(default)s)"
    add("--isa", type=isa, default=isa_default, help=help_isa)
    add("--repeat", type=positive, default=5, help="least turns of each library (%(default)s)")
    add("--min-time", type=float, default=0.3, help="least seconds of each (%(default)s)")
    help_malloc = "warm: freed memory is kept, so kernels are compared; default: page faults count"
    add("--malloc", choices=MALLOC, default="warm", help=help_malloc)
    add("--seed", type=int, default=0, help="of the random data and of the sample")
    add("--out", type=Path, default=HERE.parent / "results", help="folder of JSON and pictures")
    add("--markdown", action="store_true", help="print the tables as GitHub markdown")
    options = parser.parse_args(arguments)
    try:
        names = [layer.name for layer in load(options.set)]
        options.layers = select(_patterns(options.layers), names)
        if options.sample:
            options.layers = sample(options.layers, options.sample, options.seed)
        problems = [one.name for family in PROBLEMS.values() for one in family]
        options.problems = select(_patterns(options.problems), problems, "problem")
        options.ops = _ops(options)
        if not tasks(vars(options)):
            raise ValueError(f"none of --problems belongs to --ops {','.join(options.ops)}")
    except ValueError as error:
        parser.error(str(error))
    options.has_better_isa = options.isa != Fastconv.isas()[0]
    if options.threads is None:
        options.threads = list(range(1, min(2, len(machine.cores())) + 1))
    if options.peers is None:
        options.peers = [name for name, peer in PEERS.items() if not peer.missing()]
    return options


class Comparison:
    """Starts the processes, collects what they report, survives what they do not."""

    def __init__(self, options, scratch):
        self.options, self.scratch = options, scratch
        self.records, self.limits, self.passes = [], {}, []
        self.keys = [task.key for task in tasks(self.settings)]

    @property
    def settings(self):
        chosen = {**vars(self.options)}
        del chosen["out"], chosen["markdown"]
        return chosen

    def run(self):
        options = self.options
        passes = [(m, t) for m in MALLOC[options.malloc] for t in options.threads]
        cells = len(self.keys) * (1 + len(options.peers))
        with Progress(cells * len(passes)) as progress:
            for number, (malloc, threads) in enumerate(passes):
                later = (len(passes) - 1 - number) * len(self.keys)
                self._run_pass(malloc, threads, progress, later)

    def _run_pass(self, malloc, threads, progress, rows_later):
        """Processes until every cell is done: a new one takes over where one has died."""
        done, log = set(), Path(self.scratch, "log.txt")
        while True:
            running = None
            with log.open("w") as errors, self._process(malloc, threads, errors) as process:
                try:
                    json.dump(self._job(threads, done), process.stdin)
                    process.stdin.close()
                    for line in process.stdout:
                        event = json.loads(line)
                        kind = event.pop("event")
                        if kind == "start":
                            running = event
                            self._show(event, threads, progress, rows_later)
                        elif kind == "record":
                            running = None
                            self._record(event, malloc, threads, done, progress)
                        elif kind == "limits":
                            self.limits[threads] = event
                        elif kind == "done":
                            self.passes.append({"malloc": malloc, "threads": threads, **event})
                            return
                    status = process.wait()
                finally:
                    process.kill()
            if running is None:
                raise SystemExit(f"the process ended with {status}:\n{log.read_text()[-2000:]}")
            crash = {"status": "crashed", "reason": f"the process ended with {status}"}
            self._record({**running, **crash}, malloc, threads, done, progress)

    def _show(self, running, threads, progress, rows_later):
        key = {"layer": running["layer"], "op": running["op"]}
        left = len(self.keys) - self.keys.index(key)
        label = f"{running['layer']} {running['op']} {running['peer'] or 'fastconv'} x{threads}"
        progress.at(label, left + rows_later)

    def _record(self, record, malloc, threads, done, progress):
        key = record["layer"], record["op"], record["peer"]
        ended = {key}
        if record["peer"] is None and record["status"] != "ok":
            ended |= {(*key[:2], peer) for peer in self.options.peers}  # nothing to compare with
        progress.step(len(ended - done))
        done |= ended
        self.records.append({"malloc": malloc, "threads": threads, **record})

    def _process(self, malloc, threads, errors):
        with machine.pinned(threads):
            return subprocess.Popen(
                [sys.executable, str(HERE / "worker.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=machine.environment(threads, malloc, self.options.isa),
                text=True,
            )

    def _job(self, threads, done):
        return {
            **self.settings,
            "threads": threads,
            "done": sorted(done, key=str),
            "measure_limits": threads not in self.limits,
            "scratch": self.scratch,
        }


def _git(*arguments):
    command = ["git", "-C", str(HERE), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def provenance(options):
    """What has to be known to repeat the measurement."""
    versions = {"python": sys.version.split()[0]}
    for library in (Fastconv(), *(PEERS[name] for name in options.peers)):
        if not library.missing():
            versions |= library.versions()
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(changes) if changes is not None else None,
        "processor": machine.processor(),
        "versions": versions,
        "warm_malloc": machine.WARM_MALLOC,
    }


def written(results, folder):
    """Paths of compare.json and, where matplotlib is installed, of the pictures."""
    paths = [report.write(results, folder)]
    try:
        import pictures
    except ImportError:
        return paths
    return paths + pictures.draw(results, folder) if results.records else paths


def main(arguments=None):
    options = parse_arguments(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        comparison, interrupted = Comparison(options, scratch), False
        try:
            comparison.run()
        except KeyboardInterrupt:
            interrupted = True
            print("interrupted; what follows is what was measured", file=sys.stderr)
    results = report.Results(
        provenance(options),
        comparison.settings,
        comparison.limits,
        comparison.passes,
        comparison.records,
    )
    report.print_tables(results, markdown=options.markdown)
    os.makedirs(options.out, exist_ok=True)
    for path in written(results, options.out):
        print(f"wrote {os.path.relpath(path)}", file=sys.stderr)
    return 130 if interrupted else int(any(map(report.is_our_fault, results.records)))


if __name__ == "__main__":
    sys.exit(main())
