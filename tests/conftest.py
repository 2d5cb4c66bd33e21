"""Fixtures of all tests."""

import numpy as np
import pytest
from calls import DY, W, X
from cases import IMPLEMENTATIONS

import fastconv


@pytest.fixture(scope="session")
def torch():
    """PyTorch as an independent third opinion; without it the test is skipped."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch


@pytest.fixture(params=IMPLEMENTATIONS, ids="-".join)
def algorithm(request):
    """Name of an algorithm, with every instruction set of this processor in use in turn."""
    name, isa = request.param
    with fastconv.use_isa(isa):
        yield name


@pytest.fixture(params=fastconv.isas())
def isa(request):
    """Every instruction set of this processor in use in turn."""
    with fastconv.use_isa(request.param):
        yield request.param


@pytest.fixture
def arguments_untouched():
    """After the test the arrays of calls.py are as they were, and the library still works."""
    yield
    for array in (X, W, DY):
        assert (array == 1).all()
    np.testing.assert_array_equal(fastconv.conv_forward(X, W), np.full((2, 4, 4, 4), 36))
