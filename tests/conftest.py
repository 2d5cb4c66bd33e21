"""Fixtures of all tests."""

import pytest


@pytest.fixture(scope="session")
def torch():
    """PyTorch as an independent third opinion; without it the test is skipped."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch
