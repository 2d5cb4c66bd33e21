# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Columns: the elements of x that each output pixel multiplies, and their adjoint.

Both functions work on a tile of the whole im2col matrix: any range of its rows and columns, for
any range of groups. Row (c * R + r) * S + s of a group holds channel c of that group at kernel
tap (r, s); column (n * P + p) * Q + q belongs to output pixel (p, q) of image n.
(Chellapilla, Puri & Simard 2006, "High performance convolutional neural networks".)
"""

from libc.string cimport memset

from ._window cimport Window, read_window, real


# A position in the flattened (n, p_d, p_h, p_w) of the output, p_w counted apart.
cdef struct Pixel:
    ptrdiff_t n
    ptrdiff_t d
    ptrdiff_t h
    ptrdiff_t w


cdef inline Pixel pixel_at(const Window *w, ptrdiff_t index) noexcept nogil:
    cdef Pixel p
    p.w = index % w.out_size[2]
    index //= w.out_size[2]
    p.h = index % w.out_size[1]
    index //= w.out_size[1]
    p.d = index % w.out_size[0]
    p.n = index // w.out_size[0]
    return p


cdef inline void next_row(const Window *w, Pixel *p) noexcept nogil:
    p.w = 0
    p.h += 1
    if p.h == w.out_size[1]:
        p.h = 0
        p.d += 1
        if p.d == w.out_size[0]:
            p.d = 0
            p.n += 1


# One row of the matrix: a channel and a tap, as offsets before the stride is applied.
cdef struct Row:
    ptrdiff_t channel
    ptrdiff_t shift[3]


cdef inline Row row_at(const Window *w, ptrdiff_t index) noexcept nogil:
    cdef Row row
    cdef int axis
    for axis in range(2, -1, -1):
        row.shift[axis] = index % w.kernel[axis] * w.dilation[axis] - w.pad[axis]
        index //= w.kernel[axis]
    row.channel = index
    return row


cdef struct Run:
    ptrdiff_t first
    ptrdiff_t last


# The outputs [first, last) out of [begin, end) of the innermost axis whose tap lies on the data.
cdef inline Run outputs_on_data(const Window *w, ptrdiff_t shift, ptrdiff_t begin,
                                ptrdiff_t end) noexcept nogil:
    cdef Run run
    cdef ptrdiff_t stride = w.stride[2]
    cdef ptrdiff_t room = w.in_size[2] - shift
    cdef ptrdiff_t low = 0 if shift >= 0 else (-shift - 1) // stride + 1
    cdef ptrdiff_t high = 0 if room <= 0 else (room - 1) // stride + 1
    run.first = min(max(begin, low), end)
    run.last = max(min(end, high), run.first)
    return run


# From one element of the run to the next; a run of one has none, and the product may overflow.
cdef inline ptrdiff_t step_of(const Window *w, const Run *run,
                              const ptrdiff_t *strides) noexcept nogil:
    return w.stride[2] * strides[4] if run.last - run.first > 1 else 0


cdef inline void copy(const real *source, ptrdiff_t step, ptrdiff_t count,
                      real *target) noexcept nogil:
    cdef ptrdiff_t i
    if step == 1:
        for i in range(count):
            target[i] = source[i]
    elif step == 2:
        for i in range(count):
            target[i] = source[2 * i]
    else:
        for i in range(count):
            target[i] = source[i * step]


cdef inline void add(const real *source, ptrdiff_t source_step, ptrdiff_t count, real *target,
                     ptrdiff_t step) noexcept nogil:
    cdef ptrdiff_t i
    if source_step == 1 and step == 1:
        for i in range(count):
            target[i] += source[i]
    else:
        for i in range(count):
            target[i * step] += source[i * source_step]


# One row of the tile, columns [begin, begin + count), from one channel of all images.
cdef void gather_row(const Window *w, const Row *row, ptrdiff_t begin, ptrdiff_t count,
                     const real *x, const ptrdiff_t *strides, real *out) noexcept nogil:
    cdef Pixel p = pixel_at(w, begin)
    cdef ptrdiff_t length, d, h
    cdef Run run
    while count > 0:
        length = min(count, w.out_size[2] - p.w)
        d = p.d * w.stride[0] + row.shift[0]
        h = p.h * w.stride[1] + row.shift[1]
        if d < 0 or d >= w.in_size[0] or h < 0 or h >= w.in_size[1]:
            memset(out, 0, length * sizeof(real))
        else:
            run = outputs_on_data(w, row.shift[2], p.w, p.w + length)
            memset(out, 0, (run.first - p.w) * sizeof(real))
            if run.first < run.last:
                copy(x + p.n * strides[0] + d * strides[2] + h * strides[3]
                     + (run.first * w.stride[2] + row.shift[2]) * strides[4],
                     step_of(w, &run, strides), run.last - run.first, out + (run.first - p.w))
            memset(out + (run.last - p.w), 0, (p.w + length - run.last) * sizeof(real))
        out += length
        count -= length
        next_row(w, &p)


# The adjoint of gather_row: what lies on padding is dropped, overlaps add up.
cdef void scatter_row(const Window *w, const Row *row, ptrdiff_t begin, ptrdiff_t count,
                      const real *columns, ptrdiff_t column_step, real *x,
                      const ptrdiff_t *strides) noexcept nogil:
    cdef Pixel p = pixel_at(w, begin)
    cdef ptrdiff_t length, d, h
    cdef Run run
    while count > 0:
        length = min(count, w.out_size[2] - p.w)
        d = p.d * w.stride[0] + row.shift[0]
        h = p.h * w.stride[1] + row.shift[1]
        if 0 <= d < w.in_size[0] and 0 <= h < w.in_size[1]:
            run = outputs_on_data(w, row.shift[2], p.w, p.w + length)
            if run.first < run.last:
                add(columns + (run.first - p.w) * column_step, column_step, run.last - run.first,
                    x + p.n * strides[0] + d * strides[2] + h * strides[3]
                    + (run.first * w.stride[2] + row.shift[2]) * strides[4],
                    step_of(w, &run, strides))
        columns += length * column_step
        count -= length
        next_row(w, &p)


cdef void element_strides(ptrdiff_t *strides, const Py_ssize_t *byte_strides,
                          ptrdiff_t itemsize) noexcept nogil:
    cdef int axis
    for axis in range(5):
        strides[axis] = byte_strides[axis] // itemsize


def im2col_tile(const real[:, :, :, :, :] x, window, ptrdiff_t groups, ptrdiff_t group0,
                ptrdiff_t row0, ptrdiff_t column0, real[:, :, ::1] out):
    """Fills out[group, row, column] with the tile that starts at (group0, row0, column0).

    x: (N, C, D, H, W), any strides; out: (groups, rows, columns) of the tile, columns adjacent.
    """
    cdef Window w = read_window(window)
    cdef ptrdiff_t channels = x.shape[1] // groups
    cdef ptrdiff_t strides[5]
    cdef ptrdiff_t g, r
    cdef Row row
    element_strides(strides, x.strides, sizeof(real))
    if x.shape[0] == 0 or out.shape[0] == 0 or out.shape[1] == 0 or out.shape[2] == 0:
        return
    with nogil:
        for g in range(out.shape[0]):
            for r in range(out.shape[1]):
                row = row_at(&w, row0 + r)
                gather_row(&w, &row, column0, out.shape[2],
                           &x[0, 0, 0, 0, 0] + ((group0 + g) * channels + row.channel) * strides[1],
                           strides, &out[g, r, 0])


def col2im_tile(const real[:, :, :] columns, window, ptrdiff_t groups, ptrdiff_t group0,
                ptrdiff_t row0, ptrdiff_t column0, real[:, :, :, :, :] x):
    """Adds columns[group, row, column], a tile laid out as im2col_tile fills it, to x."""
    cdef Window w = read_window(window)
    cdef ptrdiff_t channels = x.shape[1] // groups
    cdef ptrdiff_t strides[5]
    cdef ptrdiff_t column_step = 0  # the stride of an axis of size 1 may be anything
    cdef ptrdiff_t g, r
    cdef Row row
    element_strides(strides, x.strides, sizeof(real))
    if columns.shape[2] > 1:
        column_step = columns.strides[2] // <ptrdiff_t>sizeof(real)
    if x.shape[0] == 0 or columns.shape[0] == 0 or columns.shape[1] == 0 or columns.shape[2] == 0:
        return
    with nogil:
        for g in range(columns.shape[0]):
            for r in range(columns.shape[1]):
                row = row_at(&w, row0 + r)
                scatter_row(&w, &row, column0, columns.shape[2], &columns[g, r, 0],
                            column_step,
                            &x[0, 0, 0, 0, 0] + ((group0 + g) * channels + row.channel) * strides[1],
                            strides)
