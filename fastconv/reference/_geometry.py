"""Where windows lie: strides, padding, dilation, output sizes, and the two memory layouts.

On one axis, the window of output position p covers the cells

    p * stride + r * dilation - before,        r = 0 ... R - 1

of the input, where ``before`` is the padding at the start. The kernel thus spans an effective
(R - 1) * dilation + 1 cells, and the number of positions at which it fits is

    P = floor((H + before + after - (R - 1) * dilation - 1) / stride) + 1

(Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285).
"""

import itertools
import operator
from typing import NamedTuple

import numpy as np

CHANNELS_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
CHANNELS_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


class Windows(NamedTuple):
    """The windows of one convolution or pool: every field has one entry per spatial axis."""

    in_size: tuple  # (H, W), without padding
    kernel: tuple  # (R, S)
    stride: tuple
    dilation: tuple
    pads: tuple  # ((before, after), (before, after))
    out_size: tuple  # (P, Q)

    def slices(self, position):
        """The window of one output position, as slices into the padded input."""
        return tuple(
            slice(p * stride, p * stride + (r - 1) * dilation + 1, dilation)
            for p, r, stride, dilation in zip(
                position, self.kernel, self.stride, self.dilation, strict=True
            )
        )

    def cells(self, position):
        """The coordinates, in the input without padding, of the cells that the window of one
        output position has there, in row-major order. Cells in the padding are left out."""
        per_axis = [
            [at for i in range(r) if 0 <= (at := p * stride + i * dilation - before) < size]
            for p, r, stride, dilation, (before, _), size in zip(
                position,
                self.kernel,
                self.stride,
                self.dilation,
                self.pads,
                self.in_size,
                strict=True,
            )
        ]
        return list(itertools.product(*per_axis))


def conv_windows(in_size, kernel, stride, padding, dilation):
    """The windows of a convolution (or of im2col) over an input of spatial size ``in_size``."""
    return _checked(_windows(in_size, kernel, stride, padding, dilation))


