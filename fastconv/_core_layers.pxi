# The layers of a small convnet: arrays are contiguous.


cdef fc_norm_problem norm_problem_of(cnp.ndarray x, sizes):
    cdef fc_norm_problem p
    p.call = call_of(dtype_of(x), ask())
    p.outer, p.channels, p.inner = sizes
    p.relu = 0
    return p


cdef double *doubles_of(tuple vectors, ptrdiff_t channels, int others) except NULL:
    """Vectors of one number a channel as doubles, then room for others; to be freed."""
    cdef double *target = <double *>malloc((len(vectors) + others) * channels * sizeof(double) + 1)
    cdef double *own = target
    cdef cnp.ndarray vector
    cdef char *at
    cdef ptrdiff_t i
    if target == NULL:
        raise MemoryError
    for vector in vectors:
        at = <char *>pointer(vector)
        for i in range(channels):
            own[i] = (<float *>at)[0] if cnp.PyArray_TYPE(vector) == cnp.NPY_FLOAT32 else (<double *>at)[0]
            at += cnp.PyArray_STRIDE(vector, 0)
        own += channels
    return target


cdef cnp.ndarray vector_like(cnp.ndarray x, double *values, ptrdiff_t channels):
    """The numbers of all channels in the dtype of x."""
    cdef cnp.npy_intp size = channels
    cdef cnp.ndarray vector = cnp.PyArray_EMPTY(1, &size, cnp.PyArray_TYPE(x), 0)
    cdef void *data = pointer(vector)
    cdef ptrdiff_t i
    for i in range(channels):
        if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT32:
            (<float *>data)[i] = <float>values[i]
        else:
            (<double *>data)[i] = values[i]
    return vector


cdef cnp.ndarray empty_like(cnp.ndarray x):
    return cnp.PyArray_EMPTY(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)


@cython.cdivision(True)
cdef void scale(double *variance, ptrdiff_t count, double eps, const double *gamma, double *inv_std,
                double *factor, ptrdiff_t channels) noexcept nogil:
    """inv_std = 1 / sqrt(variance / count + eps), factor = gamma * inv_std."""
    cdef ptrdiff_t c
    for c in range(channels):
        inv_std[c] = 1 / sqrt(variance[c] / <double>count + eps)
        factor[c] = gamma[c] * inv_std[c]


def norm_forward(cnp.ndarray x, sizes, cnp.ndarray gamma, cnp.ndarray beta, double eps,
                 cnp.ndarray residual, bint relu):
    """(y, mean, inv_std); sizes: x as (outer, channels, inner), none of them 0."""
    cdef fc_norm_problem p = norm_problem_of(x, sizes)
    cdef cnp.ndarray y = empty_like(x)
    cdef void *x_data = pointer(x)
    cdef void *residual_data = pointer(residual)
    cdef void *y_data = pointer(y)
    cdef ptrdiff_t C = p.channels
    cdef double *factors = doubles_of((gamma, beta), C, 3)
    cdef double *mean = factors + 2 * C
    cdef double *inv_std = factors + 3 * C
    cdef double *factor = factors + 4 * C
    cdef fc_status status
    p.relu = relu
    try:
        with nogil:
            status = fc_moments(&p, x_data, mean, inv_std)
            scale(inv_std, p.outer * p.inner, eps, factors, inv_std, factor, C)
            if status == FC_OK:
                status = fc_norm_apply(&p, x_data, mean, factor, factors + C, residual_data, y_data)
        finish(status, "batch_norm_forward")
        return y, vector_like(x, mean, C), vector_like(x, inv_std, C)
    finally:
        free(factors)


def norm_inference(cnp.ndarray x, sizes, cnp.ndarray gamma, cnp.ndarray beta, cnp.ndarray mean,
                   cnp.ndarray variance, double eps):
    """y of statistics that are known."""
    cdef fc_norm_problem p = norm_problem_of(x, sizes)
    cdef cnp.ndarray y = empty_like(x)
    cdef void *x_data = pointer(x)
    cdef void *y_data = pointer(y)
    cdef ptrdiff_t C = p.channels
    cdef double *factors = doubles_of((gamma, beta, mean, variance), C, 1)
    cdef double *inv_std = factors + 3 * C
    cdef double *factor = factors + 4 * C
    cdef fc_status status
    try:
        with nogil:
            scale(inv_std, 1, eps, factors, inv_std, factor, C)
            status = fc_norm_apply(&p, x_data, factors + 2 * C, factor, factors + C, NULL, y_data)
        finish(status, "batch_norm_inference")
        return y
    finally:
        free(factors)


def norm_backward(cnp.ndarray dy, cnp.ndarray x, cnp.ndarray y, sizes, cnp.ndarray gamma,
                  cnp.ndarray mean, cnp.ndarray inv_std):
    """(dx, dgamma, dbeta, dz, whether y has negative elements, so that it is of no ReLU).

    With y, the result of a ReLU, dz is the gradient before it; else None.
    """
    cdef fc_norm_problem p = norm_problem_of(x, sizes)
    cdef cnp.ndarray dx = empty_like(x)
    cdef cnp.ndarray dz = None if y is None else empty_like(x)
    cdef ptrdiff_t C = p.channels
    cdef double *factors = doubles_of((gamma, mean, inv_std), C, 2)
    cdef fc_norm_gradient g
    cdef fc_status status
    memset(&g, 0, sizeof(g))
    g.dy, g.x, g.y, g.dx, g.dz = pointer(dy), pointer(x), pointer(y), pointer(dx), pointer(dz)
    g.gamma, g.mean, g.inv_std = factors, factors + C, factors + 2 * C
    g.dgamma, g.dbeta = factors + 3 * C, factors + 4 * C
    try:
        with nogil:
            status = fc_norm_backward(&p, &g)
        finish(status, "batch_norm_backward")
        dgamma, dbeta = vector_like(x, g.dgamma, C), vector_like(x, g.dbeta, C)
        return dx, dgamma, dbeta, dz, bool(g.has_negative)
    finally:
        free(factors)


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
