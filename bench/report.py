"""What a comparison found: tables, one JSON file, pictures."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from layers import KINDS, OPS
from machine import NOT_HELD
from peers import find
from tasks import rows

TIMED = ("ok", "imprecise")
SPREAD = 10  # layers from which on it is told how their ratios are spread
DISTURBED = 0.03  # a share of the cores, taken by others, from which tables carry a warning


@dataclass(frozen=True)
class Results:
    """provenance, settings: as written. limits: per number of threads, from machine.limits.

    passes: one per process. records: one per layer (or problem), op and peer, see worker.Case.
    """

    provenance: dict
    settings: dict
    limits: dict
    passes: list
    records: list

    def rows(self, table):
        return rows(self.settings, table)

    @property
    def mallocs(self):
        """The settings measured; tables are about the first."""
        return list(dict.fromkeys(record["malloc"] for record in self.records))

    def peers(self, table):
        """Those that have one of its ops at all."""
        ops = {task.op for task in self.rows(table)}
        return [name for name in self.settings["peers"] if any(map(find(name).has, ops))]

    def measured(self, table):
        """The table, and how fastconv ran it if not by its function."""
        return f"{table} by a prepared ConvPlan" if self.settings["plan"] else table

    def heading(self, table, threads):
        return f"{self.measured(table)}, {threads} thread{'s' if threads > 1 else ''}"

    def select(self, **wanted):
        items = wanted.items()
        return [r for r in self.records if all(r[key] == value for key, value in items)]

    def ours(self, **wanted):
        """fastconv's best seconds over all pairs, or None."""
        times = [r["ours"]["best"] for r in self.select(**wanted) if r["status"] in TIMED]
        return min(times, default=None)

    def record(self, **wanted):
        return next(iter(self.select(**wanted)), None)


def ratio(record):
    """The peer's best time over fastconv's, both from the same pair; None if it was not timed."""
    if record is None or record["status"] not in TIMED:
        return None
    return record["theirs"]["best"] / record["ours"]["best"]


def is_our_fault(record):
    """fastconv failed, or its result was the wrong one. A refusal is neither."""
    if record["peer"] is None:
        return record["status"] in ("failed", "crashed", "wrong")
    return record["status"] == "fastconv_wrong"


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


@dataclass(frozen=True)
class Table:
    title: str
    header: list
    rows: list
    summary: list  # the last rows, set apart
    notes: list


def _cell(record):
    value = ratio(record)
    if value is not None:
        return f"{value:.2f}" + ("~" if record["status"] == "imprecise" else "")
    return "wrong" if record and record["status"] == "wrong" else "-"


def _side_by_side(cells):
    """The first malloc setting, and the second, if any, in parentheses."""
    first, *others = cells
    return first + "".join(f" ({other})" for other in others)


def _best(ratios):
    """The fastest peer and its ratio, from a dictionary."""
    if not ratios:
        return "-"
    name = min(ratios, key=ratios.get)
    return f"{ratios[name]:.2f} {name}"


def _rates(results, task, threads, seconds):
    """Per second: what a convolution computes, of the peak too; what another operator moves."""
    if task.table not in OPS:
        alone = results.record(**task.key, threads=threads, malloc=results.mallocs[0], peer=None)
        return [f"{alone['bytes'] / seconds / 1e9:.1f}"] if seconds else ["-"]
    if not seconds:
        return ["-", "-"]
    rate, limits = task.subject.flops / seconds, results.limits.get(threads)
    share = f"{100 * rate / limits['peak']:.0f} %" if limits else "-"
    return [f"{rate / 1e9:.1f}", share]


def _row(results, task, threads):
    """The cells of one row, and per malloc setting its ratios by peer."""
    where = {**task.key, "threads": threads}
    seconds = [results.ours(**where, malloc=malloc) for malloc in results.mallocs]
    cells = [task.label, *(f"{s * 1e3:.3g}" if s else "-" for s in seconds)]
    cells += _rates(results, task, threads, seconds[0])
    ratios = [{} for _ in results.mallocs]
    for peer in results.peers(task.table):
        pairs = [results.record(**where, malloc=m, peer=peer) for m in results.mallocs]
        for found, record in zip(ratios, pairs, strict=True):
            if ratio(record) is not None:
                found[peer] = ratio(record)
        cells.append(_side_by_side(map(_cell, pairs)))
    return [*cells, _side_by_side(_best(found) for found in ratios)], ratios


def _summary(label, columns, reduce, lead):
    """columns: per column, per malloc setting, the ratios there are."""
    cells = (
        _side_by_side(f"{reduce(values):.2f}" if values else "-" for values in column)
        for column in columns
    )
    return [label, *[""] * lead, *cells]


def _faults(records, labels):
    """Who could not do what, and why; a line for all rows with the same reason."""
    found = {}
    for r in records:
        if is_our_fault(r) or r["status"] == "wrong" or (r["peer"] is None and r["reason"]):
            culprit = r["peer"] if r["status"] == "wrong" and r["peer"] else "fastconv"
            row = labels[r["layer"], r["op"]]
            found.setdefault((culprit, r["malloc"], r["reason"]), []).append(row)
    return [
        f"{culprit}, {', '.join(dict.fromkeys(names))}, malloc {malloc}: {reason}"
        for (culprit, malloc, reason), names in found.items()
    ]


