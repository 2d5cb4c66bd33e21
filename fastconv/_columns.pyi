from typing import Any

from numpy import ndarray

from ._geometry import Window

Array = ndarray[Any, Any]

def im2col_tile(
    x: Array, window: Window, groups: int, group0: int, row0: int, column0: int, out: Array
) -> None: ...
def col2im_tile(
    columns: Array, window: Window, groups: int, group0: int, row0: int, column0: int, x: Array
) -> None: ...
