"""The layers of a small convnet around its convolutions: batch norm, activations, affine, loss.

NaN and overflow are results here, not events: no function warns of them.
"""

import math

import numpy as np

from . import _core, _problem, _values


def batch_norm_forward(
    x, gamma, beta, *, eps=1e-5, activation=None, residual=None, layout=None
):  # fmt: skip
    """Normalises each channel over batch and space, then scales and shifts it.

        mean[c] = mean of x[:, c],   var[c] = mean of (x[:, c] - mean[c])**2
        inv_std[c] = 1 / sqrt(var[c] + eps)
        y[:, c] = gamma[c] * (x[:, c] - mean[c]) * inv_std[c] + beta[c]

    (Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1). A residual is added to y, and ReLU taken
    of the sum, in the same pass over memory, to the bits that separate calls give.

    Parameters
    ----------
    x : array_like, (N, D), (N, C, *size) or, channels last, (N, *size, C)
        float32 or float64. For an empty batch the statistics are NaN.
    gamma, beta : array_like, (C,)
        Scale and shift in the dtype of x.
    eps : float
        Added to the variance; positive.
    activation : {None, "relu"}
        Taken of y, after the residual is added.
    residual : array_like, shape of x, optional
        Added to y: the shortcut of a residual block (He et al. 2016, arXiv:1512.03385). In the
        dtype of x.
    layout
        As in `conv_forward`; None for (N, D).

    Returns
    -------
    y : ndarray, shape of x
    mean, inv_std : ndarray, (C,)
        What `batch_norm_backward` wants. The (biased) variance is 1 / inv_std**2 - eps.

    Raises
    ------
    TypeError
        Dtypes other than float32 and float64, or not all the same.
    ValueError
        Shapes that do not fit, eps that is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> y, mean, inv_std = fastconv.batch_norm_forward(
    ...     np.array([[1.0], [3.0]]), np.array([2.0]), np.array([0.0]), eps=1e-12)
    >>> np.round(y, 6), mean
    (array([[-2.],
           [ 2.]]), array([2.]))
    """
    vectors = {"gamma": gamma, "beta": beta}
    images = {"x": x} if residual is None else {"residual": residual, "x": x}
    sizes, (gamma, beta), *added, x = norm_arguments(layout, vectors, **images)
    eps = _values.positive_float("eps", eps)
    relu = _values.activation_is_relu(activation)
    if x.size == 0:
        statistic = np.full(sizes[1], np.nan, x.dtype)
        return np.empty(x.shape, x.dtype), statistic, statistic.copy()
    return _core.norm_forward(x, sizes, gamma, beta, eps, added[0] if added else None, relu)


def norm_arguments(layout, vectors, **images):
    """(sizes of x as outer, channels, inner; vectors; contiguous images), all checked.

    vectors: by their names; images: x and, before it, what has its shape. A call like an earlier
    one needs only to be recognised.
    """
    sizes, arrays = None, (*images.values(), *vectors.values())
    if _core.are_plain(*arrays):
        sizes = _core.recall("norm", (layout, *(array.shape for array in arrays)))
    if sizes is None:
        images = dict(zip(images, _values.float_arrays(**images), strict=True))
        x = images["x"]
        channel = _problem.channel_axis(x, layout)
        for name, image in images.items():
            _values.check_shape(name, image, x.shape)
        vectors = {
            name: _problem.channel_vector(name, vector, x, channel)
            for name, vector in vectors.items()
        }
        before, after = x.shape[:channel], x.shape[channel + 1 :]
        sizes = math.prod(before), x.shape[channel], math.prod(after)
        arrays = (*images.values(), *vectors.values())
        _core.keep("norm", (layout, *(array.shape for array in arrays)), sizes)
    vectors = arrays[len(images) :]
    return sizes, vectors, *(np.ascontiguousarray(image) for image in arrays[: len(images)])


