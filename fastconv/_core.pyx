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
cdef bint accurate = False

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
    p.accurate = accurate
    p.isa = current_isa
    p.threads = fastconv_get_num_threads()
    p.interrupted = ask()
    p.dtype = dtype_of(y)
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


def get_accurate():
    return accurate


def set_accurate(bint only):
    """Whether "auto" takes only algorithms that add the products of the definition."""
    global accurate
    accurate = only


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


def conv_backward_data(algorithm, problem, dy, w, dx, b=None):
    """b: added to each channel of dx, for the transposed convolution."""
    run(FC_BACKWARD_DATA, algorithm, problem, dx, w, b, dy, False, None)


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
# Pools, columns, batch norm: arrays are contiguous in the layout of the problem

cdef dict ELEMENTS = {
    "u1": FC_UINT8, "i1": FC_INT8, "u2": FC_UINT16, "i2": FC_INT16, "f4": FC_ELEMENT_FLOAT32,
    "u4": FC_UINT32, "i4": FC_INT32, "f8": FC_ELEMENT_FLOAT64,
}


cdef int (*ask())() noexcept nogil:
    """What asks for signals: only the main thread runs their handlers."""
    if PyThread_get_thread_ident() == main_thread:
        return interrupted
    return NULL


cdef bint finish(fc_status status, what) except -1:
    """Whether it was done; False: refused."""
    if pending is not None and PyThread_get_thread_ident() == main_thread:
        raise_pending()
    if status == FC_FORKED:
        raise RuntimeError("a signal handler forked during the call: the child has no result")
    if status == FC_NO_MEMORY:
        raise MemoryError(f"no memory for the workspace of {what}")
    return status != FC_REFUSED


cdef fc_dtype dtype_of(cnp.ndarray array) noexcept:
    return FC_FLOAT32 if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT32 else FC_FLOAT64


cdef fc_pool_problem pool_problem_of(problem, cnp.ndarray x):
    cdef fc_pool_problem p
    cdef int axis
    window = problem.window
    p.element = ELEMENTS[x.dtype.str[1:]]
    p.isa = current_isa
    p.threads = fastconv_get_num_threads()
    p.interrupted = ask()
    p.channels_last = problem.channels_last
    p.adaptive = window.adaptive
    p.batch = x.shape[0]
    p.channels = problem.channels
    p.divisor = 0
    p.count_include_pad = 0
    for axis in range(3):
        p.in_size[axis] = window.in_size[axis]
        p.kernel[axis] = window.kernel[axis]
        p.out_size[axis] = window.out_size[axis]
        p.stride[axis] = window.stride[axis]
        p.dilation[axis] = window.dilation[axis]
        p.pad[axis] = window.pad_before[axis]
        p.pad_after[axis] = window.pad_after[axis]
    return p


def max_pool_forward(problem, cnp.ndarray x, cnp.ndarray y, cnp.ndarray indices):
    """Returns whether it was done: not for elements or planes that csrc does not take."""
    if x.dtype.str[1:] not in ELEMENTS:
        return False
    cdef fc_pool_problem p = pool_problem_of(problem, x)
    cdef void *x_data = pointer(x)
    cdef void *y_data = pointer(y)
    cdef long long *positions = <long long *>pointer(indices)
    cdef fc_status status
    with nogil:
        status = fc_pool_forward(FC_MAX_POOL, &p, x_data, y_data, positions)
    return finish(status, "max_pool_forward")


def avg_pool_forward(problem, cnp.ndarray x, double divisor, bint count_include_pad, cnp.ndarray y):
    cdef fc_pool_problem p = pool_problem_of(problem, x)
    cdef void *x_data = pointer(x)
    cdef void *y_data = pointer(y)
    cdef fc_status status
    p.divisor = divisor
    p.count_include_pad = count_include_pad
    with nogil:
        status = fc_pool_forward(FC_AVG_POOL, &p, x_data, y_data, NULL)
    return finish(status, "avg_pool_forward")


