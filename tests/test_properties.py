"""Every function that has a reference, on random geometry, layouts and strides, against it.

Data are small integers wherever sums of them are all that is computed: results are then equal, not
close. The examples are the same in every run.
"""

from pathlib import Path

import numpy as np
from cases import IMPLEMENTATIONS, LAYOUT_LAST, REAL, but_for_refusals
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import reference

FLOATS = ["f4", "f8"]
# Around the 16 lanes of the widest vectors and the 64 channels that a kernel takes at once.
MANY = [15, 16, 17, 33, 64, 65, 130]
examples = settings(max_examples=300, deadline=None, derandomize=True)


# ---------------------------------------------------------------------------------------------
# What is drawn


class Drawn:
    """Draws the parts of a problem."""

    def __init__(self, data):
        self.draw = data.draw
        self.axes = self.integer(1, 3)
        self.dtype = self.one_of(*FLOATS)
        self.last = self.one_of(False, True)
        self.rng = np.random.default_rng(self.integer(0, 2**32 - 1))

    @property
    def layout(self):
        if self.last:
            return LAYOUT_LAST[self.axes]
        return None

    def integer(self, low, high):
        return self.draw(st.integers(low, high))

    def each(self, low, high):
        """One integer per spatial axis; now and then one for all."""
        values = tuple(self.integer(low, high) for _ in range(self.axes))
        return values[0] if len(set(values)) == 1 and self.draw(st.booleans()) else values

    def size(self, low=1):
        return tuple(self.integer(low, {1: 14, 2: 8, 3: 5}[self.axes]) for _ in range(self.axes))

    def batch(self):
        return self.one_of(2, 1, 3, 0)

    def planes(self, low=1, small=3):
        """(N, C, *size): small, once in small + 2 with many channels and as often with a long axis.

        Then with little else: the reference takes every element by itself.
        """
        form = self.one_of(*["small"] * small, "channels", "long")
        if form == "small":
            return self.batch(), self.integer(1, 3), *self.size(low)
        size = [self.integer(low, {1: 8, 2: 4, 3: 3}[self.axes]) for _ in range(self.axes)]
        if form == "channels":
            return self.integer(1, 2), self.one_of(*MANY), *size
        size[self.one_of(-1, -1, 0)] = self.integer(16, 100)
        return self.integer(1, 2), self.integer(1, 2), *size

    def one_of(self, *values):
        return self.draw(st.sampled_from(values))

    def padding(self, top=3):
        """Padding in any form."""
        form = self.one_of("int", "each", "pairs", "pairs", "valid", "same", "same_lower")
        if form == "int":
            return self.integer(0, top)
        if form == "each":
            return tuple(self.integer(0, top) for _ in range(self.axes))
        if form == "pairs":
            return tuple((self.integer(0, top), self.integer(0, top)) for _ in range(self.axes))
        return form

    def view(self, values):
        """The same values behind any strides: axes stored in any order, with gaps, backwards."""
        kind = self.one_of("plain", "plain", "any", "any", "any", "broadcast")
        if kind == "plain" or values.size == 0:
            return values
        if kind == "broadcast":
            axis = self.integer(0, values.ndim - 1)
            return np.broadcast_to(values.take([0], axis), values.shape)
        order = self.draw(st.permutations(range(values.ndim)))
        steps = [self.one_of(1, 1, -1, 2, -3) for _ in values.shape]
        room = [size * abs(step) for size, step in zip(values.shape, steps, strict=True)]
        memory = np.full([room[axis] for axis in order], 77, values.dtype)
        spread = memory.transpose(np.argsort(order))[
            tuple(slice(None, None, step) for step in steps)
        ]
        spread[...] = values
        return spread

    def integers(self, shape, dtype=None, top=4):
        dtype = dtype or self.dtype
        low = 0 if dtype[0] == "u" else -top
        return self.view(self.rng.integers(low, top + 1, shape).astype(dtype))

    def in_layout(self, shape):
        """(N, C, *size) in the drawn layout."""
        return (shape[0], *shape[2:], shape[1]) if self.last else tuple(shape)


