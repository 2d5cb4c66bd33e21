# Windows sliding over three spatial axes, as C integers, and which of their taps hit the data.

ctypedef long double longdouble

ctypedef fused real:
    signed char
    unsigned char
    short
    unsigned short
    int
    unsigned int
    long long
    unsigned long long
    float
    double
    longdouble


cdef struct Window:
    ptrdiff_t in_size[3]
    ptrdiff_t kernel[3]
    ptrdiff_t out_size[3]
    ptrdiff_t stride[3]
    ptrdiff_t dilation[3]
    ptrdiff_t pad[3]
    bint adaptive


# The taps [first, last) of one output that lie on the data, and where tap 0 would be.
cdef struct Taps:
    ptrdiff_t start
    ptrdiff_t first
    ptrdiff_t last


cdef inline Window read_window(window):
    """From a fastconv._geometry.Window."""
    cdef Window w
    cdef int axis
    w.adaptive = window.adaptive
    for axis in range(3):
        w.in_size[axis] = window.in_size[axis]
        w.kernel[axis] = window.kernel[axis]
        w.out_size[axis] = window.out_size[axis]
        w.stride[axis] = window.stride[axis]
        w.dilation[axis] = window.dilation[axis]
        w.pad[axis] = window.pad_before[axis]
    return w


cdef inline Taps taps_on_data(const Window *w, int axis, ptrdiff_t output) noexcept nogil:
    cdef Taps t
    cdef ptrdiff_t step = w.dilation[axis]
    cdef ptrdiff_t room
    if w.adaptive:
        t.start = output * w.in_size[axis] // w.out_size[axis]
        t.first = 0
        t.last = ((output + 1) * w.in_size[axis] - 1) // w.out_size[axis] + 1 - t.start
        return t
    t.start = output * w.stride[axis] - w.pad[axis]
    t.first = 0 if t.start >= 0 else (-t.start - 1) // step + 1
    room = w.in_size[axis] - t.start
    t.last = 0 if room <= 0 else min(w.kernel[axis], (room - 1) // step + 1)
    return t
