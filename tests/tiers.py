"""Which tests of a sweep are long, to be left out unless asked for."""

import re
from itertools import combinations

import pytest


def long_except(short, values):
    """`values` as parameters of a test that is long but for those in `short`."""
    return [v if v in short else pytest.param(v, marks=pytest.mark.long) for v in values]


def numbered(items):
    """Rows of numbers: which values each test has of every `parametrize`, then of every fixture."""
    given = [mark.args[0] for mark in items[0].iter_markers("parametrize")]
    given = [re.findall(r"\w+", names) if isinstance(names, str) else names for names in given]
    by_fixtures = set(items[0].callspec.params).difference(*given)
    columns = [*given, *([name] for name in sorted(by_fixtures))]
    numbers = [{} for _ in columns]
    return [
        tuple(
            seen.setdefault(tuple(id(item.callspec.params[name]) for name in names), len(seen))
            for seen, names in zip(numbers, columns, strict=True)
        )
        for item in items
    ]


def covering(rows):
    """Positions of few rows in which every two values meet that do in any of `rows`.

    Rows are equally long; a value belongs to its column. Each time the first row is taken of those
    that show the most pairs for the first time.
    """
    pairs = [set(combinations(enumerate(row), min(len(row), 2))) for row in rows]
    unseen = set().union(*pairs)
    taken = []
    for count in range(max(map(len, pairs), default=0), 0, -1):
        for position, shown in enumerate(pairs):
            if len(shown & unseen) >= count:
                unseen -= shown
                taken.append(position)
    return sorted(taken)