def avg_pool_backward(problem, cnp.ndarray dy, double divisor, bint count_include_pad,
                      cnp.ndarray dx):
    cdef fc_pool_problem p = pool_problem_of(problem, dy)
    cdef void *dy_data = pointer(dy)
    cdef void *dx_data = pointer(dx)
    cdef fc_status status
    p.divisor = divisor
    p.count_include_pad = count_include_pad
    with nogil:
        status = fc_avg_pool_backward(&p, dy_data, dx_data)
    return finish(status, "avg_pool_backward")


def scatter(cnp.ndarray source, cnp.ndarray indices, bint channels_last, bint add,
            cnp.ndarray target):
    """Returns whether all indices are in the plane of target; channels last: (N, positions, C)."""
    cdef fc_scatter_problem p
    cdef int axis = 1 if channels_last else 2
    cdef void *source_data = pointer(source)
    cdef void *target_data = pointer(target)
    cdef long long *positions = <long long *>pointer(indices)
    cdef fc_status status
    p.dtype = dtype_of(source)
    p.isa = current_isa
    p.threads = fastconv_get_num_threads()
    p.interrupted = ask()
    p.channels_last = channels_last
    p.add = add
    p.batch = source.shape[0]
    p.channels = source.shape[3 - axis]
    p.count = source.shape[axis]
    p.plane = target.shape[axis]
    with nogil:
        status = fc_scatter(&p, source_data, positions, target_data)
    return finish(status, "max_pool_backward")


cdef fc_columns_problem columns_problem_of(window, cnp.ndarray x):
    cdef fc_columns_problem p
    cdef int axis
    p.dtype = FC_FLOAT32 if cnp.PyArray_ITEMSIZE(x) == 4 else FC_FLOAT64
    p.isa = current_isa
    p.threads = fastconv_get_num_threads()
    p.interrupted = ask()
    p.batch = x.shape[0]
    p.channels = x.shape[1]
    for axis in range(3):
        p.in_size[axis] = window.in_size[axis]
        p.kernel[axis] = window.kernel[axis]
        p.out_size[axis] = window.out_size[axis]
        p.stride[axis] = window.stride[axis]
        p.dilation[axis] = window.dilation[axis]
        p.pad[axis] = window.pad_before[axis]
    return p


def im2col(window, cnp.ndarray x, cnp.ndarray cols):
    """Elements of 4 or 8 bytes, whatever they are."""
    cdef fc_columns_problem p = columns_problem_of(window, x)
    cdef void *x_data = pointer(x)
    cdef void *cols_data = pointer(cols)
    cdef fc_status status
    with nogil:
        status = fc_im2col(&p, x_data, cols_data)
    return finish(status, "im2col")


def col2im(window, cnp.ndarray cols, cnp.ndarray x):
    cdef fc_columns_problem p = columns_problem_of(window, x)
    cdef void *x_data = pointer(x)
    cdef void *cols_data = pointer(cols)
    cdef fc_status status
    with nogil:
        status = fc_col2im(&p, cols_data, x_data)
    return finish(status, "col2im")


cdef fc_norm_problem norm_problem_of(cnp.ndarray x, sizes):
    cdef fc_norm_problem p
    p.dtype = dtype_of(x)
    p.isa = current_isa
    p.threads = fastconv_get_num_threads()
    p.interrupted = ask()
    p.outer, p.channels, p.inner = sizes
    return p


def moments(cnp.ndarray x, sizes, cnp.ndarray mean, cnp.ndarray squares):
    """sizes: x as (outer, channels, inner); statistics in float64."""
    cdef fc_norm_problem p = norm_problem_of(x, sizes)
    cdef void *x_data = pointer(x)
    cdef double *first = <double *>pointer(mean)
    cdef double *second = <double *>pointer(squares)
    cdef fc_status status
    with nogil:
        status = fc_moments(&p, x_data, first, second)
    finish(status, "batch_norm_forward")


def norm_backward(cnp.ndarray dy, cnp.ndarray x, sizes, cnp.ndarray mean, cnp.ndarray inv_std,
                  cnp.ndarray gamma, cnp.ndarray dgamma, cnp.ndarray dbeta, cnp.ndarray dx):
    """Fills dx, and dgamma and dbeta in float64."""
    cdef fc_norm_problem p = norm_problem_of(x, sizes)
    cdef void *dy_data = pointer(dy)
    cdef void *x_data = pointer(x)
    cdef void *dx_data = pointer(dx)
    cdef double *centre = <double *>pointer(mean)
    cdef double *scale = <double *>pointer(inv_std)
    cdef double *factor = <double *>pointer(gamma)
    cdef double *products = <double *>pointer(dgamma)
    cdef double *sums = <double *>pointer(dbeta)
    cdef fc_status status
    with nogil:
        status = fc_norm_backward(&p, dy_data, x_data, centre, scale, factor, products, sums, dx_data)
    finish(status, "batch_norm_backward")


