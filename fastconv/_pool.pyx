# cython: language_level=3, cdivision=True
"""Max and average pooling over (N, C, D, H, W) views of any strides, for every real dtype.

What csrc/pool/ has no vectors for runs here, 64-bit integers and long double, and what it refuses:
planes of 2**31 elements and more, and rows so far apart or so long that the workspace would pass
16 MiB. Float16 has no C type: the callers pass float32 copies, which
represent it exactly.
"""

cimport numpy as cnp

from ._window cimport (
    Taps, View, Window, bits, longdouble, read_pad_after, read_window, schar, taps_on_data, uchar,
    ulonglong, ushort, view_of,
)

cnp.import_array()

ctypedef fused real:
    schar
    uchar
    short
    ushort
    int
    unsigned
    long long
    ulonglong
    float
    double
    longdouble

ctypedef fused floating:
    float
    double


cdef inline bint is_nan(real value) noexcept nogil:
    if real is float or real is double or real is longdouble:
        return value != value
    else:
        return False


def max_pool_forward(cnp.ndarray x, window, cnp.ndarray y, cnp.ndarray indices):
    """y: the maximum of each window; indices: where in the plane D * H * W it stands.

    The first maximum in row-major order counts; the first NaN ends the search.
    """
    cdef Window w = read_window(window)
    cdef View source = view_of(x), target = view_of(y), places = view_of(indices)
    code = x.dtype.str[1:]
    if code == "i1":
        max_pool(w, source, target, places, <schar *>source.data)
    elif code == "u1":
        max_pool(w, source, target, places, <uchar *>source.data)
    elif code == "i2":
        max_pool(w, source, target, places, <short *>source.data)
    elif code == "u2":
        max_pool(w, source, target, places, <ushort *>source.data)
    elif code == "i4":
        max_pool(w, source, target, places, <int *>source.data)
    elif code == "u4":
        max_pool(w, source, target, places, <unsigned *>source.data)
    elif code == "i8":
        max_pool(w, source, target, places, <long long *>source.data)
    elif code == "u8":
        max_pool(w, source, target, places, <ulonglong *>source.data)
    elif code == "f4":
        max_pool(w, source, target, places, <float *>source.data)
    elif code == "f8":
        max_pool(w, source, target, places, <double *>source.data)
    elif x.dtype.char == "g":
        max_pool(w, source, target, places, <longdouble *>source.data)
    else:
        raise TypeError(f"x has dtype {x.dtype}, expected a real number type")


cdef void max_pool(Window win, View x, View y, View indices,
                   const real *source) noexcept:
    cdef ptrdiff_t n, c, o_d, o_h, o_w, t_d, t_h, t_w, i_d, i_h, i_w
    cdef ptrdiff_t best_index
    cdef const real *plane
    cdef const real *row
    cdef real *out
    cdef long long *index
    cdef real best, value
    cdef bint found
    cdef Taps d, h, w
    with nogil:
        for n in range(y.size[0]):
            for c in range(y.size[1]):
                plane = source + n * x.step[0] + c * x.step[1]
                for o_d in range(y.size[2]):
                    d = taps_on_data(&win, 0, o_d)
                    for o_h in range(y.size[3]):
                        h = taps_on_data(&win, 1, o_h)
                        out = <real *>y.data + offset(y, n, c, o_d, o_h)
                        index = <long long *>indices.data + offset(indices, n, c, o_d, o_h)
                        for o_w in range(y.size[4]):
                            w = taps_on_data(&win, 2, o_w)
                            i_d = d.start + d.first * win.dilation[0]
                            i_h = h.start + h.first * win.dilation[1]
                            i_w = w.start + w.first * win.dilation[2]
                            best = plane[i_d * x.step[2] + i_h * x.step[3] + i_w * x.step[4]]
                            best_index = (i_d * win.in_size[1] + i_h) * win.in_size[2] + i_w
                            found = is_nan(best)
                            for t_d in range(d.first, d.last):
                                i_d = d.start + t_d * win.dilation[0]
                                for t_h in range(h.first, h.last):
                                    i_h = h.start + t_h * win.dilation[1]
                                    row = plane + i_d * x.step[2] + i_h * x.step[3]
                                    if found:
                                        break
                                    for t_w in range(w.first, w.last):
                                        i_w = w.start + t_w * win.dilation[2]
                                        value = row[i_w * x.step[4]]
                                        if value > best or is_nan(value):
                                            best = value
                                            best_index = ((i_d * win.in_size[1] + i_h)
                                                          * win.in_size[2] + i_w)
                                            found = is_nan(value)
                                            if found:
                                                break
                            out[o_w * y.step[4]] = best
                            index[o_w * indices.step[4]] = best_index


