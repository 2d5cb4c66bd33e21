"""What holds for every function of the reference.

Data are small integers in float64, so that every sum is exact.
"""

import ast
import inspect
import math
import pathlib
import sys

import numpy as np
import pytest
from cases import integers
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import reference

INF = math.inf


# ------------------------------------------------------------------------- rules for every function

X, W, B = integers(10, 2, 4, 5, 5), integers(11, 6, 2, 3, 3), integers(12, 6)
Y = integers(13, 2, 6, 3, 3)
POOLED, INDICES = reference.max_pool_forward(X, 2)
GAMMA, SCORES = integers(14, 4), integers(15, 3, 4)

CALLS = {
    "conv_forward": ((X, W, B), {"groups": 2}),
    "conv_backward": ((Y, X, W), {"groups": 2}),
    "conv_jvp": ((X, W, X[::-1], W[::-1], B), {"groups": 2}),
    "conv_transpose_forward": ((Y, W, X[0, :, 0, 0]), {"groups": 2}),
    "conv_transpose_backward": ((X, Y, W), {"groups": 2}),
    "conv_matrix": ((W, X.shape), {"groups": 2}),
    "max_pool_forward": ((X, 2), {}),
    "max_pool_backward": ((POOLED, INDICES, X.shape), {}),
    "max_unpool": ((POOLED, INDICES, X.shape), {}),
    "adaptive_max_pool_forward": ((X, 2), {}),
    "adaptive_avg_pool_forward": ((X, 2), {}),
    "adaptive_avg_pool_backward": ((POOLED, X.shape), {}),
    "avg_pool_forward": ((X, 2), {}),
    "avg_pool_backward": ((POOLED, X.shape, 2), {}),
    "im2col": ((X, 2), {}),
    "col2im": ((reference.im2col(X, 2), X.shape, 2), {}),
    "batch_norm_forward": ((X, GAMMA, GAMMA), {}),
    "batch_norm_backward": ((X, X, GAMMA, GAMMA, GAMMA), {}),
    "batch_norm_inference": ((X, GAMMA, GAMMA, GAMMA, GAMMA**2), {}),
    "relu_forward": ((X,), {}),
    "relu_backward": ((X, X), {}),
    "sigmoid_forward": ((X,), {}),
    "sigmoid_backward": ((X, X), {}),
    "affine_forward": ((SCORES, SCORES.T, SCORES[:, 0]), {}),
    "affine_backward": ((np.eye(3), SCORES, SCORES.T), {}),
    "softmax_cross_entropy": ((SCORES, np.array([0, 3, 1])), {}),
}


def call(name, change=lambda a: a):
    """The results of one function as a tuple, every array argument passed through ``change``."""
    args, options = CALLS[name]
    args = [change(a) if isinstance(a, np.ndarray) else a for a in args]
    result = getattr(reference, name)(*args, **options)
    return args, result if isinstance(result, tuple) else (result,)


def test_every_public_function_is_called_below():
    functions = {n for n in reference.__all__ if inspect.isfunction(getattr(reference, n))}
    assert functions == CALLS.keys()
    assert set(reference.__all__) - functions == {"ConvGradients"}


@pytest.mark.parametrize("name", CALLS)
def test_arguments_are_left_unmodified_and_results_are_fresh(name):
    originals = [a.copy() for a in CALLS[name][0] if isinstance(a, np.ndarray)]
    args, results = call(name)
    arrays = [a for a in args if isinstance(a, np.ndarray)]
    for array, original in zip(arrays, originals, strict=True):
        assert_array_equal(array, original)
    for result in results:
        if isinstance(result, np.ndarray):
            assert result.flags.c_contiguous and result.flags.owndata and result.flags.writeable
            assert not any(np.shares_memory(result, array) for array in arrays)


def reversed_view(a):
    backwards = np.flip(a).copy()
    return np.flip(backwards)


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    "change",
    [np.asfortranarray, reversed_view, read_only, lambda a: a.astype(a.dtype.newbyteorder())],
    ids=["fortran", "reversed", "read_only", "other_byte_order"],
)
@pytest.mark.parametrize("name", CALLS)
def test_strides_and_byte_order_do_not_matter(name, change):
    _, expected = call(name)
    _, results = call(name, change)
    for result, other in zip(results, expected, strict=True):
        assert_array_equal(result, other)
        if isinstance(result, np.ndarray):
            assert result.dtype == other.dtype and result.dtype.isnative
            assert result.flags.c_contiguous


