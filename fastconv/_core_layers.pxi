# The layers of a small convnet: arrays are contiguous.


cdef fc_norm_problem norm_problem_of(cnp.ndarray x, sizes):
    cdef fc_norm_problem p
    p.call = call_of(dtype_of(x), ask())
    p.outer, p.channels, p.inner = sizes
    p.relu = 0
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


def norm_backward(cnp.ndarray dy, cnp.ndarray x, cnp.ndarray y, sizes, cnp.ndarray mean,
                  cnp.ndarray inv_std, cnp.ndarray gamma, cnp.ndarray dgamma, cnp.ndarray dbeta,
                  cnp.ndarray dx, cnp.ndarray dz):
    """Fills dx, and dgamma and dbeta in float64; with y, the result of a ReLU, dz too.

    Returns whether y has negative elements, so that it is the result of no ReLU.
    """
    cdef fc_norm_problem p = norm_problem_of(x, sizes)
    cdef fc_norm_gradient g
    cdef fc_status status
    g.dy, g.x, g.y, g.dx, g.dz = pointer(dy), pointer(x), pointer(y), pointer(dx), pointer(dz)
    g.mean, g.inv_std = <double *>pointer(mean), <double *>pointer(inv_std)
    g.gamma, g.dgamma = <double *>pointer(gamma), <double *>pointer(dgamma)
    g.dbeta = <double *>pointer(dbeta)
    g.has_negative = 0
    with nogil:
        status = fc_norm_backward(&p, &g)
    finish(status, "batch_norm_backward")
    return bool(g.has_negative)


def norm_apply(cnp.ndarray x, sizes, cnp.ndarray mean, cnp.ndarray a, cnp.ndarray b,
               cnp.ndarray residual, bint relu, cnp.ndarray y):
    """y = a * (x - mean) + b of each channel, + residual, then its ReLU."""
    cdef fc_norm_problem p = norm_problem_of(x, sizes)
    cdef void *x_data = pointer(x)
    cdef void *residual_data = pointer(residual)
    cdef void *y_data = pointer(y)
    cdef double *centre = <double *>pointer(mean)
    cdef double *factors = <double *>pointer(a)
    cdef double *terms = <double *>pointer(b)
    cdef fc_status status
    p.relu = relu
    with nogil:
        status = fc_norm_apply(&p, x_data, centre, factors, terms, residual_data, y_data)
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
