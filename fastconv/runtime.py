"""What is built and what runs."""

import platform

import numpy as np

from . import conv


def algorithms():
    """Names of the convolution algorithms, in the order in which "auto" prefers them.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import fastconv
    >>> "naive" in fastconv.algorithms()
    True
    """
    return conv.ALGORITHMS


def show_config():
    """Prints versions, processor and algorithms: what a report of a problem should contain."""
    from . import __version__

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    print(f"fastconv   {__version__}")
    print(f"NumPy      {np.__version__}, BLAS {blas.get('name')} {blas.get('version')}")
    print(f"Python     {platform.python_version()}")
    print(f"processor  {platform.machine()}, {platform.system()}")
    print(f"algorithms {', '.join(algorithms())}")
