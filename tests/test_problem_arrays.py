"""Bad arrays and unusable `out`: rows 26 and 27 of the table in docs/bad-inputs.md."""

import numpy as np
import pytest
from calls import DY, W, X, avg_pool, avg_pool_grad, conv, conv_grad, max_pool

import fastconv
from fastconv import _columns, _pool, _problem

pytestmark = pytest.mark.usefixtures("arguments_untouched")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "abc",
        [[1.0], [2.0, 3.0]],
        np.ones((2, 4, 6, 6), object),
        np.ones((2, 4, 6, 6), complex),
        np.ones((2, 4, 6, 6), bool),
        np.ones((2, 4, 6, 6), np.int64),
        np.ones((2, 4, 6, 6), np.float16),
        np.ma.ones((2, 4, 6, 6), np.float32),
    ],
    ids=["none", "str", "ragged", "object", "complex", "bool", "int", "half", "masked"],
)
@pytest.mark.parametrize("place", ["x", "w", "b", "dy"])
def test_row_26_arrays_that_are_not_float(place, value):
    if place == "b" and value is None:
        pytest.skip("no bias is legal")
    arguments = {"x": X, "w": W, "b": np.ones(4, np.float32), "dy": DY, place: value}
    with pytest.raises(TypeError, match=f"^{place} "):
        if place == "dy":
            conv_grad(value)
        else:
            conv(arguments["x"], arguments["w"], b=arguments["b"])


@pytest.mark.parametrize("dtype", [object, complex, bool, "U3", "M8[s]"])
def test_row_26_max_pool_takes_real_numbers_only(dtype):
    with pytest.raises(TypeError, match="x has dtype"):
        max_pool(x=np.zeros((1, 1, 4, 4), dtype))
    with pytest.raises(TypeError, match="x has dtype"):
        fastconv.im2col(np.zeros((1, 1, 4, 4), dtype), 2)


@pytest.mark.parametrize("dtype", ["i4", "u1", "f2", "?", "c8", "O"])
def test_row_26_average_pool_takes_float_only(dtype):
    with pytest.raises(TypeError, match="x has dtype"):
        avg_pool(x=np.zeros((1, 1, 4, 4), dtype))
    with pytest.raises(TypeError, match="dy has dtype"):
        avg_pool_grad(dy=np.zeros((1, 1, 2, 2), dtype), x_shape=(1, 1, 4, 4))


@pytest.mark.parametrize("dtype", [object, complex, bool, "U3", "M8[s]"])
def test_row_26_gradients_and_columns_are_real_numbers(dtype):
    indices = np.zeros((1, 1, 2, 2), np.int64)
    with pytest.raises(TypeError, match="dy has dtype"):
        fastconv.max_pool_backward(np.zeros((1, 1, 2, 2), dtype), indices, (1, 1, 4, 4))
    with pytest.raises(TypeError, match="cols has dtype"):
        fastconv.col2im(np.zeros((1, 4, 9), dtype), (1, 1, 4, 4), 2)


def test_different_dtypes_are_named():
    with pytest.raises(TypeError, match="w has dtype float64, but x has float32"):
        conv(w=W.astype("f8"))
    with pytest.raises(TypeError, match="b has dtype float64, but x has float32"):
        conv(b=np.ones(4))
    with pytest.raises(TypeError, match="dy has dtype float64, but x has float32"):
        conv_grad(DY.astype("f8"))


def read_only(shape):
    array = np.empty(shape, np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "out",
    [
        np.empty((2, 4, 4, 5), np.float32),
        np.empty((2, 4, 4, 4), np.float64),
        np.empty((2, 4, 4, 4), ">f4"),
        np.empty((4, 4, 4, 2), np.float32).T,
        np.empty((2, 4, 4, 8), np.float32)[..., ::2],
        read_only((2, 4, 4, 4)),
    ],
    ids=["shape", "dtype", "byte_order", "fortran", "strided", "read_only"],
)
def test_row_27_unusable_out(out):
    with pytest.raises(ValueError, match=r"^out "):
        conv(out=out)


