"""Every path of every direction, forced, at every instruction set, against the naive loops.

What the engine's lists hold is covered: paths are enumerated, and asked what they refuse. Elements
are small integers, so that every sum is exact in every order.
"""

import functools

import numpy as np
import pytest
from cases import CONV, LAYOUT_LAST, Case, assert_close, assert_same_bits, channels_last

import fastconv
from fastconv import _core, plans

# Problems that are large enough for the paths that small ones refuse, named after what they reach.
LARGER = [
    Case("narrow_planes", (3, 20, 7, 7), (20, 1, 3, 3), {"padding": 1, "groups": 20}),
    Case("narrow_planes_4x4", (3, 9, 4, 4), (9, 1, 3, 3), {"padding": 1, "groups": 9}),
    Case("planes_in_place", (2, 5, 19, 35), (5, 1, 3, 3), {"padding": 1, "groups": 5}),
    Case("planes_in_place_pairs", (2, 6, 19, 35), (8, 3, 3, 3), {"padding": 1, "groups": 2}),
    Case(
        "planes_in_place_stride_2",
        (2, 5, 20, 36),
        (5, 1, 5, 5),
        {"padding": 2, "stride": 2, "groups": 5},
    ),
    Case("large_kernel_of_planes", (1, 3, 17, 30), (3, 1, 13, 13), {"padding": 6, "groups": 3}),
    Case(
        "short_lines_of_many_planes",
        (2, 20, 6, 6),
        (20, 1, 3, 3),
        {"padding": 1, "stride": 2, "groups": 20},
    ),
    Case("planes_of_volumes", (2, 4, 5, 9, 20), (4, 1, 3, 3, 3), {"padding": 1, "groups": 4}),
    Case("small_volumes", (2, 20, 4, 2, 2), (20, 1, 3, 3, 3), {"padding": 1, "groups": 20}),
    Case("residues_in_two_calls", (2, 20, 1, 9), (20, 1, 1, 9), {"stride": (1, 9), "groups": 20}),
    Case("tiles_3x3", (2, 20, 14, 15), (24, 20, 3, 3), {"padding": 1}),
    Case("tiles_3x3_dilated", (2, 17, 14, 15), (16, 17, 3, 3), {"padding": 2, "dilation": 2}),
    Case("tiles_5x5", (2, 17, 13, 14), (18, 17, 5, 5), {"padding": 2}),
    Case("tiles_of_a_stride", (2, 17, 15, 14), (18, 17, 3, 3), {"padding": 1, "stride": 2}),
    *(
        Case(f"tiles_{rows}x{columns}", (2, 16, 12, 13), (17, 16, rows, columns))
        for rows, columns in [(1, 2), (1, 3), (3, 1), (1, 5), (5, 1), (1, 7)]
    ),
    Case("tiles_of_volumes", (1, 16, 4, 9, 10), (16, 16, 3, 3, 3), {"padding": 1}),
    Case("few_channels", (2, 3, 17, 33), (9, 3, 3, 3), {"padding": 1}),
    Case("lines_of_16", (3, 6, 16, 16), (8, 6, 3, 3), {"padding": 1}),
    Case("pointwise_many", (3, 40, 9, 11), (70, 40, 1, 1)),
    Case("pointwise_strided", (2, 130, 12, 13), (40, 130, 1, 1), {"stride": 2}),
    Case("most_taps_in_the_padding", (2, 40, 9, 9), (50, 40, 3, 3), {"padding": 4, "dilation": 4}),
    Case("rows_in_the_padding", (2, 8, 14, 40), (36, 8, 9, 3), {"padding": (4, 1)}),
    Case("residues_of_a_stride", (2, 24, 21, 22), (40, 24, 3, 3), {"padding": 1, "stride": 2}),
    Case("residues_unlike", (2, 20, 17, 19), (33, 20, 5, 4), {"padding": 2, "stride": (3, 2)}),
    Case("patches", (2, 24, 12, 16), (32, 24, 2, 2), {"stride": 2}),
    Case("volumes_of_many", (1, 24, 4, 7, 8), (40, 24, 2, 3, 3), {"padding": 1}),
    Case("taps_left_out_of_dw", (3, 70, 8, 9), (80, 70, 3, 3), {"padding": 1}),
    Case("taps_left_out_of_volumes", (2, 30, 3, 7, 8), (40, 30, 2, 3, 3), {"padding": (0, 1, 1)}),
    # In place, planes would lie in the same sets of the cache; those in the padding are copied.
    Case("planes_in_place_or_not", (2, 2, 4, 16, 32), (8, 2, 3, 1, 1), {"padding": (1, 0, 0)}),
    Case("signal", (2, 20, 301), (33, 20, 5), {"padding": 2}),
]
CASES = {case.name: case for case in (*CONV, *LARGER)}
GRADIENTS = {"forward": ("y",), "dx": ("dx",), "dw": ("dw", "db")}


@functools.cache
def arrays(name, dtype, last):
    """x, w, b, dy of small integers and the options of a case, in a layout."""
    case = CASES[name]
    x, w, b = case.integers(dtype=dtype)
    shape = fastconv.conv_output_shape(case.x, case.w, **case.options)
    dy = np.random.default_rng(1).integers(-4, 5, shape).astype(dtype)
    options = dict(case.options)
    if last:
        x, dy = channels_last(x), channels_last(dy)
        options["layout"] = LAYOUT_LAST[len(case.x) - 2]
    return x, w, b, dy, options


