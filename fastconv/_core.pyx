# cython: language_level=3
"""The only bridge to csrc: data pointers and element strides go in, a status comes out.

Arrays are in the layout of their problem, checked by _problem.py. Nothing is checked here but
whether a call is like an earlier one that was.
"""

import threading

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport PyThread_get_thread_ident
from libc.string cimport memcmp, memset

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


cdef (int (*)() noexcept nogil) ask():
    """What asks for signals: only the main thread runs their handlers."""
    if PyThread_get_thread_ident() == main_thread:
        return interrupted
    return NULL


cdef fc_call call_of(fc_dtype dtype, fc_question question):
    cdef fc_call call
    call.dtype = dtype
    call.isa = current_isa
    call.threads = fastconv_get_num_threads()
    call.interrupted = question
    return call


cdef fc_dtype dtype_of(cnp.ndarray array) noexcept:
    return FC_FLOAT32 if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT32 else FC_FLOAT64


cdef finish(fc_status status, what):
    """Raises what a status other than FC_OK means; `what` names the call."""
    if pending is not None and PyThread_get_thread_ident() == main_thread:
        raise_pending()
    if status == FC_FORKED:
        raise RuntimeError("a signal handler forked during the call: the child has no result")
    if status == FC_NO_MEMORY:
        raise MemoryError(f"no memory for the workspace of {what}")


# ---------------------------------------------------------------------------------------------
# Plans: chosen once for a problem, an instruction set, threads and strides, then kept

# op: (its number, the operation as its messages name it)
cdef dict OPS = {
    "forward": FC_FORWARD, "dx": FC_BACKWARD_DATA, "dw": FC_BACKWARD_WEIGHTS,
    "max_pool": FC_MAX_POOL, "avg_pool": FC_AVG_POOL, "avg_pool_backward": FC_AVG_POOL_BACKWARD,
    "max_pool_backward": FC_SCATTER, "im2col": FC_IM2COL, "col2im": FC_COL2IM,
}
cdef int MOST_PLANS = 16
cdef object new_plan_hook = None


cdef class Plan:
    """An fc_plan, and what it was made for."""
    cdef fc_plan *plan
    cdef fc_problem problem
    cdef fc_op op
    cdef object asked

    def __dealloc__(self):
        fc_plan_free(self.plan)


cdef class Kept:
    """What of an fc_problem is the same in every call of a problem, and the plans made of it."""
    cdef fc_problem problem
    cdef bint channels_last
    cdef list plans


cdef class Weights:
    """Weights arranged for forward calls of one problem, instruction set and algorithm."""
    cdef fc_weights *weights

    def __dealloc__(self):
        fc_weights_free(self.weights)


cdef Plan plan_of(Kept kept, fc_op op, asked, fc_problem *problem):
    """The kept plan of this problem, or a new one."""
    cdef Plan plan
    cdef fc_status status
    cdef bytes name
    cdef const char *c_name = NULL
    for plan in kept.plans:
        if plan.op == op and memcmp(&plan.problem, problem, sizeof(fc_problem)) == 0 \
                and plan.asked == asked:
            return plan
    plan = Plan()
    plan.op = op
    plan.asked = asked
    plan.problem = problem[0]
    if asked != "auto":
        name = asked.encode()
        c_name = name
    status = fc_plan_create(op, c_name, problem, &plan.plan)
    if status == FC_NO_MEMORY:
        raise MemoryError("no memory for a plan")
    if status == FC_REFUSED:
        reason = fc_path_refusal(op, c_name, problem).decode()
        raise ValueError(f"algorithm {asked!r} cannot do this problem: {reason}")
    if len(kept.plans) >= MOST_PLANS:
        del kept.plans[0]
    kept.plans.append(plan)
    if new_plan_hook is not None:
        new_plan_hook(description_of(plan))
    return plan


cdef run(Plan plan, fc_arrays *arrays, what):
    cdef fc_status status
    cdef fc_question question = ask()
    with nogil:
        status = fc_plan_run(plan.plan, arrays, question)
    if status != FC_OK or pending is not None:
        finish(status, what)
    return status


cdef dict description_of(Plan plan):
    cdef fc_description d
    fc_plan_describe(plan.plan, &d)
    return {
        "op": next(name for name, op in OPS.items() if op == plan.op),
        "asked": plan.asked,
        "path": d.path.decode(),
        "fallback": None if d.fallback == NULL else d.fallback.decode(),
        "how": d.how.decode(),
        "tile": (d.tile[0], d.tile[1]),
        "block": (d.block[0], d.block[1], d.block[2]),
        "tasks": d.tasks,
        "threads": plan.problem.call.threads,
        "isa": fc_isa_name(plan.problem.call.isa).decode(),
        "dtype": "float32" if plan.problem.call.dtype == FC_FLOAT32 else "float64",
        "workspace_bytes": d.workspace,
        "packed_bytes": d.packed,
    }


