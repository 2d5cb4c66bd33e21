"""Bad arguments: every row of the list that has broken systems of this kind.

The number in a test's name is the row of the table in docs/bad-inputs.md.
"""

import sys
import threading
import time

import numpy as np
import pytest
from calls import W, X, avg_pool, avg_pool_grad, col2im, conv, conv_grad, im2col, max_pool
from cases import EXACT, is_refusal
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv._geometry import first_window_off_data

pytestmark = pytest.mark.usefixtures("arguments_untouched")

HUGE = 2**63 - 1
STRIDED = [conv, conv_grad, max_pool, avg_pool, avg_pool_grad, im2col, col2im]
POOLING = [max_pool, avg_pool, avg_pool_grad, im2col, col2im]
DILATED = [conv, conv_grad, max_pool, im2col, col2im]
GROUPED = [conv, conv_grad]


@pytest.mark.parametrize("call", STRIDED)
@pytest.mark.parametrize("stride", [0, -1, (1, 0), (-2, 1), -(2**63)])
def test_row_1_stride_below_one(call, stride):
    with pytest.raises(ValueError, match="stride"):
        call(stride=stride)


@pytest.mark.parametrize("call", POOLING)
@pytest.mark.parametrize("kernel", [0, -1, (), (2, 0), (2, 2, 2), (-(2**63), 1)])
def test_row_2_kernel_below_one_or_of_another_rank(call, kernel):
    with pytest.raises(ValueError, match="kernel_size"):
        call(kernel)


@pytest.mark.parametrize("call", DILATED)
@pytest.mark.parametrize("dilation", [0, -1, (1, 0), (-3, 1)])
def test_row_3_dilation_below_one(call, dilation):
    with pytest.raises(ValueError, match="dilation"):
        call(dilation=dilation)


def test_row_4_message_says_what_must_divide():
    with pytest.raises(ValueError, match="groups is 3, expected a divisor of x's 4 channels"):
        conv(groups=3)
    with pytest.raises(ValueError, match=r"in 2 group\(s\): expected 2$"):
        conv(groups=2)


@pytest.mark.parametrize("call", GROUPED)
@pytest.mark.parametrize("groups", [0, -1, -(2**63), 3, 5, HUGE])
def test_row_4_groups_that_do_not_divide(call, groups):
    with pytest.raises(ValueError, match="group"):
        call(groups=groups)


@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (4, 0, 3, 3), (4, 4, 0, 3), (4, 4, 3, 0)])
def test_row_5_empty_filter(shape):
    with pytest.raises(ValueError, match=r"shape of w\[\d\] is 0"):
        conv(w=np.ones(shape, np.float32))


def test_row_5_zero_input_channels():
    with pytest.raises(ValueError, match=r"shape of x\[1\] is 0"):
        conv(x=np.ones((2, 0, 6, 6), np.float32))
    with pytest.raises(ValueError, match=r"shape of x\[1\] is 0"):
        max_pool(x=np.ones((2, 0, 6, 6), np.float32))


def test_row_6_everything_empty_in_the_weight_gradient():
    none = np.ones((0, 0, 0, 0), np.float32)
    with pytest.raises(ValueError, match=r"shape of w\[0\] is 0"):
        conv_grad(none, none, none)


def test_row_7_empty_dy_gives_zeros_not_leftovers():
    dy, x = np.ones((0, 4, 4, 4), "f4"), np.ones((0, 4, 6, 6), "f4")
    for algorithm in EXACT:
        try:
            _, dw, db = conv_grad(dy, x, algorithm=algorithm)
        except ValueError as error:
            assert is_refusal(error, algorithm)
            continue
        assert not dw.any() and not db.any() and dw.shape == W.shape


@pytest.mark.parametrize("padding", [0, ((0, 1), (0, 0)), "valid"])
def test_row_8_kernel_larger_than_the_padded_input(padding):
    w = np.ones((4, 4, 8, 7), np.float32)
    with pytest.raises(ValueError, match="spans"):
        conv(w=w, padding=padding)
    with pytest.raises(ValueError, match="spans"):
        max_pool((8, 7), padding=padding)
    with pytest.raises(ValueError, match="spans"):
        im2col((8, 7), padding=padding)