cdef inline ptrdiff_t offset(View view, ptrdiff_t n, ptrdiff_t c, ptrdiff_t d,
                             ptrdiff_t h) noexcept nogil:
    return n * view.step[0] + c * view.step[1] + d * view.step[2] + h * view.step[3]


def max_pool_backward(cnp.ndarray dy, cnp.ndarray indices, bint add, cnp.ndarray dx):
    """dx[n, c, indices[n, c, i]] += dy[n, c, i], or = without `add`; spatial axes flattened.

    dy: integers or long double. Returns None, or the position (n, c, i) of the first index
    outside dx.
    """
    cdef View source = view_of(dy), places = view_of(indices), target = view_of(dx)
    code = dy.dtype.str[1:].replace("i", "u")
    if code == "u1":
        return scatter(source, places, add, target, <uchar *>source.data)
    if code == "u2":
        return scatter(source, places, add, target, <ushort *>source.data)
    if code == "u4":
        return scatter(source, places, add, target, <unsigned *>source.data)
    if code == "u8":
        return scatter(source, places, add, target, <ulonglong *>source.data)
    if dy.dtype.char == "g":
        return scatter(source, places, add, target, <longdouble *>source.data)
    raise TypeError(f"dy has dtype {dy.dtype}, expected integers or long double")


cdef scatter(View dy, View indices, bint add, View dx, const bits *source):
    cdef ptrdiff_t n, c, i
    cdef long long index
    cdef const bits *values
    cdef const long long *places
    cdef bits *plane
    with nogil:
        for n in range(dy.size[0]):
            for c in range(dy.size[1]):
                values = source + n * dy.step[0] + c * dy.step[1]
                places = <const long long *>indices.data + n * indices.step[0] + c * indices.step[1]
                plane = <bits *>dx.data + n * dx.step[0] + c * dx.step[1]
                for i in range(dy.size[2]):
                    index = places[i * indices.step[2]]
                    if index < 0 or index >= dx.size[2]:
                        with gil:
                            return n, c, i
                    if add:
                        plane[index * dx.step[2]] += values[i * dy.step[2]]
                    else:
                        plane[index * dx.step[2]] = values[i * dy.step[2]]


# What the sum over one window is divided by; t: taps on the data of the three axes.
cdef inline double window_divisor(const Window *w, const ptrdiff_t *pad_after,
                                  const Taps *t, double override,
                                  bint count_include_pad) noexcept nogil:
    cdef double cells = 1
    cdef int axis
    if override != 0:
        return override
    for axis in range(3):
        if count_include_pad and not w.adaptive:
            cells *= min(w.kernel[axis], w.in_size[axis] + pad_after[axis] - t[axis].start)
        else:
            cells *= t[axis].last - t[axis].first
    return cells


def avg_pool_forward(cnp.ndarray x, window, double divisor_override, bint count_include_pad,
                     cnp.ndarray y):
    """y: the sum of each window's data over its divisor; divisor_override 0 means none."""
    cdef Window w = read_window(window)
    cdef View source = view_of(x), target = view_of(y)
    cdef ptrdiff_t pad_after[3]
    read_pad_after(window, pad_after)
    if x.itemsize == sizeof(float):
        avg_pool(w, pad_after, divisor_override, count_include_pad, source, target,
                 <float *>source.data)
    else:
        avg_pool(w, pad_after, divisor_override, count_include_pad, source, target,
                 <double *>source.data)


