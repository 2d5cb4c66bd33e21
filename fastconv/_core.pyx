# cython: language_level=3
"""The only bridge to csrc: data pointers and element strides go in, a status comes out.

Arrays are in the layout of their problem, checked by _problem.py. Nothing is checked here.
"""

import threading

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport PyThread_get_thread_ident

cnp.import_array()

# What calls use from now on: runtime.py sets it.
cdef int current_isa = 0

cdef unsigned long main_thread = threading.main_thread().ident
cdef object pending = None


cdef int interrupted() noexcept with gil:
    """Runs signal handlers; what they raise is kept for the main thread, the only one to run them."""
    global pending
    try:
        PyErr_CheckSignals()
    except BaseException as raised:
        pending = raised
        return 1
    return 0


cdef raise_pending():
    global pending
    raised, pending = pending, None
    raise raised


cdef void *pointer(cnp.ndarray array) noexcept:
    return cnp.PyArray_DATA(array) if array is not None else NULL


cdef void read_strides(ptrdiff_t *strides, cnp.ndarray array, bint channels_last) noexcept:
    """Of (N, C, *size), or (N, *size, C), as (N, C, D, H, W); of an axis that is not there: 0."""
    cdef int axis
    cdef int ndim
    cdef ptrdiff_t size
    for axis in range(5):
        strides[axis] = 0
    if array is None:
        return
    ndim = cnp.PyArray_NDIM(array)
    size = cnp.PyArray_ITEMSIZE(array)
    strides[0] = cnp.PyArray_STRIDE(array, 0) // size
    strides[1] = cnp.PyArray_STRIDE(array, ndim - 1 if channels_last else 1) // size
    for axis in range(ndim - 2):
        strides[7 - ndim + axis] = cnp.PyArray_STRIDE(array, axis + 2 - channels_last) // size


cdef class Sizes:
    """What of an fc_conv_problem depends on the problem alone."""
    cdef fc_conv_problem p
    cdef bint channels_last


cdef Sizes sizes_of(problem):
    cdef Sizes sizes = problem.native
    cdef int axis
    if sizes is not None:
        return sizes
    sizes = Sizes()
    sizes.channels_last = problem.channels_last
    sizes.p.batch = problem.batch
    sizes.p.groups = problem.groups
    sizes.p.in_channels = problem.in_channels
    sizes.p.out_channels = problem.out_channels
    window = problem.window
    for axis in range(3):
        sizes.p.in_size[axis] = window.in_size[axis]
        sizes.p.kernel[axis] = window.kernel[axis]
        sizes.p.out_size[axis] = window.out_size[axis]
        sizes.p.stride[axis] = window.stride[axis]
        sizes.p.dilation[axis] = window.dilation[axis]
        sizes.p.pad[axis] = window.pad_before[axis]
    object.__setattr__(problem, "native", sizes)
    return sizes


cdef run(fc_conv_op op, algorithm, problem, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b,
         cnp.ndarray y, bint relu):
    cdef Sizes sizes = sizes_of(problem)
    cdef fc_conv_problem p = sizes.p
    cdef fc_conv_arrays arrays
    cdef fc_status status
    cdef const char *reason
    cdef bytes name = algorithm.encode()
    cdef const char *c_name = name
    if algorithm == "auto":
        c_name = NULL
    p.relu = relu
    p.isa = current_isa
    p.threads = fastconv_get_num_threads()
    p.interrupted = NULL
    if PyThread_get_thread_ident() == main_thread:
        p.interrupted = interrupted
    p.dtype = FC_FLOAT32 if cnp.PyArray_TYPE(y) == cnp.NPY_FLOAT32 else FC_FLOAT64
    read_strides(p.x_strides, x, sizes.channels_last)
    read_strides(p.w_strides, w, False)
    read_strides(p.y_strides, y, sizes.channels_last)
    arrays.x, arrays.w, arrays.b, arrays.y = pointer(x), pointer(w), pointer(b), pointer(y)
    with nogil:
        status = fc_conv_run(op, c_name, &p, &arrays)
    if pending is not None and PyThread_get_thread_ident() == main_thread:
        raise_pending()
    if status == FC_FORKED:
        raise RuntimeError("a signal handler forked during the call: the child has no result")
    if status == FC_NO_MEMORY:
        raise MemoryError(f"no memory for the workspace of algorithm {algorithm!r}")
    if status == FC_REFUSED:
        reason = fc_conv_refusal(op, c_name, &p)
        raise ValueError(f"algorithm {algorithm!r} cannot do this problem: {reason.decode()}")


def all_isas():
    """(name, whether this processor has it) of the instruction sets compiled in, best first."""
    cdef int index = 0
    rows = []
    while fc_isa_name(index) != NULL:
        rows.append((fc_isa_name(index).decode(), bool(fc_isa_available(index))))
        index += 1
    return tuple(rows)


def get_isa():
    return fc_isa_name(current_isa).decode()


def set_isa(name):
    """Uses instruction set `name`, which must be one that all_isas() says is available."""
    global current_isa
    current_isa = [row[0] for row in all_isas()].index(name)


def get_threads():
    return fastconv_get_num_threads()


def set_threads(int count):
    fastconv_set_num_threads(count)


def conv_algorithms():
    """Names of the algorithms in csrc, in order of preference."""
    cdef const char *name = fc_conv_algorithm_name(0)
    names = []
    while name != NULL:
        names.append(name.decode())
        name = fc_conv_algorithm_name(<int>len(names))
    return tuple(names)


def conv_forward(algorithm, problem, x, w, b, relu, y):
    run(FC_FORWARD, algorithm, problem, x, w, b, y, relu)


def conv_backward_data(algorithm, problem, dy, w, dx):
    run(FC_BACKWARD_DATA, algorithm, problem, dx, w, None, dy, False)


def conv_backward_weights(algorithm, problem, dy, x, dw, db):
    run(FC_BACKWARD_WEIGHTS, algorithm, problem, x, dw, db, dy, False)