@pytest.mark.parametrize("call", DILATED)
@pytest.mark.parametrize("dilation", [2**62, HUGE, (1, 2**62 + 1)])
def test_row_9_dilated_kernel_beyond_int64(call, dilation):
    kernel = {} if call in GROUPED else {"kernel": 3}
    with pytest.raises(ValueError, match="spans"):
        call(dilation=dilation, **kernel)


@pytest.mark.parametrize("call", STRIDED)
@pytest.mark.parametrize("padding", [HUGE, ((HUGE, 0), (0, 0)), ((2**62, 2**62), (1, 1)), 2**64])
def test_row_9_padding_beyond_int64(call, padding):
    with pytest.raises(ValueError, match="padding"):
        call(padding=padding)


def test_row_9_output_beyond_int64():
    with pytest.raises(ValueError, match=r"2\*\*59"):
        conv(padding=2**31)
    with pytest.raises(ValueError, match=r"2\*\*59"):
        im2col(3, padding=2**31)


def test_row_9_output_beyond_memory_is_a_memory_error():
    with pytest.raises(MemoryError):
        conv(padding=2**24)
    with pytest.raises(MemoryError):
        im2col(3, padding=2**24)


@pytest.mark.parametrize("call", [max_pool, avg_pool, im2col])
@pytest.mark.parametrize("kernel", [HUGE, 2**63, 10**30, (1, HUGE)])
def test_row_10_enormous_kernel(call, kernel):
    with pytest.raises(ValueError, match="kernel_size"):
        call(kernel)


@pytest.mark.parametrize("value", [2.0, np.nan, True, np.True_, "2", None, 1j, (1.0, 2)])
@pytest.mark.parametrize("name", ["stride", "dilation", "padding", "groups"])
def test_row_10_geometry_that_is_no_integer(name, value):
    with pytest.raises((TypeError, ValueError), match=name):
        conv(**{name: value})


@pytest.mark.parametrize("value", [2.0, np.nan, False, "2", None, 1j, (1.0, 2), (True, 1)])
def test_row_10_kernel_size_that_is_no_integer(value):
    for call in POOLING:
        with pytest.raises(TypeError, match="kernel_size"):
            call(value)


def test_row_10_integers_of_thousands_of_digits_are_refused_without_printing_them():
    for name in ("stride", "dilation", "padding", "groups"):
        with pytest.raises(ValueError, match=f"{name} is too long to print, expected an integer"):
            conv(**{name: 10**5000})
    with pytest.raises(ValueError, match="stride is too long to print with 1 entries"):
        conv(stride=(10**5000,))


@pytest.mark.parametrize("value", [np.ones(2), None, 1, "yes"], ids=str)
def test_row_10_flags_that_are_no_bool(value):
    for call in (max_pool, avg_pool, avg_pool_grad):
        with pytest.raises(TypeError, match=r"ceil_mode is .* expected a bool"):
            call(ceil_mode=value)
    with pytest.raises(TypeError, match=r"return_indices is .* expected a bool"):
        max_pool(return_indices=value)
    with pytest.raises(TypeError, match="ceil_mode"):
        fastconv.pool_output_shape(X.shape, 2, ceil_mode=value)
    for call in (avg_pool, avg_pool_grad):
        with pytest.raises(TypeError, match=r"count_include_pad is .* expected a bool"):
            call(count_include_pad=value)
    assert avg_pool(count_include_pad=np.True_, ceil_mode=np.False_).shape == (2, 4, 3, 3)


def test_row_10_shape_entries_are_checked_before_they_are_compared():
    with pytest.raises(TypeError, match=r"^w_shape\[2\] is 'a'"):
        fastconv.conv_output_shape((1, 1, 4), (1, 1, "a"))


def test_row_10_integers_of_numpy_are_integers():
    expected = conv(stride=2, padding=(1, 2))
    actual = conv(stride=np.int8(2), padding=np.array([1, 2]))
    np.testing.assert_array_equal(actual, expected)


