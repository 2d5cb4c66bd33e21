from typing import Any

from numpy import ndarray

from ._geometry import Window

Array = ndarray[Any, Any]

def max_pool_forward(x: Array, window: Window, y: Array, indices: Array) -> None: ...
def max_pool_backward(
    dy: Array, indices: Array, add: bool, dx: Array
) -> tuple[int, int, int] | None: ...
def avg_pool_forward(
    x: Array, window: Window, divisor_override: float, count_include_pad: bool, y: Array
) -> None: ...
def avg_pool_backward(
    dy: Array, window: Window, divisor_override: float, count_include_pad: bool, dx: Array
) -> None: ...