def _notes(results, table, threads):
    labels = {(task.name, task.op): task.label for task in results.rows(table)}
    records = [r for r in results.select(threads=threads) if (r["layer"], r["op"]) in labels]
    notes = []
    for one in results.passes:
        taken = one["taken_by_others"] or 0.0
        if one["threads"] == threads and taken > DISTURBED:
            notes.append(
                f"other processes took {taken:.0%} of these cores (malloc {one['malloc']})"
            )
    free = [peer for peer in results.peers(table) if peer in NOT_HELD]
    if free and results.settings.get("has_better_isa"):
        notes.append(f"not held to {results.settings['isa']}: {', '.join(free)}")
    for peer in results.peers(table):
        rough = [r["error"] for r in records if r["peer"] == peer and r["status"] == "imprecise"]
        if rough:
            unit = "eps sqrt(L)" if table in OPS else "of the unit in operators.py"
            notes.append(f"~ {peer}: errors up to {max(rough):.0f} {unit}")
    return notes + _faults(records, labels)


def table(results, name, threads):
    peers, both = results.peers(name), results.mallocs[1:]
    subject, *rates = ["layer", "GFLOP/s", "of peak"] if name in OPS else ["problem", "GB/s"]
    lead = ["ms", *(f"ms ({malloc} malloc)" for malloc in both), *rates]
    lines, ratios = [], []
    for task in results.rows(name):
        cells, found = _row(results, task, threads)
        lines.append(cells)
        ratios.append(found)
    per_malloc = list(zip(*ratios, strict=True))
    columns = [[[r[peer] for r in found if peer in r] for found in per_malloc] for peer in peers]
    columns.append([[min(r.values()) for r in found if r] for found in per_malloc])
    summary = [
        _summary("geometric mean", columns, geometric_mean, len(lead)),
        _summary("worst", columns, min, len(lead)),
    ]
    settings = results.settings
    title = f"{results.heading(name, threads)}, {settings['dtype']}, {settings['layout']}, "
    title += f"{settings['isa']}, malloc {results.mallocs[0]}"
    limits = results.limits.get(threads)
    if limits:
        title += f"; peak {limits['peak'] / 1e9:.0f} GFLOP/s, {limits['bandwidth'] / 1e9:.0f} GB/s"
    header = [subject, *lead, *peers, "best peer"]
    return Table(title, header, lines, summary, _notes(results, name, threads))


def ratios(results, table, threads, peer):
    """{task: ratio} of the rows that were timed, in the first malloc setting."""
    where = {"threads": threads, "malloc": results.mallocs[0], "peer": peer}
    found = {task: ratio(results.record(**where, **task.key)) for task in results.rows(table)}
    return {task: value for task, value in found.items() if value is not None}


SPREAD_HEADER = "peer|kind|layers|mean|worst|5 %|25 %|50 %|75 %|95 %|below 1.0|below 0.9".split("|")


def _spread_row(peer, kind, values):
    shares = [f"{np.mean(np.less(values, bound)):.0%}" for bound in (1.0, 0.9)]
    points = [f"{value:.2f}" for value in np.percentile(values, (0, 5, 25, 50, 75, 95))]
    return [peer, kind, str(len(values)), f"{geometric_mean(values):.2f}", *points, *shares]


def spread(results, name, threads):
    """How the ratios to each peer are spread over the layers of each kind."""
    lines, summary = [], []
    for peer in results.peers(name):
        found = ratios(results, name, threads, peer)
        by_kind = {kind: [] for kind in KINDS}
        for task, value in found.items():
            by_kind[task.subject.kind].append(value)
        lines += [_spread_row(peer, kind, values) for kind, values in by_kind.items() if values]
        if found:
            summary.append(_spread_row(peer, "all", list(found.values())))
    title = f"{results.heading(name, threads)}: ratios by kind"
    return Table(title, SPREAD_HEADER, lines, summary, [])


def tables(results):
    found, settings = [], results.settings
    shown = [name for name in settings["ops"] if results.rows(name)]
    for threads in settings["threads"]:
        for name in shown:
            found.append(table(results, name, threads))
            if name in OPS and len(results.rows(name)) >= SPREAD:
                found.append(spread(results, name, threads))
    return found


def as_markdown(found):
    def line(cells):
        return "| " + " | ".join(cells) + " |"

    rules = ["---", *["---:"] * (len(found.header) - 1)]
    summary = [[f"**{cell}**" if cell else "" for cell in row] for row in found.summary]
    lines = [f"### {found.title}", "", *map(line, [found.header, rules, *found.rows, *summary])]
    notes = [*(f"- {note}" for note in found.notes), ""] if found.notes else []
    return "\n".join([*lines, "", *notes])


def as_text(found):
    rows = [found.header, *found.rows, *found.summary]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells):
        padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        return "  ".join([cells[0].ljust(widths[0]), *padded[1:]]).rstrip()

    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    body = [line(found.header), rule, *map(line, found.rows), rule, *map(line, found.summary)]
    return "\n".join([found.title, "", *body, *found.notes, ""])


def _print_rich(found):
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(title=found.title, title_justify="left")
    for i, name in enumerate(found.header):
        drawn.add_column(name, justify="right" if i else "left", no_wrap=True)
    for i, row in enumerate(found.rows):
        drawn.add_row(*row, end_section=i == len(found.rows) - 1)
    for row in found.summary:
        drawn.add_row(*row, style="bold")
    console = Console()
    if console.measure(drawn).minimum > console.width:
        print(as_text(found))  # rich would cut the numbers off
        return
    console.print(drawn)
    for note in found.notes:
        console.print(note, markup=False, highlight=False)


def print_tables(results, markdown=False):
    if not results.records:
        return
    rich = sys.stdout.isatty() and not markdown
    for found in tables(results):
        if rich:
            try:
                _print_rich(found)
                continue
            except ImportError:
                rich = False
        print(as_markdown(found) if markdown else as_text(found))


def write(results, folder):
    """compare.json; returns its path."""
    path = Path(folder, "compare.json")
    path.write_text(json.dumps(asdict(results), indent=1) + "\n")
    return path