@pytest.mark.parametrize("name", CALLS)
def test_float32_in_gives_float32_out(name):
    _, expected = call(name)
    _, results = call(
        name, lambda a: a.astype(np.float32) if np.issubdtype(a.dtype, np.floating) else a
    )
    for result, other in zip(results, expected, strict=True):
        assert_allclose(result, other, rtol=1e-6, atol=1e-6)
        if isinstance(result, np.ndarray):
            assert result.dtype == (np.int64 if other.dtype == np.int64 else np.float32)


def test_float32_sums_are_accumulated_in_float64():
    x = np.array([2.0**24, 1.0, 1.0, -(2.0**24)], dtype=np.float32).reshape(1, 1, 4)
    ones = np.ones((1, 1, 4), dtype=np.float32)
    assert_array_equal(reference.conv_forward(x, ones), [[[2]]])
    assert_array_equal(reference.avg_pool_forward(x, 4), [[[0.5]]])
    assert_array_equal(reference.conv_backward(x, ones, ones[:, :, :1]).db, [2])
    same_cell = np.zeros((1, 1, 4), dtype=np.int64)
    assert_array_equal(reference.max_pool_backward(x, same_cell, (1, 1, 1)), [[[2]]])
    # Four windows cover the middle cell: its entries lie on the anti-diagonal.
    cols = np.zeros((1, 4, 4), dtype=np.float32)
    cols[0, range(4), [3, 2, 1, 0]] = x.ravel()
    assert_array_equal(reference.col2im(cols, (1, 1, 7), 4), [[[0, 0, 0, 2, 0, 0, 0]]])


def test_float32_overflow_is_infinity_without_a_warning():
    x = np.full((1, 1, 2), 3e38, dtype=np.float32)
    ones = np.ones((1, 1, 2), dtype=np.float32)
    assert_array_equal(reference.conv_forward(x, ones), [[[INF]]])


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "full"},
        {"padding": -1},
        {"padding": (1, 2, 3)},
        {"padding": ((1, 0),)},
        {"stride": 0},
        {"stride": (1, 1, 1)},
        {"dilation": (1, -1)},
        {"groups": 3},
        {"groups": 0},
        {"layout": "NWC"},
        {"activation": "tanh"},
        {"dilation": 4},  # the effective kernel is larger than the input
    ],
    ids=str,
)
def test_conv_refuses_options_that_do_not_fit(options):
    with pytest.raises(ValueError, match=r"\w"):
        reference.conv_forward(X, np.ones((6, 4, 3, 3)), **options)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="b has shape"):
        reference.conv_forward(X, W, np.ones(5), groups=2)
    with pytest.raises(ValueError, match="expected the same, 3 to 5"):
        reference.conv_forward(X, np.ones((6, 4, 3)))
    with pytest.raises(ValueError, match="dy"):
        reference.conv_backward(np.ones((2, 6, 3, 4)), X, W, groups=2)
    with pytest.raises(ValueError, match="need is"):
        reference.conv_backward(Y, X, W, groups=2, need=("dz",))
    with pytest.raises(ValueError, match="output size"):
        reference.avg_pool_forward(X, 6)
    with pytest.raises(ValueError, match="cols has shape"):
        reference.col2im(np.ones((2, 16, 15)), X.shape, 2)


def test_integers_are_refused_where_results_are_not_integers():
    ones = np.ones((1, 1, 4), dtype=int)
    with pytest.raises(TypeError, match="int64"):
        reference.conv_forward(ones, ones)
    with pytest.raises(TypeError, match="int64"):
        reference.avg_pool_forward(ones, 2)


def test_reference_imports_nothing_but_numpy_the_standard_library_and_scipy_when_asked():
    sources = sorted(pathlib.Path(reference.__file__).parent.glob("*.py"))
    assert len(sources) > 1
    for source in sources:
        module = ast.parse(source.read_text(encoding="utf-8"))
        for node in ast.walk(module):
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level <= 1, f"{source.name} imports from outside reference"
                imported = [] if node.level == 1 else [node.module]
            else:
                continue
            for name in imported:
                top = name.partition(".")[0]
                inside_a_function = node not in module.body
                assert (
                    top == "numpy"
                    or top in sys.stdlib_module_names
                    or (name == "scipy.sparse" and inside_a_function)
                ), f"{source.name} imports {name}"
