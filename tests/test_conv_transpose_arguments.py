"""Arguments of transposed convolution that do not fit: name, what it was, what is expected.

The number in a test's name is the row of the table in docs/bad-inputs.md.
"""

import numpy as np
import pytest

import fastconv

X, W = np.ones((2, 4, 5, 6), np.float32), np.ones((4, 2, 3, 3), np.float32)
HUGE = 2**63 - 1


def forward(x=X, w=W, b=None, **options):
    return fastconv.conv_transpose_forward(x, w, b, **options)


def backward(x=X, w=W, dy=None, **options):
    dy = np.ones((2, 2, 7, 8), np.float32) if dy is None else dy
    return fastconv.conv_transpose_backward(dy, x, w, **options)


@pytest.fixture(autouse=True)
def arguments_untouched_and_library_usable():
    yield
    assert (X == 1).all() and (W == 1).all()
    np.testing.assert_array_equal(
        fastconv.conv_forward(X, X[:, :, :1, :1]), np.full((2, 2, 5, 6), 4)
    )


BOTH = pytest.mark.parametrize("call", [forward, backward])


@BOTH
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"stride": 0}, "stride is 0"),
        ({"stride": (1, -2)}, r"stride\[1\] is -2"),
        ({"stride": (1, 1, 1)}, r"stride is \(1, 1, 1\)"),
        ({"dilation": 0}, "dilation is 0"),
        ({"dilation": (1, 0)}, r"dilation\[1\] is 0"),
        ({"padding": -1}, "padding is -1"),
        ({"padding": "full"}, "padding is 'full'"),
        ({"padding": (1, 2, 3)}, r"padding is \(1, 2, 3\)"),
        ({"groups": 0}, "groups is 0"),
        ({"groups": -(2**63)}, "groups is -9223372036854775808"),
        ({"groups": 3}, "groups is 3"),
        ({"layout": "NWC"}, "layout is 'NWC'"),
        ({"output_padding": -1}, "output_padding is -1"),
        ({"output_padding": (0, -1)}, r"output_padding\[1\] is -1"),
        ({"output_padding": (0,)}, r"output_padding is \(0,\)"),
        ({"output_padding": 2**63}, "output_padding is 9223372036854775808"),
        ({"stride": HUGE + 1}, "stride is"),
    ],
    ids=str,
)
def test_geometry_that_does_not_fit_is_named_with_its_value_and_what_was_expected(
    call, options, match
):
    with pytest.raises(ValueError, match=f"{match}.*expected"):
        call(**options)


@BOTH
@pytest.mark.parametrize(
    "options",
    [
        {"output_padding": 1},
        {"stride": 2, "output_padding": 2},
        {"stride": (2, 1), "output_padding": 1},
        {"stride": 2, "dilation": (3, 2), "output_padding": 2},
        {"output_padding": HUGE},
        {"padding": "same", "stride": 2, "output_padding": 1},
        {"padding": "same_lower", "stride": 2, "output_padding": (0, 1)},
    ],
    ids=str,
)
def test_row_20_output_padding_that_no_stride_or_dilation_leaves_room_for(call, options):
    with pytest.raises(ValueError, match=r"output_padding.*\d.*expected"):
        call(**options)


@BOTH
@pytest.mark.parametrize(
    "padding",
    [4, (4, 0), ((0, 0), (8, 0)), ((3, 4), (1, 1)), HUGE, ((HUGE, HUGE), (0, 0))],
    ids=str,
)
def test_row_20_padding_that_leaves_no_output(call, padding):
    with pytest.raises(ValueError, match=r"padding.*expected"):
        call(padding=padding)


@BOTH
@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2**62},
        {"stride": HUGE},
        {"stride": (1, HUGE)},
        {"dilation": HUGE},
        {"dilation": (2**62, 1)},
        {"stride": HUGE, "padding": "same"},
        {"stride": 2**31},
    ],
    ids=str,
)
def test_row_9_output_beyond_int64(call, options):
    with pytest.raises(ValueError, match=r"expected"):
        call(**options)


