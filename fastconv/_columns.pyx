# cython: language_level=3, cdivision=True
"""Columns: the elements of x that each output pixel multiplies, and their adjoint.

What csrc/columns/columns.c does not take runs here: elements not of 4 or 8 bytes, sums of other
than float and double, and sums along rows too long for its workspace.

Row (c * R + r) * S + s of an image's columns holds channel c at kernel tap (r, s); column p * Q + q
belongs to output pixel (p, q).
(Chellapilla, Puri & Simard 2006, "High performance convolutional neural networks".)
"""

cimport numpy as cnp
from libc.string cimport memset

from ._window cimport View, Window, bits, longdouble, read_window, uchar, ulonglong, ushort, view_of

cnp.import_array()

# Integers without a sign stand for those with one.
ctypedef fused summand:
    uchar
    ushort
    unsigned
    ulonglong
    float
    double
    longdouble


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


cdef inline void copy(const bits *source, ptrdiff_t step, ptrdiff_t count,
                      bits *target) noexcept nogil:
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


cdef inline void add(const summand *source, ptrdiff_t source_step, ptrdiff_t count, summand *target,
                     ptrdiff_t step) noexcept nogil:
    cdef ptrdiff_t i
    if source_step == 1 and step == 1:
        for i in range(count):
            target[i] += source[i]
    else:
        for i in range(count):
            target[i * step] += source[i * source_step]


# One row of the columns of an image. x: its channel 0.
cdef void gather_row(const Window *w, const Row *row, const bits *x, const ptrdiff_t *strides,
                     bits *out) noexcept nogil:
    cdef Run run = outputs_on_data(w, row.shift[2])
    cdef ptrdiff_t Q = w.out_size[2]
    cdef ptrdiff_t o_d, o_h, d, h
    for o_d in range(w.out_size[0]):
        d = o_d * w.stride[0] + row.shift[0]
        for o_h in range(w.out_size[1]):
            h = o_h * w.stride[1] + row.shift[1]
            if not (0 <= d < w.in_size[0] and 0 <= h < w.in_size[1]) or run.first == run.last:
                memset(out, 0, Q * sizeof(bits))
            else:
                memset(out, 0, run.first * sizeof(bits))
                copy(x + row.channel * strides[1] + d * strides[2] + h * strides[3]
                     + (run.first * w.stride[2] + row.shift[2]) * strides[4],
                     step_of(w, &run, strides), run.last - run.first, out + run.first)
                memset(out + run.last, 0, (Q - run.last) * sizeof(bits))
            out += Q


# The adjoint of gather_row: what lies on padding is dropped, overlaps add up.
cdef void scatter_row(const Window *w, const Row *row, const summand *columns, ptrdiff_t column_step,
                      summand *x, const ptrdiff_t *strides) noexcept nogil:
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


def im2col(cnp.ndarray x, window, cnp.ndarray cols):
    """Fills cols[n, row, column], contiguous. x: (N, C, D, H, W), any strides."""
    cdef Window w = read_window(window)
    cdef View source = view_of(x), target = view_of(cols)
    if x.itemsize == 1:
        gather(&w, source, target, <uchar *>source.data)
    elif x.itemsize == 2:
        gather(&w, source, target, <ushort *>source.data)
    elif x.itemsize == 4:
        gather(&w, source, target, <unsigned *>source.data)
    elif x.itemsize == 8:
        gather(&w, source, target, <ulonglong *>source.data)
    elif x.dtype.char == "g":
        gather(&w, source, target, <longdouble *>source.data)
    else:
        raise TypeError(f"x has dtype {x.dtype}, expected a real number type")


cdef void gather(const Window *w, View x, View cols, const bits *source) noexcept:
    cdef ptrdiff_t n, r
    cdef Row row
    with nogil:
        for n in range(cols.size[0]):
            for r in range(cols.size[1]):
                row = row_at(w, r)
                gather_row(w, &row, source + n * x.step[0], x.step,
                           <bits *>cols.data + n * cols.step[0] + r * cols.step[1])


def col2im(cnp.ndarray cols, window, cnp.ndarray x):
    """Adds cols[n, row, column], any strides, to where im2col read it from."""
    cdef Window w = read_window(window)
    cdef View source = view_of(cols), target = view_of(x)
    code = cols.dtype.str[1:].replace("i", "u")
    if source.size[2] <= 1:
        source.step[2] = 0  # the stride of an axis of size 1 may be anything
    if code == "u1":
        scatter(&w, source, target, <uchar *>source.data)
    elif code == "u2":
        scatter(&w, source, target, <ushort *>source.data)
    elif code == "u4":
        scatter(&w, source, target, <unsigned *>source.data)
    elif code == "u8":
        scatter(&w, source, target, <ulonglong *>source.data)
    elif code == "f4":
        scatter(&w, source, target, <float *>source.data)
    elif code == "f8":
        scatter(&w, source, target, <double *>source.data)
    elif cols.dtype.char == "g":
        scatter(&w, source, target, <longdouble *>source.data)
    else:
        raise TypeError(f"cols has dtype {cols.dtype}, expected a real number type")


cdef void scatter(const Window *w, View cols, View x, const summand *source) noexcept:
    cdef ptrdiff_t n, r
    cdef Row row
    with nogil:
        for n in range(cols.size[0]):
            for r in range(cols.size[1]):
                row = row_at(w, r)
                scatter_row(w, &row, source + n * cols.step[0] + r * cols.step[1], cols.step[2],
                            <summand *>x.data + n * x.step[0], x.step)
