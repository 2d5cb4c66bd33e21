"""The algorithm "im2col": columns packed tile by tile, multiplied by BLAS through `numpy.matmul`.

With D = C / G * R * S the depth of the sum and T the pixels of a tile, every group computes

    forward     y    (K/G, T)  = w (K/G, D) @ columns (D, T)
    backward    dw   (K/G, D) += dy (K/G, T) @ columns.T (T, D)
                dcolumns (D, T)  = w.T (D, K/G) @ dy (K/G, T),   then col2im adds them to dx

(Chellapilla, Puri & Simard 2006; Jia 2014). The whole im2col matrix is never built: at most six
buffers of BUFFER_BYTES live at once, whatever the problem.
"""

import math

import numpy as np

from ._columns import col2im_tile, im2col_tile
from ._problem import Window

# Measured with bench/compare.py on rn50_l1_3x3, vgg_c1_2 and rn50_l4_3x3 at 1, 2, 4 and 8 MiB.
BUFFER_BYTES = 4 << 20
# Fewer columns than this leave BLAS short of work: images this small share a tile, and a sum too
# deep for the buffer is cut along its depth instead.
MIN_TILE_PIXELS = 256


class Tiling:
    """How a problem is cut: [group), [row of the columns), [output channel), [pixel) blocks."""

    def __init__(self, problem, itemsize):
        window = problem.window
        budget = BUFFER_BYTES // itemsize
        self.groups = problem.groups
        self.depth = problem.in_channels // problem.groups * window.taps
        self.channels = problem.out_channels // problem.groups
        self.pixels = window.out_pixels
        total = problem.batch * self.pixels
        pixel_block = max(budget // (self.groups * self.depth), min(MIN_TILE_PIXELS, total), 1)
        if pixel_block >= self.pixels and self.pixels < MIN_TILE_PIXELS:
            self.pixel_block = min(pixel_block - pixel_block % self.pixels, max(total, 1))
        else:
            self.pixel_block = even_block(self.pixels, pixel_block)
        self.group_block = even_block(self.groups, budget // (self.depth * self.pixel_block))
        self.depth_block = even_block(self.depth, budget // (self.group_block * self.pixel_block))
        widest = self.group_block * max(self.pixel_block, self.depth)
        self.channel_block = even_block(self.channels, budget // widest)

    def group_blocks(self):
        return blocks(0, self.groups, self.group_block)

    def depth_blocks(self):
        return blocks(0, self.depth, self.depth_block)

    def channel_blocks(self):
        return blocks(0, self.channels, self.channel_block)

    def pixel_blocks(self, batch):
        """Ranges of the flattened (n, p, q): whole images, or parts of one."""
        total = batch * self.pixels
        if self.pixel_block >= self.pixels:
            yield from blocks(0, total, self.pixel_block)
        else:
            for start in range(0, total, self.pixels):
                yield from blocks(start, start + self.pixels, self.pixel_block)


def even_block(total, limit):
    """Size of the blocks when `total` is cut evenly into blocks of at most max(limit, 1)."""
    parts = -(-total // max(limit, 1))
    return -(-total // parts)


def blocks(start, stop, size):
    for begin in range(start, stop, size):
        yield slice(begin, min(begin + size, stop))


def pixels_view(array, groups, pixels):
    """View (groups, channels, pixels) of a (N, C, D, H, W) array that BLAS can read or write.

    None if there is none: channels-first images do not lie end to end, other arrays have gaps.
    """
    n, channels = array.shape[:2]
    plane = math.prod(array.shape[2:])
    last = array.transpose(0, 2, 3, 4, 1)
    if last.flags.c_contiguous:
        return last.reshape(n * plane, groups, channels // groups).transpose(1, 2, 0)[:, :, pixels]
    image = pixels.start // plane
    if array.flags.c_contiguous and (pixels.stop - 1) // plane == image:
        local = slice(pixels.start - image * plane, pixels.stop - image * plane)
        return array[image].reshape(groups, channels // groups, plane)[:, :, local]
    return None


class Columns:
    """Columns of one array through one window: read as packed tiles, or added back."""

    def __init__(self, array, window, groups):
        self.array, self.window, self.groups = array, window, groups
        self.pointwise = (
            window.taps == 1
            and window.stride == (1, 1, 1)
            and window.pad_before == window.pad_after == (0, 0, 0)
        )
        self.buffer = np.empty(0, array.dtype)

    def view(self, group, depth, pixels):
        """The elements themselves, where the window is one pixel and BLAS can address them."""
        if self.pointwise:
            view = pixels_view(self.array, self.groups, pixels)
            if view is not None:
                return view[group, depth]
        return None

    def scratch(self, group, depth, pixels):
        shape = tuple(part.stop - part.start for part in (group, depth, pixels))
        if self.buffer.size < math.prod(shape):
            self.buffer = np.empty(math.prod(shape), self.array.dtype)
        return self.buffer[: math.prod(shape)].reshape(shape)

    def read(self, group, depth, pixels):
        tile = self.view(group, depth, pixels)
        if tile is None:
            tile = self.scratch(group, depth, pixels)
            im2col_tile(
                self.array, self.window, self.groups, group.start, depth.start, pixels.start, tile
            )
        return tile

    def add(self, tile, group, depth, pixels):
        col2im_tile(
            tile, self.window, self.groups, group.start, depth.start, pixels.start, self.array
        )


def pixel_columns(array, groups):
    """Columns of y or dy: a window of one pixel."""
    size, ones, zeros = array.shape[2:], (1, 1, 1), (0, 0, 0)
    return Columns(array, Window(3, size, ones, size, ones, ones, zeros, zeros), groups)


def grouped_weights(w, groups):
    """View (groups, K / G, C / G, *kernel); blocks of it become matrices when they are used."""
    return w.reshape(groups, w.shape[0] // groups, *w.shape[1:])


def weight_matrix(weights, group, channel, depth):
    """Rows `channel`, columns `depth` of the weight matrices of `group`."""
    block = weights[group, channel]
    return block.reshape(*block.shape[:2], -1)[:, :, depth]


@np.errstate(all="ignore")  # NaN and overflow are results here, not events
def forward(problem, x, w, b, relu, y):
    """Writes y. Arrays are canonical (N, C, D, H, W) views, y is fresh or contiguous."""
    tiling = Tiling(problem, x.itemsize)
    groups = problem.groups
    columns, results = Columns(x, problem.window, groups), pixel_columns(y, groups)
    weights = grouped_weights(w, groups)
    bias = None if b is None else b.reshape(groups, -1, 1)
    one_depth = tiling.depth_block == tiling.depth
    for pixels in tiling.pixel_blocks(problem.batch):
        for group in tiling.group_blocks():
            if one_depth:
                tile = columns.read(group, slice(0, tiling.depth), pixels)
            for channel in tiling.channel_blocks():
                view = results.view(group, channel, pixels)
                product = results.scratch(group, channel, pixels) if view is None else view
                for depth in tiling.depth_blocks():
                    if not one_depth:
                        tile = columns.read(group, depth, pixels)
                    matrix = weight_matrix(weights, group, channel, depth)
                    if depth.start == 0:
                        np.matmul(matrix, tile, out=product)
                    else:
                        product += np.matmul(matrix, tile)
                if bias is not None:
                    product += bias[group, channel]
                if relu:
                    np.maximum(product, 0, out=product)
                if view is None:
                    write_images(y, tiling, group, channel, pixels, product)


def write_images(y, tiling, group, channel, pixels, product):
    """Copies a tile of whole channels-first images to y."""
    images = slice(pixels.start // tiling.pixels, pixels.stop // tiling.pixels)
    target = y[images].reshape(-1, tiling.groups, tiling.channels, tiling.pixels)
    source = product.reshape(*product.shape[:2], -1, tiling.pixels)
    target[:, group, channel] = source.transpose(2, 0, 1, 3)


@np.errstate(all="ignore")
def backward(problem, dy, x, w, dx, dw, db):
    """Writes those of dx, dw, db that are not None. Canonical views; dx and dw are contiguous."""
    if db is not None and dx is None and dw is None:
        db[...] = dy.sum(axis=(0, 2, 3, 4), dtype=np.float64)
        return
    tiling = Tiling(problem, dy.itemsize)
    groups = problem.groups
    gradients = pixel_columns(dy, groups)
    columns = Columns(x, problem.window, groups)
    if dx is not None:
        data_gradient = DataGradient(problem, w, dx)
    if dw is not None:
        dw[...] = 0
        dw_matrix = dw.reshape(groups, tiling.channels, tiling.depth)
    bias_gradient = np.zeros((groups, tiling.channels))
    for pixels in tiling.pixel_blocks(problem.batch):
        for group in tiling.group_blocks():
            for depth in tiling.depth_blocks():
                if dw is not None:
                    tile = columns.read(group, depth, pixels)
                for channel in tiling.channel_blocks():
                    dy_tile = gradients.read(group, channel, pixels)
                    if dw is not None:
                        dw_matrix[group, channel, depth] += dy_tile @ tile.transpose(0, 2, 1)
                    if dx is not None:
                        data_gradient.multiply(dy_tile, group, channel, depth, pixels)
                    if db is not None and depth.start == 0:
                        bias_gradient[group, channel] += dy_tile.sum(axis=2, dtype=np.float64)
                if dx is not None:
                    data_gradient.flush(group, depth, pixels)
    if db is not None:
        db[...] = bias_gradient.reshape(-1)


class DataGradient:
    """dx: the products w.T @ dy of one tile, then scattered."""

    def __init__(self, problem, w, dx):
        self.columns = Columns(dx, problem.window, problem.groups)
        self.weights = grouped_weights(w, problem.groups)
        self.tile = None
        dx[...] = 0

    def multiply(self, dy_tile, group, channel, depth, pixels):
        matrix = weight_matrix(self.weights, group, channel, depth).transpose(0, 2, 1)
        if channel.start == 0:
            view = self.columns.view(group, depth, pixels)
            self.in_place = view is not None
            self.tile = self.columns.scratch(group, depth, pixels) if view is None else view
            np.matmul(matrix, dy_tile, out=self.tile)
        else:
            self.tile += np.matmul(matrix, dy_tile)

    def flush(self, group, depth, pixels):
        if not self.in_place:
            self.columns.add(self.tile, group, depth, pixels)