cdef list candidates_of(fc_op op, fc_problem *problem):
    """Every path in order, as the choice sees it."""
    cdef fc_candidate c
    cdef int index = 0
    rows = []
    while fc_find_candidate(op, problem, index, &c):
        rows.append({
            "path": c.name.decode(),
            "exact": bool(c.exact),
            "refusal": None if c.refusal == NULL else c.refusal.decode(),
            "doubt": None if c.doubt == NULL else c.doubt.decode(),
            "cycles": c.cycles if c.cycles else None,
        })
        index += 1
    return rows


def log_plans(hook):
    """Calls hook(description) for each new plan; None: no longer."""
    global new_plan_hook
    new_plan_hook = hook


def path_names(op):
    """Names of the paths of an op in order of preference."""
    cdef fc_op number = OPS[op]
    cdef const char *name = fc_path_name(number, 0)
    names = []
    while name != NULL:
        names.append(name.decode())
        name = fc_path_name(number, <int>len(names))
    return tuple(names)


cdef Kept kept_of_conv(problem):
    cdef Kept kept = problem.native
    cdef int axis
    if kept is not None:
        return kept
    kept = Kept()
    memset(&kept.problem, 0, sizeof(fc_problem))
    kept.channels_last = problem.channels_last
    kept.plans = []
    kept.problem.conv.batch = problem.batch
    kept.problem.conv.groups = problem.groups
    kept.problem.conv.in_channels = problem.in_channels
    kept.problem.conv.out_channels = problem.out_channels
    window = problem.window
    for axis in range(3):
        kept.problem.conv.in_size[axis] = window.in_size[axis]
        kept.problem.conv.kernel[axis] = window.kernel[axis]
        kept.problem.conv.out_size[axis] = window.out_size[axis]
        kept.problem.conv.stride[axis] = window.stride[axis]
        kept.problem.conv.dilation[axis] = window.dilation[axis]
        kept.problem.conv.pad[axis] = window.pad_before[axis]
    object.__setattr__(problem, "native", kept)
    return kept


cdef void set_conv_call(fc_problem *p, fc_op op, fc_dtype dtype, bint relu, bint has_w, bint has_b):
    p.call = call_of(dtype, NULL)
    p.conv.relu = op == FC_FORWARD and relu
    p.conv.accurate = accurate
    p.conv.has_w = has_w
    p.conv.has_b = has_b


cdef run_conv(fc_op op, algorithm, problem, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b,
              cnp.ndarray y, bint relu, Weights weights):
    cdef Kept kept = kept_of_conv(problem)
    cdef fc_problem p = kept.problem
    cdef fc_arrays arrays
    set_conv_call(&p, op, dtype_of(y), relu, w is not None, b is not None)
    read_strides(p.conv.x_strides, x, kept.channels_last)
    read_strides(p.conv.w_strides, w, False)
    read_strides(p.conv.y_strides, y, kept.channels_last)
    memset(&arrays, 0, sizeof(arrays))
    arrays.x, arrays.w, arrays.b, arrays.y = pointer(x), pointer(w), pointer(b), pointer(y)
    arrays.weights = weights.weights if weights is not None else NULL
    run(plan_of(kept, op, algorithm, &p), &arrays, f"algorithm {algorithm!r}")


cdef void set_contiguous(ptrdiff_t *strides, ptrdiff_t channels, ptrdiff_t *size, bint channels_last):
    """Strides of an array (N, C, *size) without gaps; of w: (K, C / G, *kernel)."""
    cdef ptrdiff_t plane = size[0] * size[1] * size[2]
    strides[4] = channels if channels_last else 1
    strides[3] = strides[4] * size[2]
    strides[2] = strides[3] * size[1]
    strides[1] = 1 if channels_last else plane
    strides[0] = channels * plane


