# Pools and columns: arrays are contiguous in the layout of the problem.

cdef dict ELEMENTS = {
    "u1": FC_UINT8, "i1": FC_INT8, "u2": FC_UINT16, "i2": FC_INT16, "f4": FC_ELEMENT_FLOAT32,
    "u4": FC_UINT32, "i4": FC_INT32, "f8": FC_ELEMENT_FLOAT64,
}


cdef bint run_unless_refused(Kept kept, fc_op op, fc_problem *p, fc_arrays *arrays, what) except -1:
    """Whether it was done; False: every path refuses."""
    cdef Plan plan = find_plan(kept, op, "auto", p)
    if plan is None:
        return False
    run(plan, arrays, what)
    return True


cdef Kept kept_of_pool(problem):
    cdef Kept kept = problem.native
    cdef fc_pool_problem *p
    if kept is not None:
        return kept
    kept = Kept()
    p = &kept.problem.pool
    kept.channels_last = problem.channels_last
    p.channels_last = problem.channels_last
    p.adaptive = problem.window.adaptive
    p.channels = problem.channels
    read_sizes(problem.window, p.in_size, p.kernel, p.out_size, p.stride, p.dilation, p.pad)
    read_pad_after(problem.window, p.pad_after)
    object.__setattr__(problem, "native", kept)
    return kept


cdef fc_problem pool_problem_of(Kept kept, element, ptrdiff_t batch, double divisor,
                                bint count_include_pad):
    """element: as in ELEMENTS."""
    cdef fc_problem p = kept.problem
    p.call = call_of(FC_FLOAT32, NULL)
    p.pool.element = ELEMENTS[element]
    p.pool.batch = batch
    p.pool.divisor = divisor
    p.pool.count_include_pad = count_include_pad
    return p


cdef bint run_pool(fc_op op, problem, cnp.ndarray x, cnp.ndarray y, cnp.ndarray indices,
                   double divisor, bint count_include_pad, what) except -1:
    """x and y have the dtype that is pooled, and their batch."""
    cdef Kept kept = kept_of_pool(problem)
    cdef fc_problem p = pool_problem_of(kept, x.dtype.str[1:], x.shape[0], divisor, count_include_pad)
    cdef fc_arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.x, arrays.y = pointer(x), pointer(y)
    arrays.indices = <long long *>pointer(indices)
    return run_unless_refused(kept, op, &p, &arrays, what)


def max_pool_forward(problem, cnp.ndarray x, cnp.ndarray y, cnp.ndarray indices):
    """Returns whether it was done: not for elements or planes that csrc does not take."""
    if x.dtype.str[1:] not in ELEMENTS:
        return False
    return run_pool(FC_MAX_POOL, problem, x, y, indices, 0, False, "max_pool_forward")


def avg_pool_forward(problem, cnp.ndarray x, double divisor, bint count_include_pad, cnp.ndarray y):
    return run_pool(
        FC_AVG_POOL, problem, x, y, None, divisor, count_include_pad, "avg_pool_forward"
    )


def avg_pool_backward(problem, cnp.ndarray dy, double divisor, bint count_include_pad,
                      cnp.ndarray dx):
    return run_pool(
        FC_AVG_POOL_BACKWARD, problem, dx, dy, None, divisor, count_include_pad, "avg_pool_backward"
    )


def explain_pool(op, problem, element, double divisor=0, bint count_include_pad=False):
    """(plan or None where every path refuses, every path in order) of a pool, as dicts."""
    cdef Kept kept = kept_of_pool(problem)
    cdef fc_op number = OPS[op]
    cdef fc_problem p
    if element not in ELEMENTS:
        return None, []
    p = pool_problem_of(kept, element, problem.batch, divisor, count_include_pad)
    plan = find_plan(kept, number, "auto", &p)
    return None if plan is None else description_of(plan), candidates_of(number, &p)


cdef Kept scatters = Kept()


cdef ptrdiff_t positions(cnp.ndarray array, bint channels_last):
    """Elements of its planes."""
    cdef ptrdiff_t count = 1
    cdef int axis
    for axis in range(2 - channels_last, cnp.PyArray_NDIM(array) - channels_last):
        count *= cnp.PyArray_DIM(array, axis)
    return count


def scatter(cnp.ndarray source, cnp.ndarray indices, bint channels_last, bint add,
            cnp.ndarray target):
    """Returns whether all indices are in the plane of target."""
    cdef fc_problem p = scatters.problem
    cdef fc_arrays arrays
    cdef int channel = cnp.PyArray_NDIM(source) - 1 if channels_last else 1
    memset(&arrays, 0, sizeof(arrays))
    arrays.x, arrays.y = pointer(target), pointer(source)
    arrays.indices = <long long *>pointer(indices)
    p.call = call_of(dtype_of(source), NULL)
    p.scatter.channels_last = channels_last
    p.scatter.add = add
    p.scatter.batch = cnp.PyArray_DIM(source, 0)
    p.scatter.channels = cnp.PyArray_DIM(source, channel)
    p.scatter.count = positions(source, channels_last)
    p.scatter.plane = positions(target, channels_last)
    status = run(plan_of(scatters, FC_SCATTER, "auto", &p), &arrays, "max_pool_backward")
    return status != FC_OUT_OF_RANGE


cdef Kept kept_of_columns(problem):
    cdef Kept kept = problem.native
    cdef fc_columns_problem *p
    if kept is not None:
        return kept
    kept = Kept()
    p = &kept.problem.columns
    p.batch, p.channels = problem.x_shape[:2]
    read_sizes(problem.window, p.in_size, p.kernel, p.out_size, p.stride, p.dilation, p.pad)
    object.__setattr__(problem, "native", kept)
    return kept


cdef bint run_columns(fc_op op, problem, cnp.ndarray x, cnp.ndarray cols, what) except -1:
    cdef Kept kept = kept_of_columns(problem)
    cdef fc_problem p = kept.problem
    cdef fc_arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.x, arrays.y = pointer(x), pointer(cols)
    p.call = call_of(FC_FLOAT32 if cnp.PyArray_ITEMSIZE(x) == 4 else FC_FLOAT64, NULL)
    return run_unless_refused(kept, op, &p, &arrays, what)


def im2col(problem, x, cols):
    """Elements of 4 or 8 bytes, whatever they are. Returns whether it was done."""
    return run_columns(FC_IM2COL, problem, x, cols, "im2col")


def col2im(problem, cols, x):
    return run_columns(FC_COL2IM, problem, x, cols, "col2im")


def explain_columns(op, problem, int itemsize):
    """(plan or None where every path refuses, every path in order) of im2col or col2im."""
    cdef Kept kept = kept_of_columns(problem)
    cdef fc_op number = OPS[op]
    cdef fc_problem p = kept.problem
    p.call = call_of(FC_FLOAT32 if itemsize == 4 else FC_FLOAT64, NULL)
    plan = find_plan(kept, number, "auto", &p)
    return None if plan is None else description_of(plan), candidates_of(number, &p)