def run(op, path, x, w, b, dy, options):
    """The results of one direction by one path."""
    options = dict(options, algorithm=path)
    if op == "forward":
        return (fastconv.conv_forward(x, w, b, **options),)
    gradients = fastconv.conv_backward(dy, x, w, need=GRADIENTS[op], **options)
    return tuple(getattr(gradients, name) for name in GRADIENTS[op])


@functools.cache
def spoiled_arrays(name, last, spoiled):
    """As arrays() in float32, with an infinity in x, w or dy."""
    *given, options = arrays(name, "float32", last)
    x, w, b, dy = (array.copy() for array in given)
    array = {"x": x, "w": w, "dy": dy}[spoiled]
    array.flat[array.size // 3] = np.inf
    return x, w, b, dy, options


@functools.cache
def expected(case, dtype, last, op, spoiled=None):
    given = spoiled_arrays(case, last, spoiled) if spoiled else arrays(case, dtype, last)
    return run(op, "naive", *given)


def row_of(op, path, case, dtype, last):
    """What the choice says of a path."""
    x, w, _, _, options = arrays(case, dtype, last)
    rows = fastconv.explain(op, x.shape, w.shape, dtype=dtype, **options)["candidates"]
    return next(row for row in rows if row["path"] == path)


def problems_of(op, path, dtype):
    """The (case, last, whether it is exact) that a path of a direction does not refuse."""
    reasons, found = [], []
    for case in CASES:
        for last in (False, True):
            row = row_of(op, path, case, dtype, last)
            reasons.append(row["refusal"])
            if row["refusal"] is None:
                found.append((case, last, row["exact"]))
    if not found:
        pytest.skip(f"refuses all: {reasons[0]}")
    return found


def paths_of(op):
    return [row["path"] for row in fastconv.explain(op, (1, 1, 4), (1, 1, 2))["candidates"]]


EVERY = [
    pytest.param(op, path, id=f"{op}-{path}")
    for op in plans.CONV_OPS
    for path in paths_of(op)
    if path != "naive"
]


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("op", "path"), EVERY)
def test_path_gives_what_the_definition_gives(op, path, dtype, isa):
    for case, last, exact in problems_of(op, path, dtype):
        actual = run(op, path, *arrays(case, dtype, last))
        for got, want in zip(actual, expected(case, dtype, last, op), strict=True):
            if exact:
                np.testing.assert_array_equal(got, want, err_msg=f"{case} {last}")
            else:
                scale = max(1, np.abs(want).max(initial=0))
                assert_close(got, want, depth=64, scale=scale)


@pytest.mark.parametrize(("op", "path"), EVERY)
def test_path_gives_the_same_bits_on_any_number_of_threads(op, path, isa):
    for case, last, _ in problems_of(op, path, "float32"):
        x, w, b, dy, options = arrays(case, "float32", last)
        rng = np.random.default_rng(2)
        x, w, b, dy = (rng.uniform(-1, 1, a.shape).astype(a.dtype) for a in (x, w, b, dy))
        results = []
        for threads in (1, 2, 3):
            with fastconv.num_threads(threads):
                results.append(run(op, path, x, w, b, dy, options))
        for other in results[1:]:
            for got, want in zip(other, results[0], strict=True):
                assert_same_bits(got, want)


@pytest.mark.parametrize("spoiled", ["x", "w", "dy"])
@pytest.mark.parametrize(("op", "path"), EVERY)
def test_path_puts_infinities_where_the_definition_does(op, path, spoiled, isa):
    if spoiled == {"forward": "dy", "dx": "x", "dw": "w"}[op]:
        pytest.skip("the direction does not read it")
    for case, last, exact in problems_of(op, path, "float32"):
        actual = run(op, path, *spoiled_arrays(case, last, spoiled))
        want = expected(case, "float32", last, op, spoiled)
        for got, right in zip(actual, want, strict=True):
            np.testing.assert_array_equal(np.isfinite(got), np.isfinite(right), err_msg=str(case))
            if exact:
                np.testing.assert_array_equal(got, right, err_msg=str(case))


def test_every_path_is_met_unless_the_instruction_sets_here_lack_it():
    for op, path in (parameters.values for parameters in EVERY):
        reasons = set()
        for isa in fastconv.isas():
            with fastconv.use_isa(isa):
                for case in CASES:
                    for dtype in ("float32", "float64"):
                        for last in (False, True):
                            reasons.add(row_of(op, path, case, dtype, last)["refusal"])
        lacking = {reason for reason in reasons if reason and "instruction set" in reason}
        assert None in reasons or lacking, f"no case of this file meets {path} of {op}"


def test_gradients_are_refused_before_any_is_computed(monkeypatch):
    # The path does dx, but not dw.
    x, w = np.ones((1, 8, 6, 6), np.float32), np.ones((8, 8, 3, 3), np.float32)
    dy = fastconv.conv_forward(x, w)
    monkeypatch.setattr(_core, "conv_backward_data", None)
    with pytest.raises(ValueError, match=r"no path for this operation or direction \(dw\)"):
        fastconv.conv_backward(dy, x, w, algorithm="implicit_gemm/pixels")
