"""What is built and what runs: algorithms, instruction sets, threads, accuracy."""

import os
import platform
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from . import _core, _values, plans

MAX_THREADS = 1024


def algorithms():
    """Names of the paths of a convolution, forward's in the order in which "auto" prefers them.

    A path is an algorithm with one of its arrangements, `algorithm/arrangement`; `algorithm=`
    takes either name. Some serve one direction alone, gradients' after forward's: `explain` lists
    those of each in order.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import fastconv
    >>> "naive" in fastconv.algorithms()
    True
    """
    return plans.PATHS


def isas():
    """Names of the instruction sets usable on this processor, best first.

    The first is used unless the environment variable FASTCONV_ISA or `use_isa` says otherwise.
    Those that the environment variable FASTCONV_HIDE_ISAS names, as in "avx512,avx2", are treated
    as if the processor lacked them.

    Returns
    -------
    tuple of str
        Out of "avx512", "avx2", "neon" and "portable", which is always there.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.isas()[-1]
    'portable'
    """
    return tuple(name for name, available in _core.all_isas() if available)


@contextmanager
def use_isa(name):
    """Context in which kernels of instruction set `name` run, in the whole process.

    Parameters
    ----------
    name : str
        One of `isas()`.

    Returns
    -------
    context manager

    Raises
    ------
    ValueError
        Another name.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.use_isa("portable"):
    ...     y = fastconv.conv_forward([[[1.0, 2.0]]], [[[3.0]]])
    """
    if name not in isas():
        raise ValueError(f"name is {name!r}, expected one of {isas()}")
    before = _core.get_isa()
    _core.set_isa(name)
    try:
        yield
    finally:
        _core.set_isa(before)


def get_num_threads():
    """Number of threads that a call may use.

    At first FASTCONV_NUM_THREADS, or the processors that the process may run on: its affinity
    mask, less what a cgroup quota withholds.

    Returns
    -------
    int
    """
    return _core.get_threads()


def set_num_threads(n):
    """Lets calls use at most n threads; results do not depend on it, to the bit.

    Parameters
    ----------
    n : int
        From 1 to 1024. Where the system refuses threads, fewer are used.

    Returns
    -------
    None

    Raises
    ------
    TypeError
        n is not an integer.
    ValueError
        n is out of range.
    """
    n = _values.integer("n", n, 1)
    if n > MAX_THREADS:
        raise ValueError(f"n is {n}, expected an integer from 1 to {MAX_THREADS}")
    _core.set_threads(n)


@contextmanager
def num_threads(n):
    """Context in which calls use at most n threads, in the whole process.

    Parameters
    ----------
    n : int
        As in `set_num_threads`.

    Returns
    -------
    context manager

    Raises
    ------
    TypeError, ValueError
        As `set_num_threads`.
    """
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        _core.set_threads(before)


ACCURACIES = ("normal", "high")


def get_accuracy():
    """Which algorithms "auto" may take: "normal" or "high".

    At first what FASTCONV_ACCURACY says, or "normal".

    Returns
    -------
    str
    """
    return ACCURACIES[_core.get_accurate()]


def set_accuracy(level):
    """Says which algorithms `algorithm="auto"` may take, in the whole process.

    Algorithms that add the products of the definition, in whatever order, have a relative root mean
    square error of 1e-7 to 6e-7 in float32. Winograd's take a quarter of the products for 3x3 and
    5x5 kernels of stride 1, about half of them for 3x3 of stride 2 and along one axis, and have an
    error of up to 1e-6 (5x5: 2e-6), on the layers of bench/layers.csv 1.3 to 2.4 (5x5: 3.6) times
    that of direct sums, more where sums are short: relative to the largest elements that meet in a
    tile of outputs (in dw: of taps), not to each element, and sums of whole numbers are not exact.
    That of 3x3 kernels with tiles of 2x2, which takes 4 of 9 products, has 0.5 to 0.8 of the error
    of direct sums, and sums of small whole numbers are exact.

    Parameters
    ----------
    level : {"normal", "high"}
        "high" keeps to direct sums and the last of these; an `algorithm` that is named runs all
        the same.

    Returns
    -------
    None

    Raises
    ------
    ValueError
        Another level.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_accuracy("high")
    >>> fastconv.get_accuracy()
    'high'
    >>> fastconv.set_accuracy("normal")
    """
    if level not in ACCURACIES:
        raise ValueError(f"level is {level!r}, expected one of {ACCURACIES}")
    _core.set_accurate(level == "high")


@contextmanager
def accuracy(level):
    """Context in which `set_accuracy(level)` holds, in the whole process.

    Parameters
    ----------
    level : {"normal", "high"}
        As in `set_accuracy`.

    Returns
    -------
    context manager

    Raises
    ------
    ValueError
        As `set_accuracy`.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.accuracy("high"):
    ...     y = fastconv.conv_forward([[[1.0, 2.0]]], [[[3.0]]])
    """
    before = get_accuracy()
    set_accuracy(level)
    try:
        yield
    finally:
        set_accuracy(before)