def batch_norm_backward(
    dy, x, gamma, mean, inv_std, *, y=None, activation="auto", layout=None
):  # fmt: skip
    """Gradients through `batch_norm_forward`, mean and variance depending on x.

    With x_hat = (x - mean) * inv_std and M elements per channel,

        dbeta = sum of dy,   dgamma = sum of dy * x_hat
        dx = gamma * inv_std * (dy - dbeta / M - x_hat * dgamma / M)

    (Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, simplified). Where ReLU was fused, dy counts
    where y > 0 only, as in `relu_backward`; that dy is the residual's gradient too.

    Parameters
    ----------
    dy : array_like, shape of x
    x, gamma : array_like
        What batch_norm_forward was given.
    mean, inv_std : array_like, (C,)
        What batch_norm_forward returned.
    y : array_like, shape of x, optional
        What batch_norm_forward returned, where it fused an activation or a residual.
    activation : {"auto", None, "relu"}
        What was fused; read with y only. "auto" tells it from y: an element below 0 comes from no
        ReLU. Say None where only a residual was fused, and y may have no such element.
    layout
        As in `batch_norm_forward`.

    Returns
    -------
    dx : ndarray, shape of x
    dgamma, dbeta : ndarray, (C,)
    dresidual : ndarray, shape of x
        With y only: the gradient of the residual.

    Raises
    ------
    TypeError, ValueError
        As `batch_norm_forward`; activation is "relu" and y has elements below 0.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x, one = np.array([[1.0], [3.0]]), np.ones(1)
    >>> y, *statistics = fastconv.batch_norm_forward(x, one, one, activation="relu", residual=x)
    >>> dx, dgamma, dbeta, dresidual = fastconv.batch_norm_backward(
    ...     np.ones((2, 1)), x, one, *statistics, y=y)
    >>> dbeta, dresidual
    (array([2.]), array([[1.],
           [1.]]))
    """
    vectors = {"gamma": gamma, "mean": mean, "inv_std": inv_std}
    images = {"dy": dy, "x": x} if y is None else {"y": y, "dy": dy, "x": x}
    sizes, (gamma, mean, inv_std), *results, dy, x = norm_arguments(layout, vectors, **images)
    is_relu = activation == "auto" or _values.activation_is_relu(activation)
    if x.size == 0:
        nothing = np.zeros(sizes[1], x.dtype)
        gradients = np.empty(x.shape, x.dtype), nothing, nothing.copy()
        return (*gradients, np.empty(x.shape, x.dtype)) if results else gradients
    if results and is_relu:
        *gradients, dresidual, is_wrong = _core.norm_backward(
            dy, x, *results, sizes, gamma, mean, inv_std
        )
        if not is_wrong:
            return *gradients, dresidual
        if activation != "auto":
            raise ValueError("y has elements below 0, expected none of activation 'relu'")
    *gradients, _, _ = _core.norm_backward(dy, x, None, sizes, gamma, mean, inv_std)
    return (*gradients, dy.copy()) if results else tuple(gradients)


def batch_norm_inference(
    x, gamma, beta, running_mean, running_var, *, eps=1e-5, layout=None
):  # fmt: skip
    """Batch norm with the statistics of training: a scale and a shift per channel.

        y[:, c] = gamma[c] * (x[:, c] - running_mean[c]) / sqrt(running_var[c] + eps) + beta[c]

    (Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 2).

    Parameters
    ----------
    x, gamma, beta, eps, layout
        As in `batch_norm_forward`.
    running_mean, running_var : array_like, (C,)
        In the dtype of x.

    Returns
    -------
    y : ndarray, shape of x

    Raises
    ------
    TypeError, ValueError
        As `batch_norm_forward`.
    """
    vectors = {
        "gamma": gamma,
        "beta": beta,
        "running_mean": running_mean,
        "running_var": running_var,
    }
    sizes, vectors, x = norm_arguments(layout, vectors, x=x)
    return _core.norm_inference(x, sizes, *vectors, _values.positive_float("eps", eps))


def relu_forward(x):
    """y = max(x, 0), NaN kept.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.

    Returns
    -------
    y : ndarray, shape of x

    Raises
    ------
    TypeError
        Another dtype.
    """
    x = np.asarray(x if _core.are_plain(x) else _values.float_array("x", x), order="C")
    y = np.empty(x.shape, x.dtype)
    _core.relu(x, None, y)
    return y


def relu_backward(dy, y):
    """dx = dy where y > 0, else 0: the gradient at 0 is taken as 0.

    Parameters
    ----------
    dy : array_like
        Gradient at the output of relu_forward.
    y : array_like, shape of dy
        What relu_forward returned (its input serves as well).

    Returns
    -------
    dx : ndarray, shape of dy

    Raises
    ------
    TypeError
        A dtype other than float32 and float64, or two of them.
    ValueError
        Shapes that differ.
    """
    if not _core.are_plain(dy, y):
        dy, y = _values.float_arrays(dy=dy, y=y)
    _values.check_shape("dy", dy, y.shape)
    dx = np.empty(dy.shape, dy.dtype)
    _core.relu(np.asarray(y, order="C"), np.asarray(dy, order="C"), dx)
    return dx