def pool_windows(in_size, kernel_size, stride, padding, dilation, ceil_mode):
    """The windows of a pool. ``stride=None`` means ``kernel_size``.

    With ``ceil_mode`` the output size is rounded up, so that a last window may hang over the end,
    except where it would start in the padding after the input (or beyond): that one is dropped.
    Every window must have a cell inside the input, or there would be nothing to pool.
    """
    if stride is None:
        stride = kernel_size
    windows = _windows(in_size, kernel_size, stride, padding, dilation)
    out_size = []
    for size, out, r, s, d, (before, after) in zip(
        windows.in_size,
        windows.out_size,
        windows.kernel,
        windows.stride,
        windows.dilation,
        windows.pads,
        strict=True,
    ):
        effective = (r - 1) * d + 1
        if max(before, after) >= effective:
            raise ValueError(
                f"padding is {(before, after)}, expected less than the effective kernel size "
                f"{effective}: a window must overlap the data"
            )
        if ceil_mode:
            out = -((effective - size - before - after) // s) + 1
            if (out - 1) * s >= size + before:
                out -= 1
        for position in range(out):
            start = position * s - before
            if not any(0 <= start + i * d < size for i in range(r)):
                raise ValueError(
                    f"the window of output position {position} has no cell inside the input of "
                    f"size {size}: padding {(before, after)}, dilation {d}"
                )
        out_size.append(out)
    return _checked(windows._replace(out_size=tuple(out_size)))


def transposed_windows(in_size, kernel, stride, padding, output_padding, dilation):
    """The windows of the convolution whose adjoint is a transposed one of an x of ``in_size``.

    They lie over y, the output of the transposed convolution, and there is one for each cell of x:
    ``Windows.in_size`` is the size of y, ``Windows.out_size`` that of x. On one axis y has

        H = (P - 1) * stride - before - after + (R - 1) * dilation + 1 + output_padding

    cells for P of x. A convolution with a stride leaves up to stride - 1 cells at the end out, so
    several H belong to one P: ``output_padding`` says how many are left out. "same" and
    "same_lower" mean the H = P * stride for which the convolution, padded so, gives P.
    """
    axes = _spatial_axes(in_size)
    kernel = per_axis(kernel, axes, "kernel_size")
    stride = per_axis(stride, axes, "stride")
    dilation = per_axis(dilation, axes, "dilation")
    rest = per_axis(output_padding, axes, "output_padding", minimum=0)
    tiled = tuple(size * s for size, s in zip(in_size, stride, strict=True))
    pads = padding_pairs(padding, tiled, kernel, stride, dilation)
    if any(r >= max(s, d) for r, s, d in zip(rest, stride, dilation, strict=True)):
        raise ValueError(
            f"output_padding is {rest}, expected less than the stride {stride} or the dilation "
            f"{dilation} on every axis"
        )
    if isinstance(padding, str) and padding != "valid":
        if any(rest):
            raise ValueError(f"output_padding is {rest}, expected 0: padding is {padding!r}")
        size = tiled
    else:
        size = tuple(
            (p - 1) * s - before - after + (r - 1) * d + 1 + extra
            for p, s, (before, after), r, d, extra in zip(
                in_size, stride, pads, kernel, dilation, rest, strict=True
            )
        )
    if min(size) < 1:
        raise ValueError(
            f"the output size would be {size}, expected at least 1 on every axis: input size "
            f"{tuple(in_size)}, kernel size {kernel}, padding {pads}, output_padding {rest}"
        )
    return Windows(size, kernel, stride, dilation, pads, tuple(in_size))


def _windows(in_size, kernel, stride, padding, dilation):
    axes = _spatial_axes(in_size)
    kernel = per_axis(kernel, axes, "kernel_size")
    stride = per_axis(stride, axes, "stride")
    dilation = per_axis(dilation, axes, "dilation")
    pads = padding_pairs(padding, in_size, kernel, stride, dilation)
    out_size = tuple(
        (size + before + after - (r - 1) * d - 1) // s + 1
        for size, r, s, d, (before, after) in zip(
            in_size, kernel, stride, dilation, pads, strict=True
        )
    )
    return Windows(tuple(in_size), kernel, stride, dilation, pads, out_size)


def _spatial_axes(in_size):
    axes = len(in_size)
    if not 1 <= axes <= 3:
        raise ValueError(f"there are {axes} spatial axes, expected one to three")
    return axes


def _checked(windows):
    if min(windows.out_size) < 1:
        raise ValueError(
            f"the output size would be {windows.out_size}, expected at least 1 on every axis: "
            f"input size {windows.in_size}, kernel size {windows.kernel}, padding {windows.pads}, "
            f"dilation {windows.dilation}"
        )
    return windows


def per_axis(value, axes, name, minimum=1):
    """An integer, or one per spatial axis -> one per spatial axis, each at least ``minimum``."""
    try:
        values = (operator.index(value),) * axes
    except TypeError:
        values = tuple(operator.index(v) for v in value)
    if len(values) != axes or min(values) < minimum:
        raise ValueError(
            f"{name} is {value!r}, expected an integer from {minimum} or {axes} of them, one per "
            f"axis"
        )
    return values


def padding_pairs(padding, in_size, kernel, stride, dilation):
    """Any form of padding -> one (before, after) pair per spatial axis.

    ``"same"`` and ``"same_lower"`` choose the least padding that makes the output size
    ceil(input size / stride). An odd cell goes to the end with "same", to the start with
    "same_lower".
    """
    axes = len(in_size)
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * axes
        if padding not in ("same", "same_lower"):
            raise ValueError(
                f'padding is {padding!r}, expected "valid", "same", "same_lower" or integers'
            )
        pairs = []
        for size, r, s, d in zip(in_size, kernel, stride, dilation, strict=True):
            out = -(-size // s)
            total = max((out - 1) * s + (r - 1) * d + 1 - size, 0)
            small, large = total // 2, total - total // 2
            pairs.append((small, large) if padding == "same" else (large, small))
        return tuple(pairs)
    try:
        entries = (operator.index(padding),) * axes
    except TypeError:
        entries = tuple(padding)
    pairs = []
    for entry in entries:
        try:
            before = after = operator.index(entry)
        except TypeError:
            before, after = (operator.index(p) for p in entry)
        pairs.append((before, after))
    if len(pairs) != axes or min(min(pair) for pair in pairs) < 0:
        raise ValueError(
            f"padding is {padding!r}, expected a non-negative integer, {axes} of them, or "
            f"{axes} (before, after) pairs"
        )
    return tuple(pairs)


def padded_shape(shape, pads):
    """(N, C, *in_size) -> (N, C, *padded size)."""
    return *shape[:2], *(
        before + size + after for size, (before, after) in zip(shape[2:], pads, strict=True)
    )


def zero_pad(x, pads, dtype):
    """A copy of x in the given dtype with zeros around it on the spatial axes."""
    padded = np.zeros(padded_shape(x.shape, pads), dtype=dtype)
    padded[without_padding(x.shape[2:], pads)] = x
    return padded


def without_padding(in_size, pads):
    """The index that takes the input (N, C, *in_size) out of its padded form."""
    return (
        slice(None),
        slice(None),
        *(slice(before, before + size) for size, (before, _) in zip(in_size, pads, strict=True)),
    )


def flat_index(cell, in_size):
    """The row-major position of a cell in a plane of the given size: h * W + w on two axes."""
    flat = 0
    for at, size in zip(cell, in_size, strict=True):
        flat = flat * size + at
    return flat


def is_channels_last(layout, ndim):
    first, last = CHANNELS_FIRST.get(ndim - 2), CHANNELS_LAST.get(ndim - 2)
    if layout is None or layout == first:
        return False
    if layout == last:
        return True
    raise ValueError(f"layout is {layout!r}, expected None, {first!r} or {last!r}")


def channels_first(x, layout):
    """A view of x as (N, C, *in_size), whatever its layout."""
    return np.moveaxis(x, -1, 1) if is_channels_last(layout, x.ndim) else x


def channels_first_shape(shape, layout):
    """The same for a shape."""
    shape = tuple(operator.index(size) for size in shape)
    if is_channels_last(layout, len(shape)):
        return (shape[0], shape[-1], *shape[1:-1])
    return shape


def in_layout(y, layout, dtype):
    """(N, C, *size) -> a fresh C-contiguous array of the given dtype, in the layout asked for."""
    if is_channels_last(layout, y.ndim):
        y = np.moveaxis(y, 1, -1)
    return np.array(y, dtype=dtype, order="C")


def native(dtype):
    """The same dtype in the byte order of this machine."""
    return dtype.newbyteorder("=")


def float_dtype(x, name="x"):
    """The dtype of a result that has the dtype of x, where x must be floating-point."""
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"{name} has dtype {x.dtype}, expected float32 or float64")
    return native(x.dtype)


def accumulator(dtype):
    """The dtype to add up values of another in: float64 for floats, integers as they are."""
    return np.dtype(np.float64) if np.issubdtype(dtype, np.floating) else native(dtype)


def check_shape(name, array, expected):
    if array.shape != tuple(expected):
        raise ValueError(f"{name} has shape {array.shape}, expected {tuple(expected)}")


def into(out, y):
    """y, or ``out`` filled with it where there is one."""
    if out is None:
        return y
    check_shape("out", out, y.shape)
    if out.dtype != y.dtype:
        raise ValueError(f"out has dtype {out.dtype}, expected {y.dtype}")
    out[...] = y
    return out