def check_equal(actual, expected):
    """Arrays, or tuples of arrays and None: equal, in shape and dtype too."""
    if not isinstance(expected, tuple):
        actual, expected = (actual,), (expected,)
    for a, e in zip(actual, expected, strict=True):
        if e is None:
            assert a is None
            continue
        assert a.dtype == e.dtype and a.flags.c_contiguous
        np.testing.assert_array_equal(a, e, strict=True)


def check_near(actual, expected, ulps, scale=1.0):
    if not isinstance(expected, tuple):
        actual, expected = (actual,), (expected,)
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == e.dtype and a.flags.c_contiguous and a.shape == e.shape
        tolerance = ulps * np.finfo(e.dtype).eps
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * scale)


def same_refusal(name, *args, **options):
    """(compiled, reference) results of a function; None where both refuse with ValueError."""
    try:
        expected = getattr(reference, name)(*args, **options)
    except ValueError:
        try:
            getattr(fastconv, name)(*args, **options)
        except ValueError:
            return None
        raise AssertionError(f"{name} took what the reference refuses: {options}") from None
    return getattr(fastconv, name)(*args, **options), expected


# ---------------------------------------------------------------------------------------------
# Convolution


def conv_arguments(d):
    """x, w, b and the geometry; a kernel that does not fit gets padding "same"."""
    groups, per_group = d.integer(1, 3), (d.integer(1, 3), d.integer(1, 4))
    size = d.size()
    kernel = tuple(d.integer(1, 4) for _ in size)
    options = {
        "stride": d.each(1, 4),
        "padding": d.padding(),
        "dilation": d.each(1, 3),
        "groups": groups,
        "layout": d.layout,
    }
    x = d.integers(d.in_layout((d.batch(), groups * per_group[0], *size)))
    w = d.integers((groups * per_group[1], per_group[0], *kernel))
    b = d.one_of(None, d.integers((w.shape[0],)))
    try:
        reference.conv_forward(x[:0], w, **options)
    except ValueError:
        options["padding"] = "same"
    return x, w, b, options


@examples
@given(st.data(), st.sampled_from(IMPLEMENTATIONS), st.sampled_from([None, "relu"]))
@but_for_refusals
def test_conv_forward(data, implementation, activation):
    d = Drawn(data)
    x, w, b, options = conv_arguments(d)
    algorithm, isa = implementation
    options["activation"] = activation
    expected = reference.conv_forward(x, w, b, **options)
    with fastconv.use_isa(isa):
        check_equal(fastconv.conv_forward(x, w, b, algorithm=algorithm, **options), expected)
        out = np.full_like(expected, np.nan)
        fastconv.conv_forward(x, w, b, algorithm=algorithm, out=out, **options)
    check_equal(out, expected)


@examples
@given(st.data(), st.sampled_from(IMPLEMENTATIONS))
@but_for_refusals
def test_conv_backward(data, implementation):
    d = Drawn(data)
    x, w, _, options = conv_arguments(d)
    algorithm, isa = implementation
    dy = d.integers(reference.conv_forward(x, w, **options).shape)
    need = tuple(name for name in ("dx", "dw", "db") if d.one_of(True, True, False))
    expected = reference.conv_backward(dy, x, w, need=need, **options)
    with fastconv.use_isa(isa):
        actual = fastconv.conv_backward(dy, x, w, need=need, algorithm=algorithm, **options)
    check_equal(actual, expected)


@examples
@given(st.data(), st.sampled_from(IMPLEMENTATIONS))
@but_for_refusals
def test_conv_jvp(data, implementation):
    d = Drawn(data)
    x, w, b, options = conv_arguments(d)
    algorithm, isa = implementation
    x_dot = d.one_of(None, d.integers(x.shape))
    w_dot = d.one_of(None, d.integers(w.shape))
    expected = reference.conv_jvp(x, w, x_dot, w_dot, b, **options)
    with fastconv.use_isa(isa):
        check_equal(
            fastconv.conv_jvp(x, w, x_dot, w_dot, b, algorithm=algorithm, **options), expected
        )