def test_row_27_out_that_is_no_array():
    with pytest.raises(TypeError, match="out is of type list"):
        conv(out=[1.0])


def test_row_27_out_that_is_masked():
    with pytest.raises(TypeError, match="out is of type MaskedArray"):
        conv(out=np.ma.empty((2, 4, 4, 4), np.float32))


def test_row_27_out_of_a_subclass_is_filled_as_memory():
    class Counting(np.ndarray):
        def __setitem__(self, key, value):
            raise AssertionError("the subclass was asked to write")

    memory = np.zeros((2, 4, 4, 4), np.float32)
    out = memory.view(Counting)
    assert conv(out=out) is out
    np.testing.assert_array_equal(memory, conv())
    x = X.copy()
    overlapping = x.reshape(-1)[:128].reshape(2, 4, 4, 4).view(Counting)
    assert conv(x, out=overlapping) is overlapping
    np.testing.assert_array_equal(np.asarray(overlapping), conv())


@pytest.mark.parametrize("place", ["w", "b"])
def test_row_27_out_that_overlaps_the_weights_or_the_bias(place, algorithm):
    rng = np.random.default_rng(0)
    memory = rng.integers(-4, 5, 600).astype(np.float32)
    x = rng.integers(-4, 5, (2, 4, 6, 6)).astype(np.float32)
    w, b = W, np.float32([1, 2, 3, 4])
    if place == "w":
        w = memory[20:164].reshape(W.shape)
    else:
        b = memory[20:24]
    out = memory[:128].reshape(2, 4, 4, 4)
    expected = fastconv.conv_forward(x, w.copy(), b.copy(), algorithm=algorithm)
    assert fastconv.conv_forward(x, w, b, algorithm=algorithm, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_row_27_out_that_overlaps_an_input(algorithm):
    memory = np.arange(150, dtype=np.float32)
    x = memory[:75].reshape(1, 3, 5, 5)
    out = memory[30:105].reshape(1, 3, 5, 5)
    w = np.ones((3, 3, 3, 3), np.float32)
    expected = fastconv.conv_forward(x.copy(), w, padding=1)
    assert fastconv.conv_forward(x, w, padding=1, out=out, algorithm=algorithm) is out
    np.testing.assert_array_equal(out, expected)


FOREIGN = {
    "max_pool_forward": lambda x: fastconv.max_pool_forward(x, 2),
    "max_unpool": lambda x: fastconv.max_unpool(x, np.zeros(x.shape, np.int64), x.shape),
    "im2col": lambda x: fastconv.im2col(x, 2),
    "col2im": lambda x: fastconv.col2im(x.reshape(1, 4, 16), (1, 1, 5, 5), 2),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_floating_types_that_are_not_of_numpy_are_refused(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")  # its 8 bits are of kind "f", as is long double
    with pytest.raises(TypeError, match="float8_e5m2, expected a real number type"):
        FOREIGN[name](np.ones((1, 1, 8, 8), ml_dtypes.float8_e5m2))


@pytest.mark.parametrize("dtype", ["complex64", "V1"])
def test_loops_take_no_other_element_for_long_double(dtype):
    x, window = np.zeros((1, 1, 1, 4, 4), dtype), _problem.pool_problem((1, 1, 4, 4), 2).window
    indices = np.zeros((1, 1, 1, 2, 2), np.int64)
    with pytest.raises(TypeError, match="expected a real number type"):
        _pool.max_pool_forward(x, window, x[..., :2, :2], indices)
    with pytest.raises(TypeError, match="expected integers or long double"):
        _pool.max_pool_backward(x[0, 0], indices[0, 0], True, x[0, 0])
    columns = np.zeros((1, 4, 9), dtype)
    window = _problem.columns_problem((1, 1, 4, 4), 2, stride=1, padding=0, dilation=1).window
    if dtype == "complex64":  # moved as any 8 bytes
        _columns.im2col(x, window, columns)
    with pytest.raises(TypeError, match="expected a real number type"):
        _columns.col2im(columns, window, x)
