# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Columns: the elements of x that each output pixel multiplies, and their adjoint.

What csrc/columns/columns.c does not take runs here: elements not of 4 or 8 bytes, sums of other
than float and double, and sums along rows too long for its workspace.

Row (c * R + r) * S + s of an image's columns holds channel c at kernel tap (r, s); column p * Q + q
belongs to output pixel (p, q).
(Chellapilla, Puri & Simard 2006, "High performance convolutional neural networks".)
"""

from libc.string cimport memset

from ._window cimport Window, read_window, real


# One row of the columns: a channel and a tap, as offsets before the stride is applied.
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


# The outputs [first, last) of the innermost axis whose tap lies on the data.
cdef inline Run outputs_on_data(const Window *w, ptrdiff_t shift) noexcept nogil:
    cdef Run run
    cdef ptrdiff_t stride = w.stride[2]
    cdef ptrdiff_t room = w.in_size[2] - shift
    cdef ptrdiff_t low = 0 if shift >= 0 else (-shift - 1) // stride + 1
    cdef ptrdiff_t high = 0 if room <= 0 else (room - 1) // stride + 1
    run.first = min(low, w.out_size[2])
    run.last = max(min(high, w.out_size[2]), run.first)
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


# One row of the columns of an image. x: its channel 0.
cdef void gather_row(const Window *w, const Row *row, const real *x, const ptrdiff_t *strides,
                     real *out) noexcept nogil:
    cdef Run run = outputs_on_data(w, row.shift[2])
    cdef ptrdiff_t Q = w.out_size[2]
    cdef ptrdiff_t o_d, o_h, d, h
    for o_d in range(w.out_size[0]):
        d = o_d * w.stride[0] + row.shift[0]
        for o_h in range(w.out_size[1]):
            h = o_h * w.stride[1] + row.shift[1]
            if not (0 <= d < w.in_size[0] and 0 <= h < w.in_size[1]) or run.first == run.last:
                memset(out, 0, Q * sizeof(real))
            else:
                memset(out, 0, run.first * sizeof(real))
                copy(x + row.channel * strides[1] + d * strides[2] + h * strides[3]
                     + (run.first * w.stride[2] + row.shift[2]) * strides[4],
                     step_of(w, &run, strides), run.last - run.first, out + run.first)
                memset(out + run.last, 0, (Q - run.last) * sizeof(real))
            out += Q


# The adjoint of gather_row: what lies on padding is dropped, overlaps add up.
cdef void scatter_row(const Window *w, const Row *row, const real *columns, ptrdiff_t column_step,
                      real *x, const ptrdiff_t *strides) noexcept nogil:
    cdef Run run = outputs_on_data(w, row.shift[2])
    cdef ptrdiff_t o_d, o_h, d, h
    if run.first == run.last:
        return
    for o_d in range(w.out_size[0]):
        d = o_d * w.stride[0] + row.shift[0]
        for o_h in range(w.out_size[1]):
            h = o_h * w.stride[1] + row.shift[1]
            if 0 <= d < w.in_size[0] and 0 <= h < w.in_size[1]:
                add(columns + run.first * column_step, column_step, run.last - run.first,
                    x + row.channel * strides[1] + d * strides[2] + h * strides[3]
                    + (run.first * w.stride[2] + row.shift[2]) * strides[4],
                    step_of(w, &run, strides))
            columns += w.out_size[2] * column_step


cdef void element_strides(ptrdiff_t *strides, const Py_ssize_t *byte_strides,
                          ptrdiff_t itemsize) noexcept nogil:
    cdef int axis
    for axis in range(5):
        strides[axis] = byte_strides[axis] // itemsize


def im2col(const real[:, :, :, :, :] x, window, real[:, :, ::1] cols):
    """Fills cols[n, row, column]. x: (N, C, D, H, W), any strides."""
    cdef Window w = read_window(window)
    cdef ptrdiff_t strides[5]
    cdef ptrdiff_t n, r
    cdef Row row
    element_strides(strides, x.strides, sizeof(real))
    with nogil:
        for n in range(cols.shape[0]):
            for r in range(cols.shape[1]):
                row = row_at(&w, r)
                gather_row(&w, &row, &x[n, 0, 0, 0, 0], strides, &cols[n, r, 0])


def col2im(const real[:, :, :] cols, window, real[:, :, :, :, :] x):
    """Adds cols[n, row, column], any strides, to where im2col read it from."""
    cdef Window w = read_window(window)
    cdef ptrdiff_t strides[5]
    cdef ptrdiff_t column_step = 0  # the stride of an axis of size 1 may be anything
    cdef ptrdiff_t n, r
    cdef Row row
    element_strides(strides, x.strides, sizeof(real))
    if cols.shape[2] > 1:
        column_step = cols.strides[2] // <ptrdiff_t>sizeof(real)
    with nogil:
        for n in range(cols.shape[0]):
            for r in range(cols.shape[1]):
                row = row_at(&w, r)
                scatter_row(&w, &row, &cols[n, r, 0], column_step, &x[n, 0, 0, 0, 0], strides)