def transpose_arguments(d):
    """x, w, b and the geometry; padding that leaves no output becomes 0."""
    groups, per_group = d.integer(1, 3), (d.integer(1, 3), d.integer(1, 4))
    size = tuple(min(n, 5) for n in d.size())
    kernel = tuple(d.integer(1, 4) for _ in size)
    stride = tuple(d.integer(1, 4) for _ in size)
    dilation = tuple(d.integer(1, 3) for _ in size)
    rest = tuple(d.integer(0, max(pair) - 1) for pair in zip(stride, dilation, strict=True))
    options = {
        "stride": stride,
        "padding": d.padding(),
        "dilation": dilation,
        "groups": groups,
        "layout": d.layout,
        "output_padding": rest,
    }
    if options["padding"] in ("same", "same_lower"):
        options["output_padding"] = 0
    x = d.integers(d.in_layout((d.batch(), groups * per_group[0], *size)))
    w = d.integers((groups * per_group[0], per_group[1], *kernel))
    b = d.one_of(None, d.integers((groups * per_group[1],)))
    try:
        reference.conv_transpose_forward(x[:0], w, **options)
    except ValueError:
        options["padding"] = 0
    return x, w, b, options


ISAS = st.sampled_from(fastconv.isas())


@examples
@given(st.data(), ISAS)
def test_conv_transpose_forward(data, isa):
    d = Drawn(data)
    x, w, b, options = transpose_arguments(d)
    expected = reference.conv_transpose_forward(x, w, b, **options)
    with fastconv.use_isa(isa):
        check_equal(fastconv.conv_transpose_forward(x, w, b, **options), expected)


@examples
@given(st.data(), ISAS)
def test_conv_transpose_backward(data, isa):
    d = Drawn(data)
    x, w, _, options = transpose_arguments(d)
    dy = d.integers(reference.conv_transpose_forward(x, w, **options).shape)
    need = tuple(name for name in ("dx", "dw", "db") if d.one_of(True, True, False))
    expected = reference.conv_transpose_backward(dy, x, w, need=need, **options)
    with fastconv.use_isa(isa):
        check_equal(fastconv.conv_transpose_backward(dy, x, w, need=need, **options), expected)


def spoiled(d, array):
    """A copy with NaN or an infinity somewhere, now and then."""
    array = array.copy()
    if array.size and d.one_of(False, True):
        array.flat[d.integer(0, array.size - 1)] = d.one_of(np.nan, np.inf, -np.inf)
    return d.view(array)


@examples
@given(st.data(), st.sampled_from(IMPLEMENTATIONS), st.booleans())
@but_for_refusals
def test_non_finite_elements_land_where_the_reference_has_them(data, implementation, transposed):
    d = Drawn(data)
    algorithm, isa = implementation
    arguments = transpose_arguments if transposed else conv_arguments
    x, w, _, options = arguments(d)
    name = "conv_transpose" if transposed else "conv"
    forward, backward = f"{name}_forward", f"{name}_backward"
    dy = d.integers(getattr(reference, forward)(x, w, **options).shape)
    x, w, dy = (spoiled(d, array) for array in (x, w, dy))
    if not transposed:
        options["algorithm"] = algorithm
    with fastconv.use_isa(isa):
        check_equal(*same_refusal(forward, x, w, **options))
        check_equal(*same_refusal(backward, dy, x, w, **options))
        if not transposed:
            tangents = spoiled(d, d.integers(x.shape)), spoiled(d, d.integers(w.shape))
            check_equal(*same_refusal("conv_jvp", x, w, *tangents, **options))


@examples
@given(st.data())
def test_conv_transpose_refuses_what_the_reference_refuses(data):
    d = Drawn(data)
    options = {
        "stride": d.each(1, 3),
        "padding": d.padding(4),
        "dilation": d.each(1, 3),
        "output_padding": d.each(0, 3),
    }
    x = d.integers((1, 1, *(d.integer(1, 3) for _ in range(d.axes))))
    w = d.integers((1, 1, *(d.integer(1, 3) for _ in range(d.axes))))
    both = same_refusal("conv_transpose_forward", x, w, **options)
    if both is not None:
        check_equal(*both)


