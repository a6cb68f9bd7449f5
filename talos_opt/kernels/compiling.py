"""How kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

#: numba's own annotations leave the wrapper switches out.
_njit: Any = numba.njit

#: A kernel that Python calls. Compiled on first use, kept on disk, releases the GIL.
kernel: Callable[[Any], Any] = _njit(cache=True, nogil=True, no_cfunc_wrapper=True)

#: A part of kernels that only they call. It has no entry from Python: unboxing tuples of dozens
#: of arrays made up most of the compile time.
part: Callable[[Any], Any] = _njit(
    cache=True, nogil=True, no_cfunc_wrapper=True, no_cpython_wrapper=True
)
