from typing import Any

from numpy import ndarray

from ._problem import ConvProblem

Array = ndarray[Any, Any]

hidden_isas: frozenset[str]

def all_isas() -> tuple[tuple[str, bool], ...]: ...
def get_isa() -> str: ...
def set_isa(name: str) -> None: ...
def get_threads() -> int: ...
def set_threads(count: int) -> None: ...
def conv_algorithms() -> tuple[str, ...]: ...
def conv_forward(
    algorithm: str,
    problem: ConvProblem,
    x: Array,
    w: Array,
    b: Array | None,
    relu: bool,
    y: Array,
    prepared: Weights | None = None,
) -> None: ...
def conv_backward_data(
    algorithm: str, problem: ConvProblem, dy: Array, w: Array, dx: Array
) -> None: ...
def conv_backward_weights(
    algorithm: str, problem: ConvProblem, dy: Array, x: Array, dw: Array | None, db: Array | None
) -> None: ...

class Weights: ...

def prepare_weights(
    algorithm: str, problem: ConvProblem, x: Array, w: Array, y: Array
) -> Weights: ...
def describe(
    algorithm: str, problem: ConvProblem, x: Array, w: Array, y: Array
) -> tuple[str, str, int, int]: ...
def refusal(algorithm: str, problem: ConvProblem, x: Array, w: Array, y: Array) -> str | None: ...
def kept_problem(
    x: Any, w: Any, b: Any, dy: Any, geometry: tuple[Any, ...]
) -> ConvProblem | None: ...
def keep_problem(
    problem: ConvProblem,
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    geometry: tuple[Any, ...],
) -> None: ...
