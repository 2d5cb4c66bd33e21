"""Which combinations of a sweep the short run takes: few in which every two values meet."""

from itertools import combinations


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