@examples
@given(st.data(), ISAS)
def test_im2col_and_col2im(data, isa):
    d = Drawn(data)
    dtype = d.one_of(*REAL)
    shape, kernel = d.planes(2), d.each(1, 4)
    options = {"stride": d.each(1, 4), "padding": d.padding(), "dilation": d.each(1, 3)}
    x = d.integers(shape, dtype)
    with fastconv.use_isa(isa):
        both = same_refusal("im2col", x, kernel, **options)
        if both is None:
            return
        check_equal(*both)
        cols = d.integers(both[0].shape, dtype)
        check_equal(
            fastconv.col2im(cols, shape, kernel, **options),
            reference.col2im(cols, shape, kernel, **options),
        )


@settings(examples, max_examples=100)
@given(st.data())
def test_conv_matrix(data):
    d = Drawn(data)
    d.last = False
    x, w, _, options = conv_arguments(d)
    del options["layout"]
    A = fastconv.conv_matrix(w, x.shape, **options)
    check_equal(A, reference.conv_matrix(w, x.shape, **options))
    y = reference.conv_forward(x, w, **options)
    for image, response in zip(x, y, strict=True):
        np.testing.assert_array_equal(A @ image.ravel(), response.ravel())


# ---------------------------------------------------------------------------------------------
# Pools


def max_pool_data(d, shape):
    """Few values of any real dtype; floats now and then with NaN and infinities."""
    dtype = d.one_of(*REAL)
    x = np.array(d.rng.integers(0, 5, shape)).astype(dtype)
    if dtype[0] in "fg" and d.one_of(True, False):
        for value in (np.nan, np.inf, -np.inf):
            x[d.rng.random(shape) < 0.1] = value
    return d.view(x)


@examples
@given(st.data(), ISAS)
def test_max_pool_forward_and_backward(data, isa):
    d = Drawn(data)
    kernel = d.each(1, 4)
    options = {
        "stride": d.one_of(None, d.each(1, 4)),
        "padding": d.padding(d.one_of(np.min(kernel) - 1, 3)),
        "dilation": d.each(1, 3),
        "ceil_mode": d.one_of(False, True),
        "layout": d.layout,
    }
    shape = d.in_layout(d.planes(3))
    x = max_pool_data(d, shape)
    with fastconv.use_isa(isa):
        both = same_refusal("max_pool_forward", x, kernel, **options)
        if both is None:
            return
        check_equal(*both)
        _, indices = both[1]
        dy = d.integers(indices.shape, d.one_of(*REAL))
        indices, layout = d.view(indices), options["layout"]
        for name in ("max_pool_backward", "max_unpool"):
            check_equal(*same_refusal(name, dy, indices, shape, layout=layout))


@examples
@given(st.data(), ISAS)
def test_avg_pool_forward_and_backward(data, isa):
    d = Drawn(data)
    kernel = d.each(1, 4)
    options = {
        "stride": d.one_of(None, d.each(1, 4)),
        "padding": d.padding(d.one_of(np.min(kernel) - 1, 3)),
        "ceil_mode": d.one_of(False, True),
        "count_include_pad": d.one_of(False, True),
        "divisor_override": d.one_of(None, None, 3),
        "layout": d.layout,
    }
    shape = d.in_layout(d.planes(3))
    x = d.integers(shape)
    with fastconv.use_isa(isa):
        both = same_refusal("avg_pool_forward", x, kernel, **options)
        if both is None:
            return
        check_near(*both, ulps=2, scale=0)
        dy = d.integers(both[1].shape)
        check_near(*same_refusal("avg_pool_backward", dy, shape, kernel, **options), ulps=64)


@examples
@given(st.data(), ISAS)
def test_adaptive_pools(data, isa):
    d = Drawn(data)
    output_size = d.each(1, 7)
    shape = d.in_layout(d.planes())
    x, y = max_pool_data(d, shape), d.integers(shape)
    layout = d.layout
    with fastconv.use_isa(isa):
        check_equal(*same_refusal("adaptive_max_pool_forward", x, output_size, layout=layout))
        actual, mean = same_refusal("adaptive_avg_pool_forward", y, output_size, layout=layout)
        check_near(actual, mean, ulps=2, scale=0)
        dy = d.integers(mean.shape)
        check_near(*same_refusal("adaptive_avg_pool_backward", dy, shape, layout=layout), ulps=64)


