"""Calls like an earlier one, which are not checked from the start: nothing is taken for it."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
from cases import assert_same_bits, broadcast, channels_last, odd_strides

import fastconv
from fastconv import reference

rng = np.random.default_rng(0)
W = rng.integers(-4, 5, (4, 4, 3, 3)).astype(np.float32)
B = rng.integers(-4, 5, 4).astype(np.float32)
# No two tests see x of the same shape: what is kept of one is not known to another.
WIDTHS = itertools.count(7)


def fresh():
    """x and dy of a shape that no call has had."""
    width = next(WIDTHS)
    x = rng.integers(-4, 5, (2, 4, 6, width)).astype(np.float32)
    return x, rng.integers(-4, 5, (2, 4, 4, width - 2)).astype(np.float32)


def forward(x, dy, w=W, b=B, **options):
    return fastconv.conv_forward(x, w, b, **options)


def backward(x, dy, w=W, **options):
    return fastconv.conv_backward(dy, x, w, **options)


CALLS = pytest.mark.parametrize("call", [forward, backward])


def good_calls(x, dy):
    for _ in range(3):
        for options in ({}, {"stride": 1, "padding": (0, 0), "dilation": (1, 1), "groups": 1}):
            forward(x, dy, **options)
            forward(x, dy, b=None, **options)
            backward(x, dy, **options)


def check_refused_alike(call, bad):
    """bad(x, dy) gives arguments that are refused on a first call, and in the same words later."""
    x, dy = fresh()
    with pytest.raises((TypeError, ValueError)) as first:
        call(**bad(x, dy))
    good_calls(x, dy)
    for _ in range(2):
        with pytest.raises(first.type, match=f"^{re.escape(str(first.value))}$"):
            call(**bad(x, dy))
        good_calls(x, dy)
    return first


@CALLS
@pytest.mark.parametrize(
    "options",
    [
        {"stride": True},
        {"stride": 1.0},
        {"stride": np.True_},
        {"stride": np.float64(1)},
        {"stride": (1, True)},
        {"stride": (1, 1.0)},
        {"stride": (1,)},
        {"stride": "1"},
        {"stride": 1 + 0j},
        {"padding": False},
        {"padding": 0.0},
        {"padding": (0, False)},
        {"padding": ((0, 0), (0, 0.0))},
        {"padding": ((0, 0), (0, False))},
        {"padding": ((0, 0, 0), (0, 0))},
        {"padding": None},
        {"dilation": True},
        {"dilation": (1.0, 1)},
        {"groups": True},
        {"groups": 1.0},
        {"groups": (1,)},
        {"layout": "nchw"},
        {"layout": 0},
        {"layout": False},
        {"algorithm": "fastest"},
        {"algorithm": None},
    ],
    ids=str,
)
def test_geometry_that_equals_a_good_one_is_refused_all_the_same(call, options):
    refused = check_refused_alike(call, lambda x, dy: {"x": x, "dy": dy, **options})
    assert str(refused.value).startswith(next(iter(options)))


@pytest.mark.parametrize(
    "bad",
    [
        {"b": B.astype("f8")},
        {"b": B.astype("i4")},
        {"b": B[:3]},
        {"b": B.reshape(4, 1)},
        {"b": np.float32(1)},
        {"b": [1.0, 2.0, 3.0, 4.0]},
        {"b": np.ma.array(B)},
        {"activation": "tanh"},
        {"out": np.empty((2, 4, 4, 4), np.float32)},
        {"out": [1.0]},
    ],
    ids=lambda bad: next(iter(bad)),
)
def test_bias_activation_and_out_are_checked_in_every_call(bad):
    refused = check_refused_alike(forward, lambda x, dy: {"x": x, "dy": dy, **bad})
    assert str(refused.value).startswith(next(iter(bad)))


ARRAYS = {
    "list": lambda array: array.tolist(),
    "double": lambda array: array.astype("f8"),
    "int": lambda array: array.astype("i4"),
    "half": lambda array: array.astype("f2"),
    "masked": lambda array: np.ma.array(array),
    "object": lambda array: array.astype(object),
    "none": lambda array: None,
    "longer": lambda array: np.concatenate([array, array]),
    "flat": lambda array: array.reshape(-1),
    "without_channel": lambda array: array[:, 1:],
}


# Without what is no error: another batch in forward. A dy that is None has a test of its own.
PLACES = [
    *((forward, place, kind) for place in ("x", "w") for kind in ARRAYS),
    *((backward, place, kind) for place in ("x", "w", "dy") for kind in ARRAYS),
]
PLACES.remove((forward, "x", "longer"))
PLACES.remove((backward, "dy", "none"))


@pytest.mark.parametrize(("call", "place", "kind"), PLACES)
def test_arrays_are_checked_in_every_call(call, place, kind):
    def bad(x, dy):
        arguments = {"x": x, "w": W, "dy": dy}
        if place == "w" and kind == "longer":
            return arguments | {"w": np.ones((5, 5, 3, 3), np.float32)}
        return arguments | {place: ARRAYS[kind](arguments[place])}

    check_refused_alike(call, bad)


# In a process of its own: a kernel that ran would end it.
NO_GRADIENT = """
import numpy as np, fastconv
x, w = np.ones((1, 2, 4, 4), "f4"), np.ones((3, 2, 3, 3), "f4")
fastconv.conv_backward(fastconv.conv_forward(x, w), x, w)
for need in ("dx", "dw", "db"):
    try:
        fastconv.conv_backward(None, x, w, need=need)
    except TypeError as error:
        print(error)
