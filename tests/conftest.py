"""Fixtures of all tests."""

import pytest
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
