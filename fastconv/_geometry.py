"""Windows and shapes as plain numbers: nothing is checked here, and nothing raises."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Window:
    """A window sliding over three spatial axes; those that the caller does not have lead, size 1.

    Output o of an axis sees input o * stride - pad_before + tap * dilation, tap < kernel; if
    adaptive, input floor(o * in_size / out_size) to ceil((o + 1) * in_size / out_size) - 1.
    """

    axes: int  # spatial axes the caller has: the last ones
    in_size: tuple[int, int, int]
    kernel: tuple[int, int, int]
    out_size: tuple[int, int, int]
    stride: tuple[int, int, int]
    dilation: tuple[int, int, int]
    pad_before: tuple[int, int, int]
    pad_after: tuple[int, int, int]
    adaptive: bool = False

    def of_caller(self, values):
        """Those of three values that belong to axes the caller has."""
        return values[3 - self.axes :]

    @property
    def taps(self):
        return math.prod(self.kernel)

    @property
    def out_pixels(self):
        return math.prod(self.out_size)


def array_shape(batch, channels, spatial, channels_last):
    """Shape in the caller's layout."""
    return (batch, *spatial, channels) if channels_last else (batch, channels, *spatial)


def channels_and_size(sizes, channels_last):
    """(channels, spatial sizes) of a shape in the caller's layout."""
    return (sizes[-1], sizes[1:-1]) if channels_last else (sizes[1], sizes[2:])


def canonical(array, channels_last=False):
    """View of shape (N, C, D, H, W); leading spatial axes of size 1 where the caller has none."""
    if channels_last:
        array = array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1))
    return array[(slice(None), slice(None)) + (None,) * (5 - array.ndim)]


def tap_on_data(window, tap):
    """(outputs, positions of x) that meet at a tap, as flat indices of their planes."""
    pixels, positions = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for axis, t in enumerate(tap):
        outputs = np.arange(window.out_size[axis])
        at = outputs * window.stride[axis] - window.pad_before[axis] + t * window.dilation[axis]
        inside = (at >= 0) & (at < window.in_size[axis])
        pixels = np.add.outer(pixels * window.out_size[axis], outputs[inside]).ravel()
        positions = np.add.outer(positions * window.in_size[axis], at[inside]).ravel()
    return pixels, positions


def first_multiple_between(low, high, step, modulus):
    """Least k >= 0 with low <= k * step mod modulus <= high, or None; 0 <= low <= high < modulus.

    As Euclid's algorithm: without a multiple of step in [low, high], k * step - j * modulus is in
    it for the first time where -j * modulus mod step is in [low mod step, high mod step]. Counting
    downwards instead where step is more than half of modulus makes modulus halve every time.
    """
    if low == 0:
        return 0
    step %= modulus
    if 2 * step > modulus:
        return first_multiple_between(modulus - high, modulus - low, modulus - step, modulus)
    if step == 0:
        return None
    if -(-low // step) * step <= high:
        return -(-low // step)
    j = first_multiple_between(low % step, high % step, -modulus, step)
    return None if j is None else -(-(low + j * modulus) // step)


def first_window_off_data(size, dilation, stride, before):
    """First o with (o * stride - before) mod dilation >= size, or None; size < dilation."""
    low, high = (size + before) % dilation, (before - 1) % dilation
    return 0 if low > high else first_multiple_between(low, high, stride, dilation)