"""


def test_gradient_that_is_none_is_refused_after_a_good_call():
    done = subprocess.run(
        [sys.executable, "-c", NO_GRADIENT], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    message = "dy has dtype object, expected float32 or float64"
    assert done.stdout.splitlines() == [message] * 3


@pytest.mark.parametrize("need", [None, 5, ("dz",), ["dx", "dz"], "dxdw"], ids=str)
def test_need_is_checked_in_every_call(need):
    refused = check_refused_alike(backward, lambda x, dy: {"x": x, "dy": dy, "need": need})
    assert str(refused.value).startswith("need")


def test_same_arrays_give_the_same_bits_again():
    x, dy = fresh()
    x, dy = x + np.float32(0.1), dy + np.float32(0.1)
    first = [forward(x, dy, activation="relu"), *backward(x, dy, stride=1)]
    for _ in range(10):
        again = [forward(x, dy, activation="relu"), *backward(x, dy, stride=1)]
        for actual, want in zip(again, first, strict=True):
            assert_same_bits(actual, want)


def check_against_reference(x, dy, w=W, b=B, **options):
    np.testing.assert_array_equal(
        fastconv.conv_forward(x, w, b, **options), reference.conv_forward(x, w, b, **options)
    )
    expected = reference.conv_backward(dy, x, w, **options)
    for a, e in zip(fastconv.conv_backward(dy, x, w, **options), expected, strict=True):
        np.testing.assert_array_equal(a, e)


def test_new_elements_in_the_same_arrays_give_new_results():
    x, dy = fresh()
    w, b = W.copy(), B.copy()
    check_against_reference(x, dy, w, b)
    for array in (x, dy, w, b):
        array[...] = array[..., ::-1] + 1
        check_against_reference(x, dy, w, b)


def test_memory_layout_may_change_from_call_to_call():
    x, dy = fresh()
    w = np.stack([W[0], W[1], -W[2], W[3]])
    good_calls(x, dy)
    y, gradients = forward(x, dy, w), backward(x, dy, w)
    views = [odd_strides(array) for array in (x, dy, w, B)]
    for kind in views[0]:
        xs, dys, ws, bs = (view[kind] for view in views)
        for x_, dy_, w_, b_ in [(xs, dy, w, B), (x, dys, w, B), (x, dy, ws, B), (x, dy, w, bs)]:
            np.testing.assert_array_equal(forward(x_, dy_, w_, b_), y, err_msg=kind)
            for a, e in zip(backward(x_, dy_, w_), gradients, strict=True):
                np.testing.assert_array_equal(a, e, err_msg=kind)
    (xs, dense_x), (dys, dense_dy) = broadcast(x), broadcast(dy)
    np.testing.assert_array_equal(forward(xs, dys), forward(dense_x, dense_dy))
    for a, e in zip(backward(xs, dys), backward(dense_x, dense_dy), strict=True):
        np.testing.assert_array_equal(a, e)


def test_lists_and_subclasses_are_arrays_after_arrays():
    class Named(np.ndarray):
        pass

    x, dy = (array.astype("f8") for array in fresh())
    w, b = W.astype("f8"), B.astype("f8")
    y, gradients = forward(x, dy, w, b), backward(x, dy, w)
    for convert in (np.ndarray.tolist, lambda array: array.view(Named)):
        xs, dys, ws, bs = map(convert, (x, dy, w, b))
        results = [forward(xs, dys, ws, bs), *backward(xs, dys, ws)]
        for actual, want in zip(results, [y, *gradients], strict=True):
            assert type(actual) is np.ndarray
            np.testing.assert_array_equal(actual, want)


def test_both_dtypes_of_one_shape_alternate():
    x, dy = fresh()
    for dtype in (np.float32, np.float64) * 2:
        arrays = [array.astype(dtype) for array in (x, dy, W, B)]
        results = [forward(*arrays), *backward(*arrays[:3])]
        assert {result.dtype for result in results} == {np.dtype(dtype)}
        check_against_reference(*arrays)


def test_geometries_and_layouts_of_one_shape_alternate():
    # Square: channels may be first or last.
    x = rng.integers(-4, 5, (2, 4, 4, 4)).astype(np.float32)
    geometries = [
        {},
        {"layout": "NHWC"},
        {"padding": 1},
        {"padding": 1, "stride": 2},
        {"padding": 2, "dilation": 2},
        {"padding": (2, 1), "dilation": (2, 1)},
        {"padding": (1, 2), "dilation": (1, 2)},
        {"padding": ((1, 2), (2, 1))},
        {"padding": ((2, 1), (1, 2))},
        {"padding": "same", "stride": 2},
        {"padding": "same_lower", "stride": 2},
        {"padding": "same", "stride": np.int64(2)},
        {"padding": "same", "stride": [2, 2], "layout": np.str_("NHWC")},
        {"padding": [1, np.int8(1)], "layout": "NCHW"},
    ]
    for options in geometries * 2:
        dy = np.ones_like(fastconv.conv_forward(x, W, B, **options))
        check_against_reference(x, dy, **options)


def test_groups_of_one_shape_of_x_alternate():
    x, dy = fresh()
    for groups in (1, 2, 4, 2, 1):
        check_against_reference(x, dy, W[:, : 4 // groups], groups=groups)


def test_channels_last_gradient_of_the_shape_of_channels_first_is_refused():
    x, dy = fresh()
    good_calls(x, dy)
    backward(channels_last(x), channels_last(dy), layout="NHWC")
    with pytest.raises(ValueError, match=r"^dy has shape"):
        backward(x, channels_last(dy))
    with pytest.raises(ValueError, match=r"^dy has shape"):
        backward(channels_last(x), dy, layout="NHWC")


def test_more_problems_than_are_kept():
    w = np.ones((1, 1, 2))
    for _ in range(2):
        for length in range(2, 1300):
            x = np.arange(float(length)).reshape(1, 1, length)
            y = fastconv.conv_forward(x, w)
            assert y.shape == (1, 1, length - 1) and y[0, 0, -1] == 2 * length - 3
