"""Derivatives by differences, and the check of a backward function against them."""

import numpy as np

from . import _values


def numerical_gradient(f, x, dy=None, *, eps=None):
    """Gradient of sum(f(x) * dy) with respect to x by central differences.

        g[i] = sum of (f(x + h e_i) - f(x - h e_i)) * dy / (2 h),   error O(h**2)

    (Nocedal & Wright 2006, section 8.1).

    Parameters
    ----------
    f : callable
        Takes an array like x; returns a number or an array of fixed shape.
    x : array_like
        float32 or float64, any shape. f is given copies: x is never modified.
    dy : array_like, shape of f(x), optional
        The vector of the vector-Jacobian product; default all ones.
    eps : float, optional
        Step h; default cbrt(machine epsilon) * max(1, |x[i]|), which balances the truncation
        against the rounding error.

    Returns
    -------
    gradient : ndarray of float64, shape of x

    Raises
    ------
    TypeError
        x not of a float dtype.
    ValueError
        dy has not the shape of f(x), eps is not positive or vanishes beside an element of x, or x
        is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> np.round(fastconv.numerical_gradient(lambda x: x**2, np.array([1.0, 3.0])), 6)
    array([2., 6.])
    """
    point = np.array(_values.float_array("x", x), order="C")
    if eps is not None:
        eps = _values.positive_float("eps", eps)
    default = np.cbrt(np.finfo(point.dtype).eps)
    gradient = np.empty(point.shape)
    flat, result = point.reshape(-1), gradient.reshape(-1)
    for i, value in enumerate(flat.copy()):
        step = default * max(1.0, abs(value)) if eps is None else eps
        with np.errstate(all="ignore"):
            points = value + step, value - step
        ends = []
        for end in points:
            flat[i] = end
            y = np.asarray(f(point.copy()), dtype=np.float64)
            ends.append((float(flat[i]), y))
        flat[i] = value
        (high, y_high), (low, y_low) = ends
        if not high > low:
            raise ValueError(
                f"eps is {step:g}, which vanishes beside x's element {i} of {value:g}: "
                f"expected a larger step, and finite x"
            )
        difference = y_high - y_low
        if dy is not None:
            _values.check_shape("dy", np.asarray(dy), difference.shape)
            difference = difference * np.asarray(dy, dtype=np.float64)
        # The step as it came out after rounding to x's dtype.
        result[i] = difference.sum() / (high - low)
    return gradient


def check_gradients(f, vjp, args, *, rtol=1e-5, atol=1e-7, eps=None):
    """Checks vjp against central differences of f; raises with the worst element named.

    Parameters
    ----------
    f : callable
        f(*args) returns a number or an array y.
    vjp : callable
        vjp(dy, *args) returns one gradient per argument (a single array if there is one
        argument); None where an argument is not to be checked.
    args : sequence of array_like
        float32 or float64. Use float64 for tight tolerances.
    rtol, atol : float
        |analytic - numerical| must be at most atol + rtol * |numerical| everywhere.
    eps : float, optional
        Step of `numerical_gradient`.

    Raises
    ------
    AssertionError
        A gradient is wrong: says which argument, which element, both values.
    ValueError
        vjp returned another number of gradients than there are arguments, or another shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.check_gradients(np.sin, lambda dy, x: dy * np.cos(x), [np.array([0.5, 2.0])])
    """
    args = [_values.float_array(f"args[{i}]", arg) for i, arg in enumerate(args)]
    y = np.asarray(f(*args))
    # A fixed random vector: a wrong Jacobian gives the right product with probability zero.
    dy = np.random.default_rng(0).standard_normal(y.shape).astype(y.dtype)
    gradients = vjp(dy, *args)
    if not isinstance(gradients, (tuple, list)):
        gradients = (gradients,)
    if len(gradients) != len(args):
        raise ValueError(f"vjp returned {len(gradients)} gradients, expected {len(args)}")
    for i, (arg, analytic) in enumerate(zip(args, gradients, strict=True)):
        if analytic is None:
            continue
        analytic = np.asarray(analytic)
        _values.check_shape(f"gradient {i}", analytic, arg.shape)

        def f_of_one(value, i=i):
            return f(*args[:i], value, *args[i + 1 :])

        numerical = numerical_gradient(f_of_one, arg, dy, eps=eps)
        error = np.abs(analytic - numerical)
        excess = np.nan_to_num(error - (atol + rtol * np.abs(numerical)), nan=np.inf)
        if excess.size and excess.max() > 0:
            worst = np.unravel_index(int(excess.argmax()), excess.shape)
            raise AssertionError(
                f"gradient {i} is wrong at {tuple(int(k) for k in worst)}: analytic "
                f"{analytic[worst]:.10g}, numerical {numerical[worst]:.10g}, difference "
                f"{error[worst]:.3g}, allowed {atol + rtol * abs(numerical[worst]):.3g}; "
                f"{int((excess > 0).sum())} of {excess.size} elements are wrong"
            )
