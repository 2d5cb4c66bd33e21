"""numerical_gradient and check_gradients."""

import numpy as np
import pytest

import fastconv


def test_gradient_of_a_polynomial():
    x = np.array([[1.0, -2.0], [0.0, 300.0]])
    gradient = fastconv.numerical_gradient(lambda x: x**3, x)
    np.testing.assert_allclose(gradient, 3 * x**2, rtol=1e-9, atol=1e-9)


def test_dy_weights_the_outputs():
    matrix = np.arange(6.0).reshape(2, 3)
    dy = np.array([10.0, 1.0])
    gradient = fastconv.numerical_gradient(lambda x: matrix @ x, np.ones(3), dy)
    np.testing.assert_allclose(gradient, dy @ matrix, rtol=1e-9)


def test_float32_is_differenced_with_a_larger_step():
    x = np.float32([0.5, 2.0])
    gradient = fastconv.numerical_gradient(np.sin, x)
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, np.cos(x), atol=2e-4)


def test_the_argument_is_not_modified_even_if_f_writes_to_its_own():
    x = np.array([1.0, 2.0])

    def spoils(x):
        x *= 2
        return x.sum()

    np.testing.assert_allclose(fastconv.numerical_gradient(spoils, x), [2, 2], rtol=1e-9)
    np.testing.assert_array_equal(x, [1, 2])


def test_own_step_and_bad_arguments():
    gradient = fastconv.numerical_gradient(lambda x: x**2, np.array([3.0]), eps=0.5)
    np.testing.assert_allclose(gradient, [6.0])
    with pytest.raises(ValueError, match="eps is 0"):
        fastconv.numerical_gradient(np.sin, np.ones(2), eps=0)
    with pytest.raises(ValueError, match="dy has shape"):
        fastconv.numerical_gradient(np.sin, np.ones(2), np.ones(3))
    with pytest.raises(TypeError, match="x has dtype int64"):
        fastconv.numerical_gradient(np.sin, [1, 2])


def test_check_names_the_worst_element():
    def wrong(dy, a, b):
        da, db = dy * b, dy * a
        db[1, 2] += 7
        return da, db

    args = [np.full((2, 3), 2.0), np.full((2, 3), 5.0)]
    with pytest.raises(AssertionError, match=r"gradient 1 is wrong at \(1, 2\).* 1 of 6 elements"):
        fastconv.check_gradients(lambda a, b: a * b, wrong, args)


def test_check_accepts_a_scalar_result_one_array_and_none():
    fastconv.check_gradients(lambda x: (x**2).sum(), lambda dy, x: 2 * x * dy, [np.ones(3)])
    fastconv.check_gradients(
        lambda a, b: a * b, lambda dy, a, b: (dy * b, None), [np.ones(3), np.ones(3)]
    )


def test_check_fails_on_nan():
    with pytest.raises(AssertionError, match="gradient 0 is wrong"):
        fastconv.check_gradients(np.sin, lambda dy, x: x * np.nan, [np.ones(3)])


def test_check_refuses_gradients_of_another_count_or_shape():
    with pytest.raises(ValueError, match="vjp returned 2 gradients, expected 1"):
        fastconv.check_gradients(np.sin, lambda dy, x: (x, x), [np.ones(3)])
    with pytest.raises(ValueError, match=r"gradient 0 has shape \(2,\), expected \(3,\)"):
        fastconv.check_gradients(np.sin, lambda dy, x: x[:2], [np.ones(3)])


def test_check_accepts_a_number_as_the_only_gradient():
    fastconv.check_gradients(lambda x: x**2, lambda dy, x: 2 * x * dy, [np.float64(3.0)])


@pytest.mark.parametrize("value, eps", [(2, 1e-30), (1e30, 1e-3), (np.inf, None), (np.nan, None)])
def test_step_that_vanishes_beside_x_is_refused(value, eps):
    with pytest.raises(
        ValueError, match=f"vanishes beside x's element 0 of {value:g}".replace("+", ".")
    ):
        fastconv.numerical_gradient(np.tanh, np.array([value, 0.5]), eps=eps)
