# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Max and average pooling over (N, C, D, H, W) views of any strides, for every real dtype.

What csrc/pool/ has no vectors for runs here, 64-bit integers and long double, and what
it and pool_backward.c refuse: planes of 2**31 elements and more, and rows so far apart or so long
that the workspace would pass 16 MiB. Float16 has no C type: the callers pass float32 copies, which
represent it exactly.
"""

from ._window cimport Taps, Window, longdouble, read_window, real, taps_on_data

ctypedef fused floating:
    float
    double


cdef inline bint is_nan(real value) noexcept nogil:
    if real is float or real is double or real is longdouble:
        return value != value
    else:
        return False


def max_pool_forward(const real[:, :, :, :, :] x, window, real[:, :, :, :, :] y,
                     long long[:, :, :, :, :] indices):
    """y: the maximum of each window; indices: where in the plane D * H * W it stands.

    The first maximum in row-major order counts; the first NaN ends the search.
    """
    cdef Window win = read_window(window)
    cdef ptrdiff_t n, c, o_d, o_h, o_w, t_d, t_h, t_w, i_d, i_h, i_w
    cdef ptrdiff_t best_index
    cdef real best, value
    cdef bint found
    cdef Taps d, h, w
    with nogil:
        for n in range(y.shape[0]):
            for c in range(y.shape[1]):
                for o_d in range(y.shape[2]):
                    d = taps_on_data(&win, 0, o_d)
                    for o_h in range(y.shape[3]):
                        h = taps_on_data(&win, 1, o_h)
                        for o_w in range(y.shape[4]):
                            w = taps_on_data(&win, 2, o_w)
                            i_d = d.start + d.first * win.dilation[0]
                            i_h = h.start + h.first * win.dilation[1]
                            i_w = w.start + w.first * win.dilation[2]
                            best = x[n, c, i_d, i_h, i_w]
                            best_index = (i_d * win.in_size[1] + i_h) * win.in_size[2] + i_w
                            found = is_nan(best)
                            for t_d in range(d.first, d.last):
                                i_d = d.start + t_d * win.dilation[0]
                                for t_h in range(h.first, h.last):
                                    i_h = h.start + t_h * win.dilation[1]
                                    if found:
                                        break
                                    for t_w in range(w.first, w.last):
                                        i_w = w.start + t_w * win.dilation[2]
                                        value = x[n, c, i_d, i_h, i_w]
                                        if value > best or is_nan(value):
                                            best = value
                                            best_index = ((i_d * win.in_size[1] + i_h)
                                                          * win.in_size[2] + i_w)
                                            found = is_nan(value)
                                            if found:
                                                break
                            y[n, c, o_d, o_h, o_w] = best
                            indices[n, c, o_d, o_h, o_w] = best_index


def max_pool_backward(const real[:, :, :] dy, const long long[:, :, :] indices, bint add,
                      real[:, :, :] dx):
    """dx[n, c, indices[n, c, i]] += dy[n, c, i], or = without `add`; spatial axes flattened.

    Returns None, or the position (n, c, i) of the first index outside dx.
    """
    cdef ptrdiff_t n, c, i
    cdef long long index
    with nogil:
        for n in range(dy.shape[0]):
            for c in range(dy.shape[1]):
                for i in range(dy.shape[2]):
                    index = indices[n, c, i]
                    if index < 0 or index >= dx.shape[2]:
                        with gil:
                            return n, c, i
                    if add:
                        dx[n, c, index] += dy[n, c, i]
                    else:
                        dx[n, c, index] = dy[n, c, i]


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


cdef void read_pad_after(ptrdiff_t *pad_after, window) except *:
    cdef int axis
    for axis in range(3):
        pad_after[axis] = window.pad_after[axis]


def avg_pool_forward(const floating[:, :, :, :, :] x, window, double divisor_override,
                     bint count_include_pad, floating[:, :, :, :, :] y):
    """y: the sum of each window's data over its divisor; divisor_override 0 means none."""
    cdef Window win = read_window(window)
    cdef ptrdiff_t pad_after[3]
    cdef ptrdiff_t n, c, o_d, o_h, o_w, i_d, i_h, i_w
    cdef double total
    cdef Taps t[3]
    read_pad_after(pad_after, window)
    with nogil:
        for n in range(y.shape[0]):
            for c in range(y.shape[1]):
                for o_d in range(y.shape[2]):
                    t[0] = taps_on_data(&win, 0, o_d)
                    for o_h in range(y.shape[3]):
                        t[1] = taps_on_data(&win, 1, o_h)
                        for o_w in range(y.shape[4]):
                            t[2] = taps_on_data(&win, 2, o_w)
                            total = 0
                            for i_d in range(t[0].start + t[0].first, t[0].start + t[0].last):
                                for i_h in range(t[1].start + t[1].first, t[1].start + t[1].last):
                                    for i_w in range(t[2].start + t[2].first,
                                                     t[2].start + t[2].last):
                                        total += x[n, c, i_d, i_h, i_w]
                            y[n, c, o_d, o_h, o_w] = <floating>(
                                total / window_divisor(&win, pad_after, t, divisor_override,
                                                       count_include_pad))


def avg_pool_backward(const floating[:, :, :, :, :] dy, window, double divisor_override,
                      bint count_include_pad, floating[:, :, :, :, :] dx):
    """Adds dy over the divisor to every element of dx that its window holds."""
    cdef Window win = read_window(window)
    cdef ptrdiff_t pad_after[3]
    cdef ptrdiff_t n, c, o_d, o_h, o_w, i_d, i_h, i_w
    cdef floating share
    cdef Taps t[3]
    read_pad_after(pad_after, window)
    with nogil:
        for n in range(dy.shape[0]):
            for c in range(dy.shape[1]):
                for o_d in range(dy.shape[2]):
                    t[0] = taps_on_data(&win, 0, o_d)
                    for o_h in range(dy.shape[3]):
                        t[1] = taps_on_data(&win, 1, o_h)
                        for o_w in range(dy.shape[4]):
                            t[2] = taps_on_data(&win, 2, o_w)
                            share = <floating>(
                                dy[n, c, o_d, o_h, o_w]
                                / window_divisor(&win, pad_after, t, divisor_override,
                                                 count_include_pad))
                            for i_d in range(t[0].start + t[0].first, t[0].start + t[0].last):
                                for i_h in range(t[1].start + t[1].first, t[1].start + t[1].last):
                                    for i_w in range(t[2].start + t[2].first,
                                                     t[2].start + t[2].last):
                                        dx[n, c, i_d, i_h, i_w] += share
