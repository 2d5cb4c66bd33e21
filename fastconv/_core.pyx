# cython: language_level=3
"""The only bridge to csrc: data pointers and element strides go in, a status comes out.

Arrays are the five-dimensional views of `_problem.canonical`. Nothing is checked here.
"""

import threading

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals

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


cdef void read_strides(ptrdiff_t *strides, cnp.ndarray array) noexcept:
    cdef int axis
    if array is not None:
        for axis in range(5):
            strides[axis] = cnp.PyArray_STRIDE(array, axis) // cnp.PyArray_ITEMSIZE(array)


cdef void read_problem(fc_conv_problem *p, problem, bint relu) except *:
    cdef int axis
    window = problem.window
    p.relu = relu
    p.isa = current_isa
    p.threads = fastconv_get_num_threads()
    p.interrupted = NULL
    if threading.get_ident() == main_thread:
        p.interrupted = interrupted
    p.batch = problem.batch
    p.groups = problem.groups
    p.in_channels = problem.in_channels
    p.out_channels = problem.out_channels
    for axis in range(3):
        p.in_size[axis] = window.in_size[axis]
        p.kernel[axis] = window.kernel[axis]
        p.out_size[axis] = window.out_size[axis]
        p.stride[axis] = window.stride[axis]
        p.dilation[axis] = window.dilation[axis]
        p.pad[axis] = window.pad_before[axis]


cdef run(fc_conv_op op, algorithm, problem, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b,
         cnp.ndarray y, bint relu):
    cdef fc_conv_problem p
    cdef fc_conv_arrays arrays
    cdef fc_status status
    cdef const char *reason
    cdef bytes name = algorithm.encode()
    cdef const char *c_name = name
    if algorithm == "auto":
        c_name = NULL
    read_problem(&p, problem, relu)
    p.dtype = FC_FLOAT32 if cnp.PyArray_TYPE(y) == cnp.NPY_FLOAT32 else FC_FLOAT64
    read_strides(p.x_strides, x)
    read_strides(p.w_strides, w)
    read_strides(p.y_strides, y)
    arrays.x, arrays.w, arrays.b, arrays.y = pointer(x), pointer(w), pointer(b), pointer(y)
    with nogil:
        status = fc_conv_run(op, c_name, &p, &arrays)
    if status == FC_NO_MEMORY:
        raise MemoryError(f"no memory for the workspace of algorithm {algorithm!r}")
    if status == FC_INTERRUPTED:
        raise_pending()
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