def norm_apply(cnp.ndarray x, sizes, cnp.ndarray mean, cnp.ndarray a, cnp.ndarray b,
               cnp.ndarray dy, cnp.ndarray d, cnp.ndarray y):
    cdef fc_norm_problem p = norm_problem_of(x, sizes)
    cdef void *x_data = pointer(x)
    cdef void *dy_data = pointer(dy)
    cdef void *y_data = pointer(y)
    cdef double *centre = <double *>pointer(mean)
    cdef double *factors = <double *>pointer(a)
    cdef double *terms = <double *>pointer(b)
    cdef double *dy_factors = <double *>pointer(d)
    cdef fc_status status
    with nogil:
        status = fc_norm_apply(&p, x_data, centre, factors, terms, dy_data, dy_factors, y_data)
    finish(status, "batch norm")


cdef activate(fc_activation activation, cnp.ndarray x, cnp.ndarray dy, cnp.ndarray y):
    cdef fc_activation_problem p
    p.activation = activation
    p.dtype = dtype_of(x)
    p.isa = current_isa
    p.threads = fastconv_get_num_threads()
    p.interrupted = ask()
    p.count = cnp.PyArray_SIZE(x)
    cdef fc_status status
    cdef void *x_data = pointer(x)
    cdef void *dy_data = pointer(dy)
    cdef void *y_data = pointer(y)
    with nogil:
        status = fc_activate(&p, x_data, dy_data, y_data)
    finish(status, "an activation")


def relu(x, dy, y):
    """With dy: the gradient to y, x being what the forward returned."""
    activate(FC_RELU, x, dy, y)


def sigmoid(x, dy, y):
    activate(FC_SIGMOID, x, dy, y)


cdef fc_affine_problem affine_problem_of(cnp.ndarray y):
    cdef fc_affine_problem p
    p.dtype = dtype_of(y)
    p.isa = current_isa
    p.threads = fastconv_get_num_threads()
    p.interrupted = ask()
    p.rows, p.cols = y.shape[0], y.shape[1]
    return p


def add_bias(cnp.ndarray y, cnp.ndarray b):
    """Adds b to every row of y, which is not empty."""
    cdef fc_affine_problem p = affine_problem_of(y)
    cdef void *y_data = pointer(y)
    cdef void *b_data = pointer(b)
    cdef fc_status status
    with nogil:
        status = fc_add_bias(&p, b_data, y_data)
    finish(status, "affine_forward")


def sum_rows(cnp.ndarray dy, cnp.ndarray sums):
    """The sums of dy's columns, in float64; dy is not empty."""
    cdef fc_affine_problem p = affine_problem_of(dy)
    cdef void *dy_data = pointer(dy)
    cdef double *totals = <double *>pointer(sums)
    cdef fc_status status
    with nogil:
        status = fc_sum_rows(&p, dy_data, totals)
    finish(status, "affine_backward")


def softmax_cross_entropy(cnp.ndarray scores, cnp.ndarray labels, cnp.ndarray gradient):
    """Fills gradient and returns the loss, or None if a label is out of range; labels are int64."""
    cdef fc_softmax_problem p
    p.dtype = dtype_of(scores)
    p.isa = current_isa
    p.threads = fastconv_get_num_threads()
    p.interrupted = ask()
    p.batch, p.classes = scores.shape[0], scores.shape[1]
    cdef fc_status status
    cdef double loss = 0
    cdef void *scores_data = pointer(scores)
    cdef long long *classes = <long long *>pointer(labels)
    cdef void *gradient_data = pointer(gradient)
    with nogil:
        status = fc_softmax_cross_entropy(&p, scores_data, classes, &loss, gradient_data)
    return loss if finish(status, "softmax_cross_entropy") else None


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
