"""Pools by their taps: whole arrays, one tap of the window at a time, in row-major order.

test_pool_vector.py checks them against the reference and PyTorch.
"""

import functools
import itertools

import numpy as np
from cases import channels_last

import fastconv

AVERAGED = ["f4", "f8"]


def taps_of(x, kernel, stride, pads, dilation, out_size):
    """For every tap of the window, in row-major order: its values at all outputs, whether they are
    inside x, and their flat position in its plane. x is (N, C, *size)."""
    in_size = x.shape[2:]
    for tap in itertools.product(*map(range, kernel)):
        at = [
            np.arange(out) * s + t * d - before
            for out, s, t, d, (before, _) in zip(out_size, stride, tap, dilation, pads, strict=True)
        ]
        inside = np.ones(out_size, bool)
        flat = np.zeros(out_size, np.int64)
        for axis, (where, size) in enumerate(zip(at, in_size, strict=True)):
            shape = [-1 if other == axis else 1 for other in range(len(in_size))]
            inside &= ((where >= 0) & (where < size)).reshape(shape)
            flat = flat * size + np.clip(where, 0, size - 1).reshape(shape)
        yield x.reshape(*x.shape[:2], -1)[:, :, flat], inside, flat


def geometry(shape, kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
    """(kernel, stride, pads, dilation, out_size), each one entry per axis."""
    axes = len(shape) - 2

    def each(value):
        return (value,) * axes if isinstance(value, int) else value

    kernel, dilation = each(kernel), each(dilation)
    stride = kernel if stride is None else each(stride)
    pads = tuple((p, p) if isinstance(p, int) else p for p in each(padding))
    out_size = fastconv.pool_output_shape(
        shape,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )[2:]
    return kernel, stride, pads, dilation, out_size


def max_pool_by_taps(x, kernel, **options):
    """(y, indices): the first maximum of the window, the first NaN where there is one."""
    shape = geometry(x.shape, kernel, **options)
    y = np.zeros((*x.shape[:2], *shape[-1]), x.dtype)
    indices = np.full(y.shape, -1)
    for value, inside, flat in taps_of(x, *shape):
        larger = (value > y) | (np.isnan(value) & ~np.isnan(y)) | (indices < 0)
        take = larger & inside
        y = np.where(take, value, y)
        indices = np.where(take, flat, indices)
    return y, indices


def avg_pool_by_taps(x, kernel, *, count_include_pad=True, **options):
    """y, summed in double."""
    kernel, stride, pads, dilation, out_size = geometry(x.shape, kernel, **options)
    total, existing = np.zeros((*x.shape[:2], *out_size)), np.zeros(out_size)
    for value, inside, _ in taps_of(x, kernel, stride, pads, dilation, out_size):
        total += np.where(inside, value, 0)
        existing += inside
    if not count_include_pad:
        return total / existing
    within = [
        np.minimum(np.arange(out) * s + k, before + size + after) - np.arange(out) * s
        for out, s, k, (before, after), size in zip(
            out_size, stride, kernel, pads, x.shape[2:], strict=True
        )
    ]
    return total / functools.reduce(np.multiply.outer, within)


def check_max_pool(x, kernel, layout=None, **options):
    """The compiled function, on every instruction set, against the taps; x channels first."""
    expected, expected_indices = max_pool_by_taps(x, kernel, **options)
    if layout is not None:
        x, expected = channels_last(x), channels_last(expected)
        expected_indices = channels_last(expected_indices)
    for isa in fastconv.isas():
        with fastconv.use_isa(isa):
            y, indices = fastconv.max_pool_forward(x, kernel, layout=layout, **options)
            alone = fastconv.max_pool_forward(
                x, kernel, return_indices=False, layout=layout, **options
            )
        assert alone.flags.c_contiguous
        np.testing.assert_array_equal(alone, y, strict=True)
        where = f"{isa}, {x.shape}, {layout}, kernel {kernel}, {options}"
        assert y.dtype == x.dtype and indices.dtype == np.int64
        assert y.flags.c_contiguous and indices.flags.c_contiguous
        np.testing.assert_array_equal(y, expected, where)
        np.testing.assert_array_equal(indices, expected_indices, where)


def check_avg_pool(x, kernel, layout=None, **options):
    expected = avg_pool_by_taps(x, kernel, **options)
    if layout is not None:
        x, expected = channels_last(x), channels_last(expected)
    eps = np.finfo(x.dtype).eps
    for isa in fastconv.isas():
        with fastconv.use_isa(isa):
            y = fastconv.avg_pool_forward(x, kernel, layout=layout, **options)
        where = f"{isa}, {x.shape}, {layout}, kernel {kernel}, {options}"
        assert y.dtype == x.dtype and y.flags.c_contiguous
        np.testing.assert_allclose(y, expected, rtol=2 * eps, atol=eps / 2**10, err_msg=where)


@functools.cache
def small_integers(shape, dtype, seed=0):
    """Few different values: many ties, and sums without rounding."""
    low = 0 if dtype[0] == "u" else -6
    return np.random.default_rng(seed).integers(low, 7, shape).astype(dtype)