def show_config():
    """Prints versions, processor, threads and algorithms: what a report of a problem needs."""
    from . import __version__

    print(f"fastconv   {__version__}")
    print(f"NumPy      {np.__version__}")
    print(f"Python     {platform.python_version()}")
    print(f"processor  {processor()}, {platform.machine()}, {platform.system()}")
    print(f"isas       {', '.join(isas())}; in use: {_core.get_isa()}")
    print(f"threads    {get_num_threads()}")
    print(f"algorithms {', '.join(algorithms())}; accuracy: {get_accuracy()}")


def processor():
    """The model's name where the system tells it, as Linux on x86 does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def usable_processors():
    """Processors in the affinity mask, at most what a cgroup's quota grants."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = cgroup_quota(Path("/sys/fs/cgroup"))
    return min(max(1, count if quota is None else min(count, quota)), MAX_THREADS)


def cgroup_quota(root):
    """Processors' worth of time that the cgroup (version 2 or 1) below `root` grants, or None."""
    try:
        if (root / "cpu.max").exists():
            quota, period = (root / "cpu.max").read_text().split()[:2]
        else:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text()
            period = (root / "cpu/cpu.cfs_period_us").read_text()
        quota, period = int(quota), int(period)
    except (OSError, ValueError):
        return None
    return -(-quota // period) if quota > 0 and period > 0 else None


def apply_environment():
    """The variables FASTCONV_*; what they cannot mean is said and left aside."""
    hide_isas()
    wanted = os.environ.get("FASTCONV_ISA")
    if wanted and wanted not in isas():
        known = [name for name, _ in _core.all_isas()]
        reason = "this processor lacks it" if wanted in known else "unknown"
        reason = "FASTCONV_HIDE_ISAS hides it" if wanted in _core.hidden_isas else reason
        say_left_aside("FASTCONV_ISA", f"one of {isas()}", f"{reason}, using {isas()[0]!r}")
        wanted = None
    _core.set_isa(wanted or isas()[0])
    _core.set_threads(usable_processors())
    count = os.environ.get("FASTCONV_NUM_THREADS")
    if count:
        try:
            set_num_threads(int(count))
        except ValueError:
            expected = f"an integer from 1 to {MAX_THREADS}"
            say_left_aside("FASTCONV_NUM_THREADS", expected, f"using {get_num_threads()}")
    what = os.environ.get("FASTCONV_LOG")
    if what and what != "plan":
        say_left_aside("FASTCONV_LOG", "'plan'", "nothing is logged")
    _core.log_plans(plans.log if what == "plan" else None)
    level = os.environ.get("FASTCONV_ACCURACY")
    if level:
        try:
            set_accuracy(level)
        except ValueError:
            expected = f"one of {ACCURACIES}"
            say_left_aside("FASTCONV_ACCURACY", expected, f"using {get_accuracy()!r}")


def hide_isas():
    """FASTCONV_HIDE_ISAS: names with commas between them, but for the last resort."""
    *known, always = (name for name, _ in _core.all_isas())
    text = os.environ.get("FASTCONV_HIDE_ISAS", "")
    names = {name.strip() for name in text.split(",")} - {""}
    for name in sorted(names.difference(known)):
        reason = "is always there" if name == always else "is unknown"
        say_left_aside("FASTCONV_HIDE_ISAS", f"some of {tuple(known)}", f"{name!r} {reason}")
    _core.hidden_isas = frozenset(names.intersection(known))


def say_left_aside(variable, expected, outcome):
    """Warns of the value of an environment variable."""
    warnings.warn(
        f"{variable} is {os.environ[variable]!r}, expected {expected}: {outcome}",
        RuntimeWarning,
        stacklevel=3,
    )


def register_with_threadpoolctl():
    """Lets threadpool_limits and threadpool_info see the threads, where threadpoolctl is there."""
    try:
        import threadpoolctl
    except ImportError:
        return
    if not hasattr(threadpoolctl, "register"):  # before 3.5
        return

    class FastconvController(threadpoolctl.LibController):
        user_api = "fastconv"
        internal_api = "fastconv"
        filename_prefixes = ("_core",)
        check_symbols = ("fastconv_get_num_threads", "fastconv_set_num_threads")

        def get_num_threads(self):
            return get_num_threads()

        def set_num_threads(self, num_threads):
            set_num_threads(num_threads)

        def get_version(self):
            from . import __version__

            return __version__

    threadpoolctl.register(FastconvController)


apply_environment()
register_with_threadpoolctl()
