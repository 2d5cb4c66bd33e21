"""Fixtures of all tests, and which of them are long."""

from itertools import groupby
from operator import itemgetter

import numpy as np
import pytest
from calls import DY, W, X
from cases import IMPLEMENTATIONS, is_refusal
from tiers import covering, numbered

import fastconv


@pytest.hookimpl(tryfirst=True)  # before -m is heeded
def pytest_collection_modifyitems(items):
    """Marks as long what the marker `pairwise` leaves out, and takes what it sweeps case by case.

    Fixtures such as `isa` vary first, so that the oracle of a case (`cases.kept`) is asked once.
    """
    ordered = []
    for _, group in groupby(items, lambda item: item.nodeid.partition("[")[0]):
        group = list(group)
        if group[0].get_closest_marker("pairwise"):
            rows = numbered(group)
            few = covering(rows)
            for position in set(range(len(rows))).difference(few):
                group[position].add_marker("long")
            group = [item for _, item in sorted(zip(rows, group, strict=True), key=itemgetter(0))]
        ordered += group
    items[:] = ordered


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """`-n auto`: few, as each uses as many threads as the machine has cores."""
    return min(8, fastconv.get_num_threads())


@pytest.fixture(scope="session")
def torch():
    """PyTorch as an independent third opinion; without it the test is skipped."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Skips a test with the fixture `algorithm` whose problem that algorithm says it cannot do."""
    try:
        return (yield)
    except ValueError as error:
        name = pyfuncitem.funcargs.get("algorithm")
        if name is not None and is_refusal(error, name):
            pytest.skip(str(error))
        raise


@pytest.fixture(params=IMPLEMENTATIONS, ids="-".join)
def algorithm(request):
    """Name of an exact algorithm, with every instruction set of this processor in use in turn.

    What it refuses is skipped: tests of paths (test_paths.py) see to it that all is covered.
    """
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
