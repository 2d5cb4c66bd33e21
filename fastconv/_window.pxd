# Windows sliding over three spatial axes, as C integers, which of their taps hit the data, and
# arrays as pointers: typed memoryviews took longer to compile than all of csrc's stages.

cimport numpy as cnp

ctypedef signed char schar
ctypedef unsigned char uchar
ctypedef unsigned short ushort
ctypedef unsigned long long ulonglong
ctypedef long double longdouble

# Integers without a sign stand for all elements of their size where bits are moved, and for integers
# with a sign where sums wrap.
ctypedef fused bits:
    uchar
    ushort
    unsigned
    ulonglong
    longdouble

# An array of at most five axes.
cdef struct View:
    void *data
    ptrdiff_t size[5]
    ptrdiff_t step[5]  # in elements


cdef inline View view_of(cnp.ndarray array):
    """Of an array whose strides are whole elements."""
    cdef View view
    cdef int axis
    view.data = cnp.PyArray_DATA(array)
    for axis in range(cnp.PyArray_NDIM(array)):
        view.size[axis] = cnp.PyArray_DIM(array, axis)
        view.step[axis] = cnp.PyArray_STRIDE(array, axis) // cnp.PyArray_ITEMSIZE(array)
    return view


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


cdef inline void read_sizes(window, ptrdiff_t *in_size, ptrdiff_t *kernel, ptrdiff_t *out_size,
                            ptrdiff_t *stride, ptrdiff_t *dilation, ptrdiff_t *pad) except *:
    """Three of each, from a fastconv._geometry.Window."""
    cdef int axis
    for axis in range(3):
        in_size[axis] = window.in_size[axis]
        kernel[axis] = window.kernel[axis]
        out_size[axis] = window.out_size[axis]
        stride[axis] = window.stride[axis]
        dilation[axis] = window.dilation[axis]
        pad[axis] = window.pad_before[axis]


cdef inline void read_pad_after(window, ptrdiff_t *pad_after) except *:
    cdef int axis
    for axis in range(3):
        pad_after[axis] = window.pad_after[axis]


cdef inline Window read_window(window):
    """From a fastconv._geometry.Window."""
    cdef Window w
    w.adaptive = window.adaptive
    read_sizes(window, w.in_size, w.kernel, w.out_size, w.stride, w.dilation, w.pad)
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