def sigmoid_forward(x):
    """y = 1 / (1 + exp(-x)), without overflow for any x.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.

    Returns
    -------
    y : ndarray, shape of x

    Raises
    ------
    TypeError
        Another dtype.
    """
    x = np.asarray(x if _core.are_plain(x) else _values.float_array("x", x), order="C")
    y = np.empty(x.shape, x.dtype)
    _core.sigmoid(x, None, y)
    return y


def sigmoid_backward(dy, y):
    """dx = dy * y * (1 - y).

    Parameters
    ----------
    dy : array_like
        Gradient at the output of sigmoid_forward.
    y : array_like, shape of dy
        What sigmoid_forward returned.

    Returns
    -------
    dx : ndarray, shape of dy

    Raises
    ------
    TypeError, ValueError
        As `relu_backward`.
    """
    if not _core.are_plain(dy, y):
        dy, y = _values.float_arrays(dy=dy, y=y)
    _values.check_shape("dy", dy, y.shape)
    dy, y = np.asarray(dy, order="C"), np.asarray(y, order="C")
    dx = np.empty(y.shape, y.dtype)
    _core.sigmoid(y, dy, dx)
    return dx


def affine_arguments(**arrays):
    """_problem.affine_arrays, which a call like an earlier one does not ask again."""
    values = tuple(arrays.values())
    if _core.are_plain(*values):
        key = (*arrays, *(array.shape for array in values))
        if _core.recall("affine", key):
            return values
        values = tuple(_problem.affine_arrays(**arrays))
        _core.keep("affine", key, True)
        return values
    return _problem.affine_arrays(**arrays)


@np.errstate(all="ignore")
def affine_forward(x, w, b):
    """y = x @ w + b, a fully connected layer.

    Parameters
    ----------
    x : array_like, (N, D)
        float32 or float64.
    w : array_like, (D, M)
    b : array_like, (M,)

    Returns
    -------
    y : ndarray, (N, M)

    Raises
    ------
    TypeError
        Dtypes other than float32 and float64, or not all the same.
    ValueError
        Shapes that do not fit.
    """
    x, w, b = affine_arguments(x=x, w=w, b=b)
    y = np.matmul(x, w, order="C")
    if y.size:
        _core.add_bias(y, np.ascontiguousarray(b))
    return y


@np.errstate(all="ignore")
def affine_backward(dy, x, w):
    """Gradients through `affine_forward`: dx = dy @ w.T, dw = x.T @ dy, db = sum of dy's rows.

    Parameters
    ----------
    dy : array_like, (N, M)
    x : array_like, (N, D)
    w : array_like, (D, M)

    Returns
    -------
    dx, dw, db : ndarray, (N, D), (D, M), (M,)

    Raises
    ------
    TypeError, ValueError
        As `affine_forward`.
    """
    dy, x, w = affine_arguments(dy=dy, x=x, w=w)
    db = np.zeros(w.shape[1])
    if dy.size:
        _core.sum_rows(np.ascontiguousarray(dy), db)
    # Of a single row, matmul takes four times as long as dot.
    return dy @ w.T, np.dot(x.T, dy), db.astype(dy.dtype)


def softmax_cross_entropy(scores, labels):
    """Mean over the batch of -log softmax(scores)[label], and its gradient.

        p[n] = exp(scores[n]) / sum of exp(scores[n])
        loss = mean over n of -log p[n, labels[n]],   dscores[n] = (p[n] - e_labels[n]) / N

    (Bridle 1990). The largest score of each row is subtracted first, so nothing overflows.

    Parameters
    ----------
    scores : array_like, (N, classes)
        float32 or float64. The loss of an empty batch is NaN.
    labels : array_like of int, (N,)
        From 0 to classes - 1.

    Returns
    -------
    loss : float
    dscores : ndarray, (N, classes)

    Raises
    ------
    TypeError
        scores not of a float dtype, labels not of an integer one.
    ValueError
        Shapes that do not fit, or a label out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> loss, dscores = fastconv.softmax_cross_entropy(np.zeros((1, 4)), [2])
    >>> round(loss, 6), dscores
    (1.386294, array([[ 0.25,  0.25, -0.75,  0.25]]))
    """
    scores = _values.float_array("scores", scores)
    labels = _problem.class_labels(labels, scores)
    if len(labels) == 0:
        return float("nan"), np.empty(scores.shape, scores.dtype)
    dscores = np.empty(scores.shape, scores.dtype)
    loss = _core.softmax_cross_entropy(
        np.ascontiguousarray(scores), np.ascontiguousarray(labels), dscores)  # fmt: skip
    if loss is None:
        raise ValueError("labels were changed during the call, to some out of range")
    return loss, dscores