cdef fc_problem contiguous_conv(Kept kept, fc_op op, fc_dtype dtype, bint relu, bint has_w, bint has_b):
    """The problem of C-contiguous arrays, which need not be there."""
    cdef fc_problem p = kept.problem
    set_conv_call(&p, op, dtype, relu, has_w, has_b)
    set_contiguous(p.conv.x_strides, p.conv.in_channels, p.conv.in_size, kept.channels_last)
    set_contiguous(p.conv.y_strides, p.conv.out_channels, p.conv.out_size, kept.channels_last)
    set_contiguous(p.conv.w_strides, p.conv.in_channels // p.conv.groups, p.conv.kernel, False)
    return p


def conv_forward(algorithm, problem, x, w, b, relu, y, weights=None):
    run_conv(FC_FORWARD, algorithm, problem, x, w, b, y, relu, weights)


def conv_backward_data(algorithm, problem, dy, w, dx, b=None):
    """b: added to each channel of dx, for the transposed convolution."""
    run_conv(FC_BACKWARD_DATA, algorithm, problem, dx, w, b, dy, False, None)


def conv_backward_weights(algorithm, problem, dy, x, dw, db):
    run_conv(FC_BACKWARD_WEIGHTS, algorithm, problem, x, dw, db, dy, False, None)


def prepare_weights(algorithm, problem, cnp.ndarray w, bint relu, bint has_b):
    """Weights for forward calls; w is C-contiguous."""
    cdef Kept kept = kept_of_conv(problem)
    cdef fc_problem p = contiguous_conv(kept, FC_FORWARD, dtype_of(w), relu, True, has_b)
    cdef Plan plan = plan_of(kept, FC_FORWARD, algorithm, &p)
    cdef Weights weights = Weights()
    cdef void *w_data = pointer(w)
    cdef fc_question question = ask()
    cdef fc_status status
    with nogil:
        status = fc_plan_prepare(plan.plan, w_data, question, &weights.weights)
    finish(status, f"algorithm {algorithm!r}")
    return weights


def describe_conv(op, algorithm, problem, dtype, bint relu=False, bint has_b=False):
    """The plan of C-contiguous arrays as a dict; dtype is "f" or "d". ValueError: it is refused."""
    cdef Kept kept = kept_of_conv(problem)
    cdef fc_op number = OPS[op]
    cdef fc_problem p = contiguous_conv(kept, number, FC_FLOAT32 if dtype == "f" else FC_FLOAT64,
                                        relu, True, has_b)
    return description_of(plan_of(kept, number, algorithm, &p))


def conv_candidates(op, problem, dtype, bint relu=False, bint has_b=False):
    """Every path of the op in order, for C-contiguous arrays, as dicts."""
    cdef Kept kept = kept_of_conv(problem)
    cdef fc_op number = OPS[op]
    cdef fc_problem p = contiguous_conv(kept, number, FC_FLOAT32 if dtype == "f" else FC_FLOAT64,
                                        relu, True, has_b)
    return candidates_of(number, &p)


# ---------------------------------------------------------------------------------------------
# Settings

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


# ---------------------------------------------------------------------------------------------
# Pools and columns: arrays are contiguous in the layout of the problem

cdef dict ELEMENTS = {
    "u1": FC_UINT8, "i1": FC_INT8, "u2": FC_UINT16, "i2": FC_INT16, "f4": FC_ELEMENT_FLOAT32,
    "u4": FC_UINT32, "i4": FC_INT32, "f8": FC_ELEMENT_FLOAT64,
}


cdef bint run_unless_refused(fc_op op, fc_problem *p, fc_arrays *arrays, what) except -1:
    """Whether it was done; False: every path refuses."""
    cdef Kept kept = Kept()
    if fc_path_refusal(op, NULL, p) != NULL:
        return False
    kept.plans = []
    run(plan_of(kept, op, "auto", p), arrays, what)
    return True


cdef fc_problem pool_problem_of(problem, cnp.ndarray x):
    cdef fc_problem p
    cdef int axis
    window = problem.window
    memset(&p, 0, sizeof(p))
    p.call = call_of(FC_FLOAT32, NULL)
    p.pool.element = ELEMENTS[x.dtype.str[1:]]
    p.pool.channels_last = problem.channels_last
    p.pool.adaptive = window.adaptive
    p.pool.batch = x.shape[0]
    p.pool.channels = problem.channels
    for axis in range(3):
        p.pool.in_size[axis] = window.in_size[axis]
        p.pool.kernel[axis] = window.kernel[axis]
        p.pool.out_size[axis] = window.out_size[axis]
        p.pool.stride[axis] = window.stride[axis]
        p.pool.dilation[axis] = window.dilation[axis]
        p.pool.pad[axis] = window.pad_before[axis]
        p.pool.pad_after[axis] = window.pad_after[axis]
    return p


def max_pool_forward(problem, cnp.ndarray x, cnp.ndarray y, cnp.ndarray indices):
    """Returns whether it was done: not for elements or planes that csrc does not take."""
    if x.dtype.str[1:] not in ELEMENTS:
        return False
    cdef fc_problem p = pool_problem_of(problem, x)
    cdef fc_arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.x, arrays.y = pointer(x), pointer(y)
    arrays.indices = <long long *>pointer(indices)
    return run_unless_refused(FC_MAX_POOL, &p, &arrays, "max_pool_forward")


def avg_pool_forward(problem, cnp.ndarray x, double divisor, bint count_include_pad, cnp.ndarray y):
    cdef fc_problem p = pool_problem_of(problem, x)
    cdef fc_arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.x, arrays.y = pointer(x), pointer(y)
    p.pool.divisor = divisor
    p.pool.count_include_pad = count_include_pad
    return run_unless_refused(FC_AVG_POOL, &p, &arrays, "avg_pool_forward")


def avg_pool_backward(problem, cnp.ndarray dy, double divisor, bint count_include_pad,
                      cnp.ndarray dx):
    cdef fc_problem p = pool_problem_of(problem, dy)
    cdef fc_arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.x, arrays.y = pointer(dx), pointer(dy)
    p.pool.divisor = divisor
    p.pool.count_include_pad = count_include_pad
    return run_unless_refused(FC_AVG_POOL_BACKWARD, &p, &arrays, "avg_pool_backward")


def scatter(cnp.ndarray source, cnp.ndarray indices, bint channels_last, bint add,
            cnp.ndarray target):
    """Returns whether all indices are in the plane of target; channels last: (N, positions, C)."""
    cdef fc_problem p
    cdef fc_arrays arrays
    cdef Kept kept = Kept()
    cdef int axis = 1 if channels_last else 2
    kept.plans = []
    memset(&p, 0, sizeof(p))
    memset(&arrays, 0, sizeof(arrays))
    arrays.x, arrays.y = pointer(target), pointer(source)
    arrays.indices = <long long *>pointer(indices)
    p.call = call_of(dtype_of(source), NULL)
    p.scatter.channels_last = channels_last
    p.scatter.add = add
    p.scatter.batch = source.shape[0]
    p.scatter.channels = source.shape[3 - axis]
    p.scatter.count = source.shape[axis]
    p.scatter.plane = target.shape[axis]
    status = run(plan_of(kept, FC_SCATTER, "auto", &p), &arrays, "max_pool_backward")
    return status != FC_OUT_OF_RANGE


cdef fc_problem columns_problem_of(window, cnp.ndarray x):
    cdef fc_problem p
    cdef int axis
    memset(&p, 0, sizeof(p))
    p.call = call_of(FC_FLOAT32 if cnp.PyArray_ITEMSIZE(x) == 4 else FC_FLOAT64, NULL)
    p.columns.batch = x.shape[0]
    p.columns.channels = x.shape[1]
    for axis in range(3):
        p.columns.in_size[axis] = window.in_size[axis]
        p.columns.kernel[axis] = window.kernel[axis]
        p.columns.out_size[axis] = window.out_size[axis]
        p.columns.stride[axis] = window.stride[axis]
        p.columns.dilation[axis] = window.dilation[axis]
        p.columns.pad[axis] = window.pad_before[axis]
    return p


def im2col(window, cnp.ndarray x, cnp.ndarray cols):
    """Elements of 4 or 8 bytes, whatever they are."""
    cdef fc_problem p = columns_problem_of(window, x)
    cdef fc_arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.x, arrays.y = pointer(x), pointer(cols)
    return run_unless_refused(FC_IM2COL, &p, &arrays, "im2col")


def col2im(window, cnp.ndarray cols, cnp.ndarray x):
    cdef fc_problem p = columns_problem_of(window, x)
    cdef fc_arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.x, arrays.y = pointer(x), pointer(cols)
    return run_unless_refused(FC_COL2IM, &p, &arrays, "col2im")


# ---------------------------------------------------------------------------------------------
# Layers: arrays are contiguous

cdef fc_norm_problem norm_problem_of(cnp.ndarray x, sizes):
    cdef fc_norm_problem p
    p.call = call_of(dtype_of(x), ask())
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
    p.call = call_of(dtype_of(x), ask())
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
    p.call = call_of(dtype_of(y), ask())
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
    p.call = call_of(dtype_of(scores), ask())
    p.batch, p.classes = scores.shape[0], scores.shape[1]
    cdef fc_status status
    cdef double loss = 0
    cdef void *scores_data = pointer(scores)
    cdef long long *classes = <long long *>pointer(labels)
    cdef void *gradient_data = pointer(gradient)
    with nogil:
        status = fc_softmax_cross_entropy(&p, scores_data, classes, &loss, gradient_data)
    finish(status, "softmax_cross_entropy")
    return None if status == FC_OUT_OF_RANGE else loss


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
