# cython: language_level=3
"""The only bridge to csrc: data pointers and element strides go in, a status comes out.

Arrays are in the layout of their problem, checked by _problem.py. Nothing is checked here but
whether a call is like an earlier one that was.
"""

import threading

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport PyThread_get_thread_ident
from libc.math cimport sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memset

from ._window cimport read_pad_after, read_sizes

cnp.import_array()

# What calls use from now on: runtime.py sets it.
cdef int current_isa = 0
cdef bint accurate = False
hidden_isas = frozenset()

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


cdef (int (*)() noexcept nogil) ask():
    """What asks for signals: only the main thread runs their handlers."""
    if PyThread_get_thread_ident() == main_thread:
        return interrupted
    return NULL


cdef fc_call call_of(fc_dtype dtype, fc_question question):
    cdef fc_call call
    memset(&call, 0, sizeof(call))  # plans are found by their bytes
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

cdef dict OPS = {
    "forward": FC_FORWARD, "dx": FC_BACKWARD_DATA, "dw": FC_BACKWARD_WEIGHTS,
    "max_pool": FC_MAX_POOL, "avg_pool": FC_AVG_POOL, "avg_pool_backward": FC_AVG_POOL_BACKWARD,
    "max_pool_backward": FC_SCATTER, "im2col": FC_IM2COL, "col2im": FC_COL2IM,
}
cdef int MAX_PLANS = 16
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

    def __cinit__(self):
        memset(&self.problem, 0, sizeof(fc_problem))
        self.plans = []


cdef class Weights:
    """Weights arranged for forward calls of one problem, instruction set and algorithm."""
    cdef fc_weights *weights

    def __dealloc__(self):
        fc_weights_free(self.weights)


cdef Plan find_plan(Kept kept, fc_op op, asked, fc_problem *problem):
    """The kept plan of this problem, or a new one; None: what is asked for refuses."""
    cdef Plan plan
    cdef fc_status status
    cdef bytes name
    cdef const char *c_name = NULL
    for plan in kept.plans:
        if (
            plan.op == op
            and memcmp(&plan.problem, problem, sizeof(fc_problem)) == 0
            and plan.asked == asked
        ):
            return plan
    plan = Plan()
    plan.op = op
    plan.asked = asked
    plan.problem = problem[0]
    if asked != "auto":
        name = asked.encode()
        c_name = name
    with nogil:
        status = fc_plan_create(op, c_name, problem, &plan.plan)
    if status == FC_REFUSED:
        return None
    if status == FC_NO_MEMORY:
        raise MemoryError("no memory for a plan")
    if len(kept.plans) >= MAX_PLANS:
        del kept.plans[0]
    kept.plans.append(plan)
    if new_plan_hook is not None:
        new_plan_hook(description_of(plan))
    return plan


cdef Plan plan_of(Kept kept, fc_op op, asked, fc_problem *problem):
    """find_plan, or the ValueError that says why there is none."""
    cdef Plan plan = find_plan(kept, op, asked, problem)
    cdef bytes name = asked.encode()
    cdef const char *c_name = NULL
    if asked != "auto":
        c_name = name
    cdef const char *refusal
    if plan is None:
        refusal = fc_path_refusal(op, c_name, problem)
        if refusal == NULL:  # memory that lacked is there again
            raise MemoryError("no memory for a plan")
        raise ValueError(f"algorithm {asked!r} cannot do this problem: {refusal.decode()}")
    return plan


cdef run(Plan plan, fc_arrays *arrays, what):
    cdef fc_status status
    cdef fc_question question = ask()
    with nogil:
        status = fc_plan_run(plan.plan, arrays, question)
    if status != FC_OK or pending is not None:
        finish(status, what)
    return status


cdef text_of(fc_op op, fc_problem *p):
    """The sizes of a problem in a few words."""
    if op == FC_SCATTER:
        return f"{p.scatter.batch}x{p.scatter.channels}: {p.scatter.count} to {p.scatter.plane}"
    if op == FC_IM2COL or op == FC_COL2IM:
        return f"{p.columns.batch}x{p.columns.channels}x" + window_text(
            p.columns.in_size, p.columns.kernel, p.columns.stride, p.columns.dilation, p.columns.pad
        )
    if op == FC_MAX_POOL or op == FC_AVG_POOL or op == FC_AVG_POOL_BACKWARD:
        return f"{p.pool.batch}x{p.pool.channels}x" + window_text(
            p.pool.in_size, p.pool.kernel, p.pool.stride, p.pool.dilation, p.pool.pad
        )
    if op != FC_FORWARD and op != FC_BACKWARD_DATA and op != FC_BACKWARD_WEIGHTS:
        raise NotImplementedError(f"text_of has no case for op {op}")
    return (
        f"{p.conv.batch}x{p.conv.in_channels}x"
        + window_text(p.conv.in_size, p.conv.kernel, p.conv.stride, p.conv.dilation, p.conv.pad)
        + f" -> {p.conv.out_channels} channels"
        + (f" in {p.conv.groups} groups" if p.conv.groups > 1 else "")
    )


