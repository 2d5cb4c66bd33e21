# Convolutions: arrays of any strides, in the layout of their problem.


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


cdef Kept kept_of_conv(problem):
    cdef Kept kept = problem.native
    cdef fc_conv_problem *p
    if kept is not None:
        return kept
    kept = Kept()
    kept.channels_last = problem.channels_last
    kept.problem.conv.batch = problem.batch
    kept.problem.conv.groups = problem.groups
    kept.problem.conv.in_channels = problem.in_channels
    kept.problem.conv.out_channels = problem.out_channels
    p = &kept.problem.conv
    read_sizes(problem.window, p.in_size, p.kernel, p.out_size, p.stride, p.dilation, p.pad)
    object.__setattr__(problem, "native", kept)
    return kept


cdef void set_conv_call(fc_problem *p, fc_op op, fc_dtype dtype, bint relu, bint has_w, bint has_b):
    p.call = call_of(dtype, NULL)
    p.conv.relu = op == FC_FORWARD and relu
    p.conv.accurate = accurate
    p.conv.has_w = has_w
    p.conv.has_b = has_b


cdef fc_problem strided_conv(Kept kept, fc_op op, cnp.ndarray x, cnp.ndarray w, cnp.ndarray y, bint relu,
                             bint has_w, bint has_b):
    """The problem of these arrays; None: of one that is not there, or has no gaps."""
    cdef fc_problem p = kept.problem
    set_conv_call(&p, op, dtype_of(y), relu, has_w, has_b)
    read_strides(p.conv.x_strides, x, kept.channels_last)
    read_strides(p.conv.w_strides, w, False)
    read_strides(p.conv.y_strides, y, kept.channels_last)
    return p


cdef run_conv(fc_op op, algorithm, problem, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b,
              cnp.ndarray y, bint relu, Weights weights):
    cdef Kept kept = kept_of_conv(problem)
    cdef fc_problem p = strided_conv(kept, op, x, w, y, relu, w is not None, b is not None)
    cdef fc_arrays arrays
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


def check_gradient_paths(algorithm, problem, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray w, bint has_b):
    """ValueError where what is named refuses dx or dw, which have no gaps."""
    cdef Kept kept = kept_of_conv(problem)
    cdef fc_problem p = strided_conv(kept, FC_BACKWARD_DATA, x, w, dy, False, True, False)
    set_contiguous(p.conv.x_strides, p.conv.in_channels, p.conv.in_size, kept.channels_last)
    refuse_path(FC_BACKWARD_DATA, algorithm, &p, "dx")
    p = strided_conv(kept, FC_BACKWARD_WEIGHTS, x, w, dy, False, True, has_b)
    set_contiguous(p.conv.w_strides, p.conv.in_channels // p.conv.groups, p.conv.kernel, False)
    refuse_path(FC_BACKWARD_WEIGHTS, algorithm, &p, "dw")


cdef refuse_path(fc_op op, algorithm, fc_problem *p, what):
    cdef bytes name = algorithm.encode()
    cdef const char *refusal = fc_path_refusal(op, name, p)
    if refusal != NULL:
        raise ValueError(
            f"algorithm {algorithm!r} cannot do this problem: {refusal.decode()} ({what})"
        )


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
    cdef fc_dtype real = FC_FLOAT32 if dtype == "f" else FC_FLOAT64
    cdef fc_problem p = contiguous_conv(kept, number, real, relu, True, has_b)
    return description_of(plan_of(kept, number, algorithm, &p))


def conv_candidates(op, problem, dtype, bint relu=False, bint has_b=False):
    """Every path of the op in order, for C-contiguous arrays, as dicts."""
    cdef Kept kept = kept_of_conv(problem)
    cdef fc_op number = OPS[op]
    cdef fc_dtype real = FC_FLOAT32 if dtype == "f" else FC_FLOAT64
    cdef fc_problem p = contiguous_conv(kept, number, real, relu, True, has_b)
    return candidates_of(number, &p)