def test_row_11_offsets_beyond_2_to_the_31_elements():
    x = np.zeros((1, 1, 2**31 + 8), np.uint8)
    x[0, 0, -3] = 7
    y, indices = fastconv.max_pool_forward(x, 2**28, padding=((0, 2**28 - 8),))
    assert y[0, 0, -1] == 7 and indices[0, 0, -1] == 2**31 + 5
    dx = fastconv.max_pool_backward(y, indices, x.shape)
    assert dx[0, 0, 2**31 + 5] == 7 and int(np.count_nonzero(dx)) == 1


def test_row_11_convolution_with_strides_beyond_2_to_the_31_elements(algorithm):
    # One page is touched of an array that is 8 GiB by its strides.
    line = np.lib.stride_tricks.as_strided(
        np.zeros(2**31 + 16, np.float32), (1, 1, 3), (4, 4, 4 * 2**30)
    )
    line[0, 0] = 1, 2, 3
    y = fastconv.conv_forward(line, np.float32([[[1, 10]]]), algorithm=algorithm)
    np.testing.assert_array_equal(y, [[[21, 32]]])


@pytest.mark.parametrize("layout", [None, "NHWC"])
@pytest.mark.parametrize(
    "change",
    [(1, 0, 0, 0), (-1, 0, 0, 0), (0, 1, 0, 0), (0, -1, 0, 0), (0, 0, 1, 0), (0, 0, 0, -1)],
)
def test_row_12_dy_of_another_shape(change, layout):
    x = np.ones((2, 6, 6, 4), np.float32) if layout else X
    dy = np.ones(np.add((2, 4, 4, 4), change), np.float32)
    with pytest.raises(ValueError, match="dy has shape"):
        conv_grad(dy, x, layout=layout)
    pooled = np.ones(np.add((2, 3, 3, 4) if layout else (2, 4, 3, 3), change), np.float32)
    with pytest.raises(ValueError, match="dy has shape"):
        avg_pool_grad(2, pooled, x.shape, layout=layout)


def test_row_12_pool_gradient_of_another_batch_or_channel_count():
    indices = np.zeros((2, 4, 3, 3), np.int64)
    for shape in [(3, 4, 6, 6), (2, 5, 6, 6), (2, 4, 36)]:
        with pytest.raises(ValueError, match="dy has shape"):
            fastconv.max_pool_backward(np.ones((2, 4, 3, 3)), indices, shape)


def test_row_13_x_w_and_dy_disagree():
    with pytest.raises(ValueError, match="5 channels per group, but x has 4"):
        conv_grad(w=np.ones((4, 5, 3, 3), np.float32))
    with pytest.raises(ValueError, match="dy has shape"):
        conv_grad(w=np.ones((6, 4, 3, 3), np.float32))


@pytest.mark.parametrize("index", [-1, 36, 2**32 + 3, -(2**63), HUGE])
def test_row_14_max_pool_index_outside_the_plane(index):
    indices = np.zeros((2, 4, 3, 3), np.int64)
    indices[1, 2, 1, 1] = index
    with pytest.raises(ValueError, match=rf"indices contains {index}, expected .* 0 to 35"):
        fastconv.max_pool_backward(np.ones((2, 4, 3, 3)), indices, X.shape)


def test_row_14_max_pool_index_beyond_int64():
    indices = np.full((2, 4, 3, 3), 2**64 - 1, np.uint64)
    with pytest.raises(ValueError, match="indices contains"):
        fastconv.max_pool_backward(np.ones((2, 4, 3, 3)), indices, X.shape)


def test_row_14_unsigned_values_are_reported_as_they_are():
    with pytest.raises(ValueError, match="indices contains 18446744073709551615"):
        fastconv.max_pool_backward(np.ones((1, 1, 1)), np.uint64([[[2**64 - 1]]]), (1, 1, 3))
    with pytest.raises(ValueError, match="labels contains 18446744073709551615"):
        fastconv.softmax_cross_entropy(np.ones((1, 3)), np.uint64([2**64 - 1]))


def test_row_14_max_pool_indices_of_another_shape_or_dtype():
    dy = np.ones((2, 4, 3, 3))
    with pytest.raises(ValueError, match="indices has shape"):
        fastconv.max_pool_backward(dy, np.zeros((2, 4, 3, 2), np.int64), X.shape)
    for dtype in ("f4", "f8", "?", "c8", "O"):
        with pytest.raises(TypeError, match="indices has dtype"):
            fastconv.max_pool_backward(dy, np.zeros(dy.shape, dtype), X.shape)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3), (4, 4, 3, 3, 3), (4, 4, 1, 1, 3, 3)])
