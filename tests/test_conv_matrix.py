"""conv_matrix: a convolution written out as the matrix that it is."""

import sys

import numpy as np
import pytest
from cases import CONV, CONV_BY_NAME, broadcast, odd_strides

import fastconv
from fastconv import reference
from fastconv.reference._geometry import conv_windows

EVERY = pytest.mark.parametrize("case", CONV, ids=str)


@pytest.fixture
def csr_array():
    return pytest.importorskip("scipy.sparse").csr_array


def peak_bytes():
    """The most memory that this process has had in use."""
    resource = pytest.importorskip("resource")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def distinct_weights(case, dtype=np.float64):
    """No two alike and none zero, so that an element says where it comes from."""
    return np.arange(1, np.prod(case.w) + 1).reshape(case.w).astype(dtype)


def test_4x6_example_written_out():
    w1, w2, w3 = 2.0, -3.0, 5.0
    A = fastconv.conv_matrix(np.array([[[w1, w2, w3]]]), (1, 1, 6))
    expected = [
        [w1, w2, w3, 0, 0, 0],
        [0, w1, w2, w3, 0, 0],
        [0, 0, w1, w2, w3, 0],
        [0, 0, 0, w1, w2, w3],
    ]
    np.testing.assert_array_equal(A, expected)
    # Padding by 1 in place of two more elements: the outer columns go.
    A = fastconv.conv_matrix(np.array([[[w1, w2, w3]]]), (1, 1, 4), padding=1)
    np.testing.assert_array_equal(A, np.array(expected)[:, 1:5])


