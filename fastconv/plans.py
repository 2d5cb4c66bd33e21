"""What the engine would run for a problem, and why: plans as text and as dictionaries."""

import sys
from contextlib import suppress

import numpy as np

from . import _core, _problem, _values

CONV_OPS = ("forward", "dx", "dw")
POOL_OPS = ("max_pool", "avg_pool", "avg_pool_backward")
COLUMN_OPS = ("im2col", "col2im")


def path_names():
    """Every path of every direction of a convolution, in order of preference."""
    names = dict.fromkeys(name for op in CONV_OPS for name in _core.path_names(op))
    # What refuses nothing is the last of all.
    return tuple(sorted(names, key="naive".__eq__))


PATHS = path_names()
# What `algorithm` may be, beside "auto": a path, or an algorithm, which stands for all its paths.
ALGORITHMS = tuple(dict.fromkeys((*PATHS, *(name.partition("/")[0] for name in PATHS))))


class Explanation(dict):
    """What `explain` returns: a dict that prints as a table.

    Keys: "op", "problem", "x_shape", "w_shape", "y_shape", "dtype", "isa", "threads", "path",
    "asked", "fallback", "how", "tile", "block", "tasks", "workspace_bytes", "packed_bytes" and
    "candidates", a list of dicts of "path", "exact", "refusal", "doubt", "cycles" and "verdict".
    """

    def __str__(self):
        lines = [
            f"{self['op']}: x {self['x_shape']}, w {self['w_shape']} -> y {self['y_shape']}, "
            f"{self['dtype']}, instruction set {self['isa']}, {self['threads']} thread(s)",
            *plan_lines(self),
            "  paths in order of preference",
            *candidate_lines(self["candidates"]),
        ]
        return "\n".join(lines)

    __repr__ = __str__


def plan_lines(plan):
    """The lines that say what runs and with what blocks."""
    asked = "the first that suits" if plan["asked"] == "auto" else "as asked"
    lines = [f"  path       {plan['path']}: {asked}"]
    if plan["how"]:
        lines.append(f"  how        {plan['how']}")
    rows, columns = plan["tile"]
    if rows:
        lines.append(f"  tile       {rows} x {columns} elements in registers")
    images, height, width = plan["block"]
    if images:
        lines.append(f"  block      {images} x {height} x {width} outputs: images, lines, columns")
    if plan["tasks"]:
        lines.append(f"  tasks      {plan['tasks']}")
    if plan["fallback"]:
        lines.append(f"  else       {plan['fallback']}, where values are not finite")
    lines.append(f"  workspace  {plan['workspace_bytes'] / 2**20:.2f} MiB")
    if plan["packed_bytes"]:
        lines.append(f"  weights    {plan['packed_bytes'] / 2**20:.2f} MiB, arranged once")
    return lines


def candidate_lines(candidates):
    """One line a path: its estimate, and why it was taken or passed over."""
    width = max(len(row["path"]) for row in candidates) if candidates else 0
    lines = []
    for row in candidates:
        cycles = "" if row["cycles"] is None else f"{row['cycles']:.3g} cycles"
        mark = ">" if row["verdict"] == "taken" else " "
        lines.append(f"  {mark} {row['path']:{width}}  {cycles:16}  {row['verdict']}".rstrip())
    return lines


def judged(candidates, path):
    """The candidates, each with a "verdict": why it is, or is not, the one of that path."""
    before = True
    for row in candidates:
        if row["path"] == path:
            before = False
            row["verdict"] = "taken"
        elif row["refusal"] is not None:
            row["verdict"] = f"refused: {row['refusal']}"
        elif row["doubt"] is not None:
            row["verdict"] = f"passed over: {row['doubt']}"
        else:
            row["verdict"] = "passed over: another was asked for" if before else "not reached"
    return candidates