def test_row_18_rank_of_the_weights(shape):
    with pytest.raises(ValueError, match=r"axes|shape"):
        conv(w=np.ones(shape, np.float32))


@pytest.mark.parametrize("name", ["stride", "dilation", "padding"])
@pytest.mark.parametrize(
    "value", [(1,), (1, 1, 1), [], ((1, 1), (1, 1), (1, 1)), ((1, 1, 1), (1,))]
)
def test_row_18_tuples_of_the_wrong_length(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        conv(**{name: value})


def test_row_18_padding_of_three_is_told_to_be_a_pair():
    with pytest.raises(ValueError, match=r"padding\[0\] is .* \(before, after\) pair"):
        conv(padding=((1, 1, 1), (1, 1)))


def test_row_18_four_spatial_axes():
    with pytest.raises(ValueError, match="one to three"):
        conv(np.ones((1, 1, 2, 2, 2, 2), "f4"), np.ones((1, 1, 2, 2, 2, 2), "f4"))
    with pytest.raises(ValueError, match="one to three"):
        max_pool(x=np.ones((1, 1, 2, 2, 2, 2), "f4"))
    with pytest.raises(ValueError, match="one to three"):
        max_pool(x=np.ones((1, 1), "f4"))


def test_row_19_size_one_axes_with_odd_strides():
    x = np.lib.stride_tricks.as_strided(np.ones(8, np.float32), (1, 1, 8), (12, 999_996, 4))
    y = conv(x, np.ones((1, 1, 2), np.float32))
    np.testing.assert_array_equal(y, np.full((1, 1, 7), 2))


@pytest.mark.parametrize("padding", [2, (2, 1), ((0, 2), (0, 0)), HUGE // 4])
def test_row_21_pool_padding_not_less_than_the_kernel(padding):
    for call in (max_pool, avg_pool, avg_pool_grad):
        with pytest.raises(ValueError, match="padding"):
            call(padding=padding)


def test_row_21_window_with_every_tap_in_the_padding():
    with pytest.raises(ValueError, match="all of its taps in the padding"):
        fastconv.max_pool_forward(np.ones((1, 1, 1)), 2, stride=1, dilation=2, padding=1)
    with pytest.raises(ValueError, match="all of its taps in the padding"):
        fastconv.max_pool_forward(
            np.ones((1, 1, 3)), 2**40, stride=2**20, dilation=2**21, padding=2**60
        )


def test_row_21_overlap_of_enormous_windows_is_found_at_once():
    x_shape, far = (1, 1, 10**12), 10**12 + 1
    y_shape = fastconv.pool_output_shape(x_shape, 2, stride=1, dilation=far, padding=((far, 0),))
    assert y_shape == x_shape
    with pytest.raises(ValueError, match="window 999999999999 on spatial axis 0 has all"):
        fastconv.pool_output_shape(x_shape, 2, stride=1, dilation=far + 1, padding=((far, 1),))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 100), st.integers(0, 200))
def test_row_21_first_window_off_data_is_that_of_a_search(size, more, stride, before):
    dilation = size + more
    found = first_window_off_data(size, dilation, stride, before)
    misses = (o for o in range(dilation) if (o * stride - before) % dilation >= size)
    assert found == next(misses, None)


def test_row_22_dilation_with_padding_at_the_start():
    x = np.arange(5.0).reshape(1, 1, 5)
    y, indices = fastconv.max_pool_forward(x, 2, stride=1, dilation=3, padding=2)
    np.testing.assert_array_equal(y[0, 0], [1, 2, 3, 4, 2, 3])
    np.testing.assert_array_equal(indices[0, 0], [1, 2, 3, 4, 2, 3])


def test_row_22_extra_window_of_ceil_mode():
    x = np.arange(4.0).reshape(1, 1, 4)
    y, indices = fastconv.max_pool_forward(x, 3, stride=2, ceil_mode=True)
    np.testing.assert_array_equal(y[0, 0], [2, 3])
    np.testing.assert_array_equal(indices[0, 0], [2, 3])
    assert fastconv.pool_output_shape((1, 1, 4), 2, padding=1, ceil_mode=True) == (1, 1, 3)
    assert fastconv.pool_output_shape((1, 1, 2), 2, padding=1, ceil_mode=True) == (1, 1, 2)


@pytest.mark.parametrize(
    "option",
    [
        {"layout": "NCW"},
        {"layout": "CHWN"},
        {"layout": 3},
        {"activation": "tanh"},
        {"activation": 1},
        {"algorithm": "fastest"},
        {"algorithm": None},
        {"padding": "full"},
        {"padding": -1},
        {"padding": ((0, -1), (0, 0))},
    ],
    ids=str,
)
def test_unknown_names_are_refused_with_what_was_given(option):
    (name, value), *_ = option.items()
    shown = "-1" if "-1" in repr(value) else repr(value)
    with pytest.raises((ValueError, TypeError), match=name) as caught:
        conv(**option)
    assert shown in str(caught.value) and "expected" in str(caught.value)


@pytest.mark.parametrize("need", [None, 5])
def test_need_that_is_no_collection_is_refused(need):
    with pytest.raises(TypeError, match=f"need is {need}, expected names"):
        conv_grad(need=need)


def test_names_of_numpy_are_names():
    assert conv(algorithm=np.str_("naive"), layout=np.str_("NCHW")).shape == (2, 4, 4, 4)


def test_unknown_gradient_is_refused():
    with pytest.raises(ValueError, match="need contains 'dz'"):
        conv_grad(need=("dx", "dz"))


def test_bias_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"b has shape \(3,\), expected \(4,\)"):
        conv(b=np.ones(3, np.float32))