def test_2x2_filter_on_a_3x3_image_written_out():
    A = fastconv.conv_matrix(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), (1, 1, 3, 3))
    expected = [
        [1, 2, 0, 3, 4, 0, 0, 0, 0],
        [0, 1, 2, 0, 3, 4, 0, 0, 0],
        [0, 0, 0, 1, 2, 0, 3, 4, 0],
        [0, 0, 0, 0, 1, 2, 0, 3, 4],
    ]
    np.testing.assert_array_equal(A, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@EVERY
def test_matrix_matches_the_reference(case, dtype):
    w = distinct_weights(case, dtype)
    A = fastconv.conv_matrix(w, case.x, **case.options)
    assert A.dtype == dtype and A.flags.c_contiguous and A.flags.writeable
    np.testing.assert_array_equal(A, reference.conv_matrix(w, case.x, **case.options))


@EVERY
@fastconv.accuracy("high")
def test_matrix_times_image_is_the_convolution_and_its_transpose_the_gradient(case):
    x, w, _ = case.integers()
    A = fastconv.conv_matrix(w, case.x, **case.options)
    y = fastconv.conv_forward(x, w, **case.options)
    assert A.shape == (y[0].size, x[0].size)
    dy = np.random.default_rng(1).integers(-4, 5, y.shape).astype(np.float32)
    dx = fastconv.conv_backward(dy, x, w, **case.options).dx
    for n in range(len(x)):
        np.testing.assert_array_equal(A @ x[n].ravel(), y[n].ravel())
        np.testing.assert_array_equal(A.T @ dy[n].ravel(), dx[n].ravel())


@EVERY
@fastconv.accuracy("high")
def test_transposed_matrix_is_the_transposed_convolution(case):
    _, w, _ = case.integers()
    y_shape = fastconv.conv_output_shape(case.x, case.w, **case.options)
    dy = np.random.default_rng(1).integers(-4, 5, y_shape).astype(np.float32)
    A = fastconv.conv_matrix(w, case.x, **case.options)
    dx = (dy.reshape(len(dy), -1) @ A).reshape(case.x)
    geometry = {"stride": 1, "padding": 0, "dilation": 1} | case.options
    groups = geometry.pop("groups", 1)
    windows = conv_windows(case.x[2:], case.w[2:], **geometry)
    # Elements at the end that no window reaches.
    rest = tuple(
        (size + sum(pads) - (taps - 1) * dilation - 1) % stride
        for size, pads, taps, dilation, stride in zip(
            windows.in_size,
            windows.pads,
            windows.kernel,
            windows.dilation,
            windows.stride,
            strict=True,
        )
    )
    geometry["padding"] = windows.pads
    spread = fastconv.conv_transpose_forward(dy, w, output_padding=rest, groups=groups, **geometry)
    np.testing.assert_array_equal(spread, dx)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@EVERY
def test_sparse_matrix_equals_the_dense_one(case, dtype, csr_array):
    w = distinct_weights(case, dtype)
    dense = fastconv.conv_matrix(w, case.x, **case.options)
    A = fastconv.conv_matrix(w, case.x, sparse=True, **case.options)
    assert isinstance(A, csr_array) and A.dtype == dtype and A.shape == dense.shape
    # An element for every weight that meets the image, and only for these.
    assert A.nnz == np.count_nonzero(dense)
    np.testing.assert_array_equal(A.toarray(), dense)


def test_sparse_matrix_is_canonical_and_multiplies(csr_array):
    case = CONV_BY_NAME["groups_2"]
    x, w, _ = case.integers()
    A = fastconv.conv_matrix(w, case.x, sparse=True, **case.options)
    A.check_format(full_check=True)
    assert A.has_canonical_format
    y = fastconv.conv_forward(x, w, **case.options)
    for image, response in zip(x, y, strict=True):
        np.testing.assert_array_equal(A @ image.ravel(), response.ravel())


def test_sparse_matrix_of_an_image_whose_dense_one_has_no_room(csr_array):
    w = np.arange(1.0, 10.0, dtype=np.float32).reshape(1, 1, 3, 3)
    x = np.random.default_rng(0).integers(-4, 5, (1, 1, 200, 210)).astype(np.float32)
    A = fastconv.conv_matrix(w, x.shape, padding=1, sparse=True)
    assert A.shape == (42000, 42000) and A.nnz == (3 * 200 - 2) * (3 * 210 - 2)
    y = fastconv.conv_forward(x, w, padding=1)
    np.testing.assert_array_equal(A @ x.ravel(), y.ravel())


@pytest.mark.parametrize("batch", [0, 1, 5])
def test_batch_of_x_shape_does_not_matter(batch):
    w = np.arange(1.0, 13.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(
        fastconv.conv_matrix(w, (batch, 2, 7)), fastconv.conv_matrix(w, (3, 2, 7))
    )


def test_memory_layout_of_the_weights_does_not_matter():
    case = CONV_BY_NAME["groups_2"]
    w = distinct_weights(case)
    expected = fastconv.conv_matrix(w, case.x, **case.options)
    for kind, view in odd_strides(w).items():
        before = view.tobytes()
        actual = fastconv.conv_matrix(view, case.x, **case.options)
        np.testing.assert_array_equal(actual, expected, err_msg=kind)
        assert actual.dtype.isnative and view.tobytes() == before
    view, dense = broadcast(w)
    np.testing.assert_array_equal(
        fastconv.conv_matrix(view, case.x, **case.options),
        fastconv.conv_matrix(dense, case.x, **case.options),
    )


def test_infinite_and_nan_weights_stay_in_their_places():
    w = np.array([[[np.inf, 1.0, np.nan]]])
    A = fastconv.conv_matrix(w, (1, 1, 3), padding=1)
    expected = [[1, np.nan, 0], [np.inf, 1, np.nan], [0, np.inf, 1]]
    np.testing.assert_array_equal(A, expected)


def test_weights_that_meet_nothing_but_padding_give_a_matrix_of_zeros(csr_array):
    w = np.ones((1, 1, 1))
    options = {"padding": 3, "stride": 7}
    np.testing.assert_array_equal(fastconv.conv_matrix(w, (1, 1, 1), **options), [[0]])
    assert fastconv.conv_matrix(w, (1, 1, 1), sparse=True, **options).nnz == 0


W = np.ones((4, 2, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("x_shape", "options", "match"),
    [
        ((1, 2, 5, 5), {"stride": 0}, "stride is 0"),
        ((1, 2, 5, 5), {"dilation": (1, 0)}, r"dilation\[1\] is 0"),
        ((1, 2, 5, 5), {"padding": "full"}, "padding is 'full'"),
        ((1, 2, 5, 5), {"padding": (1, 1, 1)}, "padding is"),
        ((1, 2, 5, 5), {"groups": 0}, "groups is 0"),
        ((1, 2, 5, 5), {"groups": 3}, "groups is 3"),
        ((1, 2, 5, 5), {"groups": 2}, "expected 1"),
        ((1, 3, 5, 5), {}, "w has 2 channels per group"),
        ((1, 2, 5), {}, r"^x_shape is \(1, 2, 5\) with 3 axes, expected 4"),
        ((1, 2, 5, 5, 5), {}, "^x_shape is .* expected 4"),
        ((2, 5, 5), {}, "^x_shape is .* expected 4"),
        ((1, 2, 2, 5), {}, "spans"),
        ((1, 2, 0, 5), {}, r"^x_shape\[2\] is 0"),
        ((1, 2, -5, 5), {}, r"^x_shape\[2\] is -5"),
    ],
    ids=str,
)
@pytest.mark.parametrize("sparse", [False, True])
def test_arguments_that_do_not_fit_are_named(x_shape, options, match, sparse):
    with pytest.raises(ValueError, match=match):
        fastconv.conv_matrix(W, x_shape, sparse=sparse, **options)


def test_types_that_do_not_fit_are_named():
    for dtype in (np.int64, np.float16, bool, complex, object):
        with pytest.raises(TypeError, match="w has dtype"):
            fastconv.conv_matrix(np.ones((4, 2, 3, 3), dtype), (1, 2, 5, 5))
    for x_shape in (5, None, "abcd", (1, 2, 5.0, 5), (1, 2, True, 5)):
        with pytest.raises((TypeError, ValueError), match=r"^x_shape"):
            fastconv.conv_matrix(W, x_shape)
    for sparse in (None, 1, "yes"):
        with pytest.raises(TypeError, match=r"sparse is .* expected a bool"):
            fastconv.conv_matrix(W, (1, 2, 5, 5), sparse=sparse)


@pytest.mark.parametrize(
    ("x_shape", "options"),
    [
        ((1, 64, 2048, 2048), {"padding": 1}),
        ((1, 64, 50_000, 50_000), {}),
        ((1, 64, 3, 3), {"padding": 2**25}),
        ((1, 64, 2**24, 2**24), {"stride": 2}),
    ],
    ids=str,
)
def test_matrix_that_no_memory_holds_is_refused_without_taking_any(x_shape, options):
    w = np.ones((64, 64, 3, 3), np.float32)
    before = peak_bytes()
    # Beyond 2**59 elements it is the shape that is refused.
    with pytest.raises((MemoryError, ValueError)):
        fastconv.conv_matrix(w, x_shape, **options)
    assert peak_bytes() - before < 2**24


def test_matrix_beyond_memory_but_not_beyond_counting_is_a_memory_error():
    with pytest.raises(MemoryError):
        fastconv.conv_matrix(np.ones((1, 1, 3, 3), np.float32), (1, 1, 2**14, 2**14))


def test_sparse_matrix_that_no_memory_holds_is_refused_without_taking_any(csr_array):
    before = peak_bytes()
    for size in (2**24, 2**28):
        with pytest.raises((MemoryError, ValueError)):
            fastconv.conv_matrix(np.ones((1, 1, 3, 3)), (1, 1, size, size), sparse=True)
    assert peak_bytes() - before < 2**24
