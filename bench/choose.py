"""What "auto" chose, against every path that does not refuse, on real layers.

    python bench/choose.py --layers 'rn50_*' --threads 1,2

Columns are the algorithms' best times over auto's, each pair in turn: 1 where auto took this one,
below 1 where another would have been faster. Choices that cost more than `--limit` are listed, and
measured once more before they count: the exit status is 1 if one stays.

The naive loops are the oracle and take minutes; they are left out unless `--algorithms` names them.
Other options, and the environment of the measurement, are those of compare.py; nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile

import compare
import report
from layers import OPS

ORACLE = "naive"


def parse_arguments(arguments=None):
    """Options of compare.py, whose peers are algorithms; algorithms, limit."""
    import fastconv
    from fastconv import plans

    summary, _, details = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --algorithm is compare.py's
    )
    known = plans.ALGORITHMS
    fast = ",".join(name for name in fastconv.algorithms() if name != ORACLE)
    parser.add_argument("--algorithms", default=fast, help="default %(default)s")
    parser.add_argument(
        "--limit", type=float, default=1.1, help="what a choice may cost (%(default)s)"
    )
    own, rest = parser.parse_known_args(arguments)
    names = own.algorithms.split(",")
    for name in names:
        if name not in known:
            parser.error(f"--algorithms: {name!r} is not one of {', '.join(known)}")
    options = compare.parse_arguments([*rest, "--peers", "pytorch"])
    strangers = [op for op in options.ops if op not in OPS]
    if strangers:
        parser.error(f"--ops: {', '.join(strangers)} has one algorithm only")
    if options.plan:
        parser.error(
            "--plan: algorithms are judged by functions, which arrange weights in each call"
        )
    if options.algorithm != "auto":
        parser.error(f"--algorithm is {options.algorithm!r}, but it is auto that is judged")
    options.peers = names
    return own, options


def measure(options):
    """The results of one comparison."""
    with tempfile.TemporaryDirectory() as scratch:
        comparison = compare.Comparison(options, scratch)
        comparison.run()
    settings, limits = comparison.settings, comparison.limits
    return report.Results({}, settings, limits, comparison.passes, comparison.records)


def costs(results):
    """What auto's choice costs: {(layer, op, threads): (its time over the best, the best's name)}.

    Of several malloc settings the first counts.
    """
    found = {}
    for record in results.select(malloc=results.mallocs[0]):
        ratio = report.ratio(record) if record["peer"] else None
        if ratio is not None:
            key = record["layer"], record["op"], record["threads"]
            found[key] = max(found.get(key, (1.0, "auto")), (1 / ratio, record["peer"]))
    return found


def confirmed(options, dear, limit):
    """Those of `dear` that cost more than the limit in another measurement too."""
    found = {}
    for layer, op, threads in dear:
        options.layers, options.ops, options.threads = [layer], [op], [threads]
        first = dear[layer, op, threads]
        again = costs(measure(options)).get((layer, op, threads), first)
        if again[0] > limit:
            found[layer, op, threads] = min(again, first)
    return found


def main(arguments=None):
    own, options = parse_arguments(arguments)
    results = measure(options)
    report.print_tables(results, markdown=options.markdown)
    found = costs(results)
    if not found:
        print("nothing was timed", file=sys.stderr)
        return 1
    mean = report.geometric_mean([cost for cost, _ in found.values()])
    dear = {key: cost for key, cost in found.items() if cost[0] > own.limit}
    dear = confirmed(options, dear, own.limit)
    print(f"{len(found)} choices cost {mean:.3f} of the best time in the geometric mean.")
    for (layer, op, threads), (cost, name) in sorted(dear.items(), key=lambda item: -item[1][0]):
        print(f"{layer} {op}, {threads} thread(s): {cost:.2f} of the time of {name}")
    print(f"{len(dear)} of them cost more than {own.limit:g}.")
    return int(bool(dear) or any(map(report.is_our_fault, results.records)))


if __name__ == "__main__":
    sys.exit(main())
