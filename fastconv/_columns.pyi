from typing import Any

from numpy import ndarray

from ._geometry import Window

Array = ndarray[Any, Any]

def im2col(x: Array, window: Window, cols: Array) -> None: ...
def col2im(cols: Array, window: Window, x: Array) -> None: ...