cdef void avg_pool(Window win, const ptrdiff_t *pad_after, double divisor_override,
                   bint count_include_pad, View x, View y,
                   const floating *source) noexcept:
    cdef ptrdiff_t n, c, o_d, o_h, o_w, i_d, i_h, i_w
    cdef const floating *plane
    cdef floating *out
    cdef double total
    cdef Taps t[3]
    with nogil:
        for n in range(y.size[0]):
            for c in range(y.size[1]):
                plane = source + n * x.step[0] + c * x.step[1]
                for o_d in range(y.size[2]):
                    t[0] = taps_on_data(&win, 0, o_d)
                    for o_h in range(y.size[3]):
                        t[1] = taps_on_data(&win, 1, o_h)
                        out = <floating *>y.data + offset(y, n, c, o_d, o_h)
                        for o_w in range(y.size[4]):
                            t[2] = taps_on_data(&win, 2, o_w)
                            total = 0
                            for i_d in range(t[0].start + t[0].first, t[0].start + t[0].last):
                                for i_h in range(t[1].start + t[1].first, t[1].start + t[1].last):
                                    for i_w in range(t[2].start + t[2].first,
                                                     t[2].start + t[2].last):
                                        total += plane[i_d * x.step[2] + i_h * x.step[3]
                                                       + i_w * x.step[4]]
                            out[o_w * y.step[4]] = <floating>(
                                total / window_divisor(&win, pad_after, t, divisor_override,
                                                       count_include_pad))


def avg_pool_backward(cnp.ndarray dy, window, double divisor_override, bint count_include_pad,
                      cnp.ndarray dx):
    """Adds dy over the divisor to every element of dx that its window holds."""
    cdef Window w = read_window(window)
    cdef View source = view_of(dy), target = view_of(dx)
    cdef ptrdiff_t pad_after[3]
    read_pad_after(window, pad_after)
    if dy.itemsize == sizeof(float):
        avg_pool_gradient(w, pad_after, divisor_override, count_include_pad, source, target,
                          <float *>source.data)
    else:
        avg_pool_gradient(w, pad_after, divisor_override, count_include_pad, source, target,
                          <double *>source.data)


cdef void avg_pool_gradient(Window win, const ptrdiff_t *pad_after, double divisor_override,
                            bint count_include_pad, View dy, View dx,
                            const floating *source) noexcept:
    cdef ptrdiff_t n, c, o_d, o_h, o_w, i_d, i_h, i_w
    cdef const floating *gradient
    cdef floating *plane
    cdef floating share
    cdef Taps t[3]
    with nogil:
        for n in range(dy.size[0]):
            for c in range(dy.size[1]):
                plane = <floating *>dx.data + n * dx.step[0] + c * dx.step[1]
                for o_d in range(dy.size[2]):
                    t[0] = taps_on_data(&win, 0, o_d)
                    for o_h in range(dy.size[3]):
                        t[1] = taps_on_data(&win, 1, o_h)
                        gradient = source + offset(dy, n, c, o_d, o_h)
                        for o_w in range(dy.size[4]):
                            t[2] = taps_on_data(&win, 2, o_w)
                            share = <floating>(
                                gradient[o_w * dy.step[4]]
                                / window_divisor(&win, pad_after, t, divisor_override,
                                                 count_include_pad))
                            for i_d in range(t[0].start + t[0].first, t[0].start + t[0].last):
                                for i_h in range(t[1].start + t[1].first, t[1].start + t[1].last):
                                    for i_w in range(t[2].start + t[2].first,
                                                     t[2].start + t[2].last):
                                        plane[i_d * dx.step[2] + i_h * dx.step[3]
                                              + i_w * dx.step[4]] += share