cdef window_text(ptrdiff_t *size, ptrdiff_t *kernel, ptrdiff_t *stride, ptrdiff_t *dilation, ptrdiff_t *pad):
    cdef int axis
    columns = []
    for axis in range(3):
        columns.append((size[axis], kernel[axis], stride[axis], dilation[axis], pad[axis]))
    while len(columns) > 1 and columns[0][:2] == (1, 1) and not columns[0][4]:
        del columns[0]
    sizes, kernels, strides, dilations, pads = ("x".join(map(str, row)) for row in zip(*columns))
    text = f"{sizes} by {kernels}"
    for name, row, common in (("stride", strides, "1"), ("dilation", dilations, "1"), ("padding", pads, "0")):
        if set(row.split("x")) != {common}:
            text += f", {name} {row}"
    return text


cdef dtype_text(fc_op op, fc_problem *p):
    if op == FC_MAX_POOL or op == FC_AVG_POOL or op == FC_AVG_POOL_BACKWARD:
        return next(text_of_dtype(code) for code, number in ELEMENTS.items() if number == p.pool.element)
    if op == FC_IM2COL:  # whatever they are
        return f"elements of {4 if p.call.dtype == FC_FLOAT32 else 8} bytes"
    return "float32" if p.call.dtype == FC_FLOAT32 else "float64"


cdef text_of_dtype(code):
    return {"i": "int", "u": "uint", "f": "float"}[code[0]] + str(8 * int(code[1]))


cdef dict description_of(Plan plan):
    cdef fc_description d
    fc_plan_describe(plan.plan, &d)
    return {
        "op": next(name for name, op in OPS.items() if op == plan.op),
        "problem": text_of(plan.op, &plan.problem),
        "asked": plan.asked,
        "path": d.path.decode(),
        "fallback": None if d.fallback == NULL else d.fallback.decode(),
        "how": d.how.decode(),
        "tile": (d.tile[0], d.tile[1]),
        "block": (d.block[0], d.block[1], d.block[2]),
        "tasks": d.tasks,
        "threads": plan.problem.call.threads,
        "isa": fc_isa_name(plan.problem.call.isa).decode(),
        "dtype": dtype_text(plan.op, &plan.problem),
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


def ops():
    """Names of all ops that have plans."""
    return tuple(OPS)


def path_names(op):
    """Names of the paths of an op in order of preference."""
    cdef fc_op number = OPS[op]
    cdef const char *name = fc_path_name(number, 0)
    names = []
    while name != NULL:
        names.append(name.decode())
        name = fc_path_name(number, <int>len(names))
    return tuple(names)


# ---------------------------------------------------------------------------------------------
# Settings

def all_isas():
    """(name, whether it is usable: on this processor, not hidden) of those compiled in, best first."""
    cdef int index = 0
    rows = []
    while fc_isa_name(index) != NULL:
        name = fc_isa_name(index).decode()
        rows.append((name, bool(fc_isa_available(index)) and name not in hidden_isas))
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


include "_core_conv.pxi"
include "_core_pool.pxi"
include "_core_layers.pxi"


# ---------------------------------------------------------------------------------------------
# Calls like earlier ones: checking all arguments takes longer than a small convolution

cdef dict kept_problems = {}
cdef int MAX_KEPT = 1024


cdef bint is_plain(value, int depth=4):
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


def are_plain(*arrays):
    """Whether all are arrays of one of the two float types that need no conversion."""
    cdef int dtype = plain_type(arrays[0])
    return dtype >= 0 and all(plain_type(array) == dtype for array in arrays)


def recall(kind, arguments):
    """What was kept of a call with these arguments, which were right; None: not known."""
    return kept_problems.get((kind, arguments)) if is_plain(arguments) else None


def keep(kind, arguments, problem):
    if is_plain(arguments):
        if len(kept_problems) >= MAX_KEPT:
            kept_problems.clear()
        kept_problems[kind, arguments] = problem


def kept_problem(kind, x, w, b, dy, geometry):
    """The problem of a "conv" or of a "transposed" one, if all arguments are as they should be.

    None: it is not known.
    """
    cdef int dtype = plain_type(x)
    if dtype < 0 or plain_type(w) != dtype:
        return None
    problem = recall(kind, (x.shape, w.shape, geometry))
    if problem is None:
        return None
    transposed = kind == "transposed"
    if b is not None:
        channels = problem.in_channels if transposed else problem.out_channels
        if plain_type(b) != dtype or b.shape != (channels,) or not cnp.PyArray_IS_C_CONTIGUOUS(b):
            return None
    if dy is not None:
        expected = problem.x_shape if transposed else problem.y_shape
        if plain_type(dy) != dtype or dy.shape != expected:
            return None
    return problem
