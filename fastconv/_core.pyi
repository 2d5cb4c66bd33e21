from typing import Any

from numpy import ndarray

from ._problem import ConvProblem

Array = ndarray[Any, Any]

def conv_algorithms() -> tuple[str, ...]: ...
def conv_forward(
    algorithm: str, problem: ConvProblem, x: Array, w: Array, b: Array | None, relu: bool, y: Array
) -> None: ...
def conv_backward_data(
    algorithm: str, problem: ConvProblem, dy: Array, w: Array, dx: Array
) -> None: ...
def conv_backward_weights(
    algorithm: str, problem: ConvProblem, dy: Array, x: Array, dw: Array | None, db: Array | None
) -> None: ...