@examples
@given(st.data())
def test_max_pool_backward_and_unpool_of_any_indices(data):
    d = Drawn(data)
    N, C, *size = d.planes()
    layout, out_size = d.layout, tuple(d.integer(1, 5) for _ in size)
    shape, y_shape = d.in_layout((N, C, *size)), d.in_layout((N, C, *out_size))
    plane = int(np.prod(size))
    indices = d.rng.integers(0, plane, y_shape)
    if indices.size and d.one_of(False, False, True):
        indices.flat[d.integer(0, indices.size - 1)] = d.one_of(-1, plane, 2**40)
    indices, dy = d.view(indices), d.integers(y_shape, d.one_of(*REAL))
    for name in ("max_pool_backward", "max_unpool"):
        both = same_refusal(name, dy, indices, shape, layout=layout)
        if both is not None:
            check_equal(*both)


# ---------------------------------------------------------------------------------------------
# The rest


@examples
@given(st.data(), ISAS)
def test_batch_norm(data, isa):
    d = Drawn(data)
    matrix = d.one_of(False, False, True)
    layout = None if matrix else d.layout
    N, C, *size = d.planes(small=1)
    N = max(N, d.one_of(1, 1, 9, 100))
    shape = (N, C) if matrix else d.in_layout((N, C, *size))
    x, dy = d.integers(shape), d.integers(shape)
    gamma, beta, mean = (d.integers((C,)) for _ in range(3))
    var, eps = d.view(d.rng.uniform(0.5, 2, C).astype(d.dtype)), d.one_of(1e-5, 0.5)
    bound = {"ulps": 1000, "scale": 100}
    statistics = {"eps": 0.5, "layout": layout}
    with fastconv.use_isa(isa):
        check_near(*same_refusal("batch_norm_forward", x, gamma, beta, **statistics), **bound)
        statistics["eps"] = eps
        check_near(
            *same_refusal("batch_norm_inference", x, gamma, beta, mean, var, **statistics), **bound
        )
        check_near(
            *same_refusal("batch_norm_backward", dy, x, gamma, mean, var, layout=layout), **bound
        )


@examples
@given(st.data(), ISAS)
def test_relu_and_sigmoid(data, isa):
    d = Drawn(data)
    shape = tuple(d.integer(0, 4) for _ in range(d.integer(0, 3)))
    shape += (d.one_of(0, 1, 4, d.integer(5, 300)),)
    x, dy = d.integers(shape), d.integers(shape)
    y = d.view(d.rng.uniform(0, 1, shape).astype(d.dtype))
    with fastconv.use_isa(isa):
        check_equal(*same_refusal("relu_forward", x))
        check_equal(*same_refusal("relu_backward", dy, x))
        check_near(*same_refusal("sigmoid_forward", x), ulps=8)
        check_near(*same_refusal("sigmoid_backward", dy, y), ulps=8)


@examples
@given(st.data())
def test_affine(data):
    d = Drawn(data)
    N, D, M = d.integer(0, 5), d.integer(1, 6), d.integer(1, 6)
    x, w, b, dy = (d.integers(shape) for shape in ((N, D), (D, M), (M,), (N, M)))
    check_equal(*same_refusal("affine_forward", x, w, b))
    check_equal(*same_refusal("affine_backward", dy, x, w))


@examples
@given(st.data())
def test_softmax_cross_entropy(data):
    d = Drawn(data)
    N, classes = d.integer(1, 6), d.integer(1, 6)
    scores = d.integers((N, classes), top=30)
    labels = d.view(d.rng.integers(0, classes, N))
    (loss, dscores), (expected, expected_dscores) = same_refusal(
        "softmax_cross_entropy", scores, labels
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-5 if d.dtype == "f4" else 1e-12, atol=1e-6)
    check_near(dscores, expected_dscores, ulps=64)


def test_every_reference_is_compared():
    tested = Path(__file__).read_text()
    for name in set(reference.__all__) - {"ConvGradients"}:
        assert f"fastconv.{name}(" in tested or f'"{name}"' in tested, name