def explain(
    op,
    x_shape,
    w_shape,
    *,
    dtype="float32",
    stride=None,
    padding=0,
    dilation=1,
    groups=1,
    ceil_mode=False,
    layout=None,
    algorithm="auto",
):
    """What would run for a problem, and why: nothing is computed and no array is needed.

    Every path of the operation is listed in order of preference with its estimated cost and the
    reason for which it is refused, passed over or taken.

    Parameters
    ----------
    op : {"forward", "dx", "dw", "max_pool", "avg_pool", "avg_pool_backward", "im2col", "col2im"}
        The operation: of a convolution forward, its gradients, a pool, or columns.
    x_shape : tuple of int
        Shape of x in `layout`. Arrays are taken as C-contiguous.
    w_shape : tuple of int, (K, C / groups, *kernel); of pools and columns the kernel_size
        Shape of the filters.
    dtype : dtype
        float32 or float64; of "max_pool" any real one.
    stride : int or one int per spatial axis, optional
        Default: 1; of pools the kernel size.
    padding, dilation, groups, layout
        As in `conv_forward`.
    ceil_mode : bool
        As in `max_pool_forward`.
    algorithm : str
        As in `conv_forward`; of a convolution only.

    Returns
    -------
    Explanation
        A dict that prints as a table: the path that would run, its register tile, blocks, tasks
        and workspace (bytes), and under "candidates" a dict for every path: its name, whether it
        is exact on sums of small whole numbers, its estimate in cycles of one thread (None: it
        has none), and its verdict.

    Raises
    ------
    TypeError, ValueError
        As the operation itself; ValueError for an unknown `op`, or an `algorithm` that refuses.

    Examples
    --------
    >>> import fastconv
    >>> plan = fastconv.explain("forward", (1, 3, 8, 8), (4, 3, 3, 3), algorithm="naive")
    >>> plan["path"]
    'naive'
    """
    if op not in CONV_OPS + POOL_OPS + COLUMN_OPS:
        raise ValueError(f"op is {op!r}, expected one of {CONV_OPS + POOL_OPS + COLUMN_OPS}")
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype is {dtype!r}, expected a real number type") from None
    if dtype.char not in _values.REAL:
        raise TypeError(f"dtype is {dtype}, expected a real number type")
    if op not in ("max_pool", *COLUMN_OPS) and dtype.char not in "fd":
        raise TypeError(f"dtype is {dtype}, expected float32 or float64 for {op!r}")
    given = {"dilation": dilation, "groups": groups, "algorithm": algorithm}
    refuse_foreign_options(op, given | {"ceil_mode": ceil_mode, "layout": layout})
    # What half precision, which has no C type, is computed in.
    wide = np.dtype(np.float32) if dtype == np.float16 and op != "im2col" else dtype
    plan, candidates = None, []
    if op in CONV_OPS:
        algorithm = _values.algorithm_name(algorithm, ALGORITHMS)
        geometry = (1 if stride is None else stride, padding, dilation, groups, layout)
        problem = _problem.conv_problem(x_shape, w_shape, *geometry, x_name="x_shape")
        has_b = op == "dw"  # as calls without options: b is None, and db wanted
        plan = _core.describe_conv(op, algorithm, problem, dtype.char, has_b=has_b)
        candidates = _core.conv_candidates(op, problem, dtype.char, has_b=has_b)
        shapes = problem.x_shape, tuple(map(int, w_shape)), problem.y_shape
    elif op in POOL_OPS:
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        options |= {"ceil_mode": ceil_mode, "layout": layout}
        problem = _problem.pool_problem(x_shape, w_shape, **options)
        plan, candidates = _core.explain_pool(op, problem, wide.str[1:])
        shapes = problem.x_shape, problem.window.of_caller(problem.window.kernel), problem.y_shape
    else:
        options = {"stride": 1 if stride is None else stride, "padding": padding}
        problem = _problem.columns_problem(x_shape, w_shape, dilation=dilation, **options)
        if dtype.itemsize in (4, 8) if op == "im2col" else wide.char in "fd":
            plan, candidates = _core.explain_columns(op, problem, wide.itemsize)
        kernel = problem.window.of_caller(problem.window.kernel)
        shapes = problem.x_shape, kernel, problem.cols_shape
    if plan is None:
        plan = loops_of_cython(op)
    names = zip(("x_shape", "w_shape", "y_shape"), shapes, strict=True)
    plan |= {"dtype": dtype.name, **dict(names)}
    return Explanation(plan, candidates=judged(candidates, plan["path"]))


# What is ignored by some ops, and what leaves it as it is.
FOREIGN_OPTIONS = {
    "dilation": (1, ("avg_pool", "avg_pool_backward")),
    "groups": (1, POOL_OPS + COLUMN_OPS),
    "ceil_mode": (False, CONV_OPS + COLUMN_OPS),
    "layout": (None, COLUMN_OPS),
    "algorithm": ("auto", POOL_OPS + COLUMN_OPS),
}


def refuse_foreign_options(op, options):
    """ValueError for an option that the op does not have, unless it has its default."""
    for name, value in options.items():
        default, without = FOREIGN_OPTIONS[name]
        if op in without and not (type(value) is type(default) and value == default):
            raise ValueError(f"{name} is {value!r}, but {op!r} has none: expected {default!r}")


def loops_of_cython(op):
    """What stands for a plan where csrc has none: the loops of _pool.pyx and _columns.pyx."""
    return {
        "op": op,
        "asked": "auto",
        "path": "cython",
        "fallback": None,
        "how": "plain loops for any real dtype and size",
        "tile": (0, 0),
        "block": (0, 0, 0),
        "tasks": 1,
        "threads": 1,
        "isa": "portable",
        "workspace_bytes": 0,
        "packed_bytes": 0,
    }


def log(plan):
    """One line to stderr for a new plan, if there is one: a call does not fail for its log."""
    line = (
        f"fastconv: {plan['op']} {plan['problem']}, {plan['dtype']}, {plan['isa']}, "
        f"{plan['threads']} thread(s): {plan['path']}"
    )
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # it is closed, or its other end is
            print(line, file=sys.stderr)
