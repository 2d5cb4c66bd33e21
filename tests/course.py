"""The course's algorithms in NumPy, for any window, stride and padding; and its cases."""

import numpy as np
import pytest

from fastconv import cs231n

DTYPES = [np.float64, np.float32]
VARIANTS = ["naive", "fast"]
TOLERANCE = {np.dtype(np.float64): 1e-11, np.dtype(np.float32): 2e-4}

# (N, C, H, W), (F, HH, WW), stride, pad
CONV_CASES = {
    "course_3x3": ((2, 3, 5, 5), (4, 3, 3), 1, 1),
    "pointwise": ((2, 3, 4, 5), (2, 1, 1), 1, 0),
    "tall_kernel": ((2, 2, 9, 5), (3, 5, 2), 1, 1),
    "wide_kernel": ((2, 2, 5, 9), (3, 2, 5), 2, 1),
    "odd_stride_that_leaves_a_rest": ((1, 2, 8, 9), (2, 3, 2), 3, 0),
    "stride_and_pad_per_axis": ((2, 2, 7, 8), (2, 3, 4), (3, 2), (2, 0)),
    "pad_wider_than_kernel": ((1, 1, 3, 4), (2, 2, 1), 2, 3),
    "one_window": ((3, 2, 4, 3), (2, 4, 3), 1, 0),
}
conv_cases = pytest.mark.parametrize("case", CONV_CASES.values(), ids=CONV_CASES.keys())

# (N, C, H, W), (pool_height, pool_width), stride
POOL_CASES = {
    "course_2x2": ((2, 3, 4, 4), (2, 2), 2),
    "overlapping": ((2, 2, 7, 6), (3, 3), 2),
    "overlapping_by_all_but_one": ((1, 2, 5, 6), (3, 2), 1),
    "rest_is_dropped": ((2, 2, 7, 5), (2, 2), 2),
    "not_square": ((2, 2, 6, 9), (2, 3), 3),
    "gaps_between_windows": ((1, 2, 9, 8), (2, 1), 3),
    "stride_per_axis": ((2, 1, 8, 9), (3, 2), (1, 3)),
    "one_window": ((2, 3, 4, 5), (4, 5), 1),
}
pool_cases = pytest.mark.parametrize("case", POOL_CASES.values(), ids=POOL_CASES.keys())


def pair(value):
    return (value, value) if np.ndim(value) == 0 else tuple(value)


def random_array(seed, shape, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_close(actual, expected):
    """Equal in shape, and in value up to the rounding of a short sum in actual's dtype."""
    assert actual.shape == expected.shape
    tolerance = TOLERANCE[actual.dtype]
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# The course's algorithms, for any window, stride and padding.


def window_indices(shape, window, stride, pad):
    """(c, y, x) of every entry of the columns, in the padded image."""
    (_, channels, height, width), (win_h, win_w) = shape, window
    (stride_h, stride_w), (pad_h, pad_w) = pair(stride), pair(pad)
    tops = range(0, height + 2 * pad_h - win_h + 1, stride_h)
    lefts = range(0, width + 2 * pad_w - win_w + 1, stride_w)
    rows = [(c, r, s) for c in range(channels) for r in range(win_h) for s in range(win_w)]
    c, r, s = np.array(rows).T[:, :, None]
    top, left = np.array(list(np.broadcast(*np.ix_(tops, lefts)))).T[:, None, :]
    return c, r + top, s + left, (len(tops), len(lefts))


def padded(x, pad):
    pad_h, pad_w = pair(pad)
    return np.pad(x, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))


def plain_im2col(x, window, stride, pad):
    c, row, column, _ = window_indices(x.shape, window, stride, pad)
    cols = padded(x, pad)[:, c, row, column]
    return cols.transpose(1, 2, 0).reshape(cols.shape[1], -1)


def plain_col2im(cols, shape, window, stride, pad):
    c, row, column, _ = window_indices(shape, window, stride, pad)
    batch, _, height, width = shape
    (pad_h, pad_w) = pair(pad)
    x = padded(np.zeros(shape, cols.dtype), pad)
    per_image = cols.reshape(cols.shape[0], -1, batch).transpose(2, 0, 1)
    np.add.at(x, (slice(None), c, row, column), per_image)
    return x[:, :, pad_h : pad_h + height, pad_w : pad_w + width]


def plain_conv(x, w, b, stride, pad):
    filters, _, *window = w.shape
    *_, (out_h, out_w) = window_indices(x.shape, window, stride, pad)
    out = w.reshape(filters, -1) @ plain_im2col(x, window, stride, pad) + b[:, None]
    return out.reshape(filters, out_h, out_w, len(x)).transpose(3, 0, 1, 2)


def plain_conv_gradients(dout, x, w, stride, pad):
    filters, _, *window = w.shape
    flat = dout.transpose(1, 2, 3, 0).reshape(filters, -1)
    dw = (flat @ plain_im2col(x, window, stride, pad).T).reshape(w.shape)
    dx = plain_col2im(w.reshape(filters, -1).T @ flat, x.shape, window, stride, pad)
    return dx, dw, flat.sum(axis=1)


def plain_max_pool(x, window, stride, dout=None):
    """out, and dx where dout is given; the first maximum of a window gets the gradient."""
    (win_h, win_w), (stride_h, stride_w) = window, pair(stride)
    batch, channels, height, width = x.shape
    out_h, out_w = 1 + (height - win_h) // stride_h, 1 + (width - win_w) // stride_w
    out, dx = np.empty((batch, channels, out_h, out_w), x.dtype), np.zeros_like(x)
    for n, c, p, q in np.ndindex(out.shape):
        top, left = p * stride_h, q * stride_w
        patch = x[n, c, top : top + win_h, left : left + win_w]
        r, s = np.unravel_index(patch.argmax(), patch.shape)
        out[n, c, p, q] = patch[r, s]
        if dout is not None:
            dx[n, c, top + r, left + s] += dout[n, c, p, q]
    return out, dx


def central_differences(f, array, dout, step=1e-5):
    """Gradient of sum(f() * dout) by array, which is moved in place and put back."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        held = array[index]
        array[index] = held + step
        above = f()
        array[index] = held - step
        below = f()
        array[index] = held
        gradient[index] = np.sum((above - below) * dout) / (2 * step)
    return gradient


def relative_error(a, b):
    return np.linalg.norm(a - b) / max(1e-12, np.linalg.norm(a) + np.linalg.norm(b))


def conv_arguments(case, dtype=np.float64):
    shape, (filters, *window), stride, pad = case
    x = random_array(0, shape, dtype)
    w = random_array(1, (filters, shape[1], *window), dtype)
    b = random_array(2, (filters,), dtype)
    return x, w, b, {"stride": stride, "pad": pad}


def pool_arguments(case, dtype=np.float64):
    shape, (pool_height, pool_width), stride = case
    param = {"pool_height": pool_height, "pool_width": pool_width, "stride": stride}
    return random_array(3, shape, dtype), param


def function(stem, variant):
    return getattr(cs231n, f"{stem}_{variant}")