def test_row_9_output_beyond_memory_is_a_memory_error():
    with pytest.raises(MemoryError):
        forward(stride=2**24)
    with pytest.raises(MemoryError):
        forward(dilation=2**24)


@pytest.mark.parametrize("value", [2.0, np.nan, True, np.True_, "2", None, 1j, (1.0, 2)], ids=str)
@pytest.mark.parametrize("name", ["stride", "dilation", "padding", "output_padding", "groups"])
def test_row_10_geometry_that_is_no_integer(name, value):
    with pytest.raises((TypeError, ValueError), match=name):
        forward(**{name: value})


@BOTH
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "match"),
    [
        ((2, 4, 5, 6), (3, 2, 3, 3), "w.*3.*expected.*4"),
        ((2, 4, 5, 6), (4, 2, 3), "expected"),
        ((2, 4, 5), (4, 2, 3, 3), "expected"),
        ((2, 4), (4, 2), "expected"),
        ((1, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1), "expected"),
        ((2, 4, 5, 6), (4, 0, 3, 3), r"shape of w\[1\] is 0"),
        ((2, 4, 5, 6), (4, 2, 0, 3), r"shape of w\[2\] is 0"),
        ((2, 0, 5, 6), (0, 2, 3, 3), r"\[[01]\] is 0"),
        ((2, 4, 0, 6), (4, 2, 3, 3), r"shape of x\[2\] is 0"),
    ],
    ids=str,
)
def test_rows_5_and_18_shapes_that_do_not_fit_together(call, x_shape, w_shape, match):
    with pytest.raises(ValueError, match=match):
        call(np.ones(x_shape, np.float32), np.ones(w_shape, np.float32))


def test_bias_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"b has shape \(4,\), expected \(2,\)"):
        forward(b=np.ones(4, np.float32))
    with pytest.raises(ValueError, match=r"b has shape \(2,\), expected \(4,\)"):
        forward(b=np.ones(2, np.float32), groups=2)


@pytest.mark.parametrize("shape", [(2, 2, 7, 7), (1, 2, 7, 8), (2, 4, 7, 8), (2, 7, 8, 2), (2, 2)])
def test_row_12_dy_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"dy has shape .* expected \(2, 2, 7, 8\)"):
        backward(dy=np.ones(shape, np.float32))


def test_need_with_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="need contains 'dz', expected"):
        backward(need=("dx", "dz"))


def test_different_dtypes_are_named():
    with pytest.raises(TypeError, match="w has dtype float64, but x has float32"):
        forward(w=W.astype("f8"))
    with pytest.raises(TypeError, match="b has dtype float64, but x has float32"):
        forward(b=np.ones(2))
    with pytest.raises(TypeError, match="dy has dtype float64, but x has float32"):
        backward(dy=np.ones((2, 2, 7, 8)))


@pytest.mark.parametrize("dtype", [object, complex, bool, np.int64, np.float16])
@pytest.mark.parametrize("place", ["x", "w", "b", "dy"])
def test_row_26_arrays_that_are_not_float(place, dtype):
    shape = {"x": X.shape, "w": W.shape, "b": (2,), "dy": (2, 2, 7, 8)}[place]
    with pytest.raises(TypeError, match=f"^{place} "):
        (backward if place == "dy" else forward)(**{place: np.ones(shape, dtype)})


@pytest.mark.parametrize(
    "out",
    [
        np.empty((2, 2, 7, 9), np.float32),
        np.empty((2, 2, 7, 8), np.float64),
        np.empty((2, 2, 7, 8), ">f4"),
        np.empty((8, 7, 2, 2), np.float32).T,
        np.broadcast_to(np.float32(0), (2, 2, 7, 8)),
    ],
    ids=["shape", "dtype", "byte_order", "fortran", "read_only"],
)
def test_row_27_unusable_out(out):
    with pytest.raises(ValueError, match=r"^out "):
        forward(out=out)