@pytest.mark.parametrize("divisor", [0, -1, 1.5, True])
def test_divisor_must_be_a_positive_integer(divisor):
    with pytest.raises((ValueError, TypeError), match="divisor_override"):
        avg_pool(divisor_override=divisor)


def test_checks_run_before_memory_is_allocated(monkeypatch):
    def no_memory(*args, **kwargs):
        raise AssertionError("allocated before the checks had passed")

    monkeypatch.setattr(np, "empty", no_memory)
    monkeypatch.setattr(np, "zeros", no_memory)
    for call, options in [
        (conv, {"stride": 0}),
        (conv, {"activation": "tanh"}),
        (conv, {"algorithm": "fastest"}),
        (conv_grad, {"need": ("dz",)}),
        (conv_grad, {"algorithm": "fastest"}),
        (max_pool, {"padding": 9}),
        (avg_pool, {"divisor_override": 0}),
        (im2col, {"dilation": 0}),
    ]:
        with pytest.raises(ValueError):
            call(**options)


def test_lists_of_floats_are_arrays_of_float64():
    y = fastconv.conv_forward([[[1.0, 2.0, 3.0]]], [[[1.0, 1.0]]])
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, [[[3, 5]]])


LONG_CALLS = {
    "conv_forward": lambda x, w: fastconv.conv_forward(x, w, algorithm="naive"),
    "conv_backward": lambda x, w: fastconv.conv_backward(x[..., 2:, 2:], x, w, algorithm="naive"),
    "max_pool": lambda x, w: fastconv.max_pool_forward(x, 3),
    "avg_pool": lambda x, w: fastconv.avg_pool_forward(x, 3),
    "im2col": lambda x, w: fastconv.im2col(x, 3),
}


@pytest.mark.parametrize("name", LONG_CALLS)
def test_kernels_release_the_gil(name):
    x = np.ones((1, 32, 40, 40), np.float32)
    w = np.ones((32, 32, 3, 3), np.float32)
    main_thread_ran = seen_inside = False

    def compute():
        nonlocal seen_inside
        deadline = time.monotonic() + 5
        while not main_thread_ran and time.monotonic() < deadline:
            LONG_CALLS[name](x, w)
        seen_inside = main_thread_ran

    # With a switch interval of an hour a thread keeps the interpreter lock until it gives it up:
    # this one goes on while the other computes only if the kernel did.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    try:
        thread = threading.Thread(target=compute)
        thread.start()
        main_thread_ran = True
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert seen_inside
