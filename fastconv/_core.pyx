# cython: language_level=3
"""The only bridge to csrc: data pointers and element strides go in, a status comes out.

Arrays are in the layout of their problem, checked by _problem.py. Nothing is checked here but
whether a call is like an earlier one that was.
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


cdef class Weights:
    """Weights arranged for forward calls of one problem, instruction set and algorithm."""
    cdef fc_conv_weights *weights

    def __dealloc__(self):
        fc_conv_free_weights(self.weights)


cdef fc_conv_problem problem_of(problem, cnp.ndarray x, cnp.ndarray w, cnp.ndarray y, bint relu):
    cdef Sizes sizes = sizes_of(problem)
    cdef fc_conv_problem p = sizes.p
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
    return p


cdef raise_for(fc_status status, fc_conv_op op, algorithm, fc_conv_problem *p):
    cdef bytes name = algorithm.encode()
    if pending is not None and PyThread_get_thread_ident() == main_thread:
        raise_pending()
    if status == FC_FORKED:
        raise RuntimeError("a signal handler forked during the call: the child has no result")
    if status == FC_NO_MEMORY:
        raise MemoryError(f"no memory for the workspace of algorithm {algorithm!r}")
    if status == FC_REFUSED:
        reason = fc_conv_refusal(op, name, p).decode()
        raise ValueError(f"algorithm {algorithm!r} cannot do this problem: {reason}")


cdef run(fc_conv_op op, algorithm, problem, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b,
         cnp.ndarray y, bint relu, Weights prepared):
    cdef fc_conv_problem p = problem_of(problem, x, w, y, relu)
    cdef fc_conv_arrays arrays
    cdef fc_status status
    cdef bytes name
    cdef const char *c_name = NULL
    if algorithm != "auto":
        name = algorithm.encode()
        c_name = name
    arrays.x, arrays.w, arrays.b, arrays.y = pointer(x), pointer(w), pointer(b), pointer(y)
    arrays.prepared = prepared.weights if prepared is not None else NULL
    with nogil:
        status = fc_conv_run(op, c_name, &p, &arrays)
    if status != FC_OK or pending is not None:
        raise_for(status, op, algorithm, &p)


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


def conv_forward(algorithm, problem, x, w, b, relu, y, prepared=None):
    run(FC_FORWARD, algorithm, problem, x, w, b, y, relu, prepared)


def conv_backward_data(algorithm, problem, dy, w, dx):
    run(FC_BACKWARD_DATA, algorithm, problem, dx, w, None, dy, False, None)


def conv_backward_weights(algorithm, problem, dy, x, dw, db):
    run(FC_BACKWARD_WEIGHTS, algorithm, problem, x, dw, db, dy, False, None)


def prepare_weights(algorithm, problem, x, w, y):
    """Weights for forward calls with arrays like x and y, whose elements are not read."""
    cdef fc_conv_problem p = problem_of(problem, x, w, y, False)
    cdef fc_conv_arrays arrays
    cdef fc_status status
    cdef bytes name = algorithm.encode()
    cdef const char *c_name = NULL
    cdef Weights prepared = Weights()
    arrays.x, arrays.w, arrays.b, arrays.y = pointer(x), pointer(w), NULL, pointer(y)
    arrays.prepared = NULL
    if algorithm != "auto":
        c_name = name
    with nogil:
        status = fc_conv_prepare(c_name, &p, &arrays, &prepared.weights)
    raise_for(status, FC_FORWARD, algorithm, &p)
    return prepared


def describe(algorithm, problem, x, w, y):
    """(algorithm, how, bytes of workspace, bytes of arranged weights) of a forward call."""
    cdef fc_conv_problem p = problem_of(problem, x, w, y, False)
    cdef fc_conv_description description
    cdef bytes name = algorithm.encode()
    cdef const char *c_name = NULL
    if algorithm != "auto":
        c_name = name
    fc_conv_describe(c_name, &p, &description)
    return (description.algorithm.decode(), description.how.decode(), description.workspace,
            description.packed)


def refusal(algorithm, problem, x, w, y):
    """Why `algorithm` cannot do a forward call, or None."""
    cdef fc_conv_problem p = problem_of(problem, x, w, y, False)
    cdef bytes name = algorithm.encode()
    cdef const char *reason = fc_conv_refusal(FC_FORWARD, name, &p)
    return None if reason == NULL else reason.decode()


# ---------------------------------------------------------------------------------------------
# Calls like earlier ones: checking all arguments takes longer than a small convolution

cdef dict kept_problems = {}
cdef int MOST_KEPT = 1024


cdef bint is_plain(value, int depth=3):
    """Whether `value` equals only values that are checked alike: 1 == True == 1.0 are not."""
    kind = type(value)
    if kind is int or kind is str or value is None:
        return True
    if kind is not tuple or depth == 0:
        return False
    for entry in <tuple>value:
        if not is_plain(entry, depth - 1):
            return False
    return True


cdef int plain_type(array):
    """NumPy's number of its dtype if _problem.py would take the array as it is, else -1."""
    cdef cnp.ndarray a
    cdef int axis
    if not cnp.PyArray_CheckExact(array):
        return -1
    a = array
    if cnp.PyArray_TYPE(a) != cnp.NPY_FLOAT32 and cnp.PyArray_TYPE(a) != cnp.NPY_FLOAT64:
        return -1
    if not cnp.PyArray_ISBEHAVED_RO(a):
        return -1
    for axis in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_STRIDE(a, axis) % cnp.PyArray_ITEMSIZE(a):
            return -1
    return cnp.PyArray_TYPE(a)


def kept_problem(x, w, b, dy, geometry):
    """The problem of these arguments, all of which are as they should be; None: not known."""
    cdef int dtype = plain_type(x)
    if dtype < 0 or plain_type(w) != dtype or not is_plain(geometry):
        return None
    problem = kept_problems.get((x.shape, w.shape, geometry))
    if problem is None:
        return None
    if b is not None and (plain_type(b) != dtype or b.shape != w.shape[:1]
                          or not cnp.PyArray_IS_C_CONTIGUOUS(b)):
        return None
    if dy is not None and (plain_type(dy) != dtype or dy.shape != problem.y_shape):
        return None
    return problem


def keep_problem(problem, x_shape, w_shape, geometry):
    if is_plain(geometry):
        if len(kept_problems) >= MOST_KEPT:
            kept_problems.clear()
        kept_problems[x_shape, w_shape, geometry] = problem
