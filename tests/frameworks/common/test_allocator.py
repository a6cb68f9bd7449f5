"""Freed memory is there for the next step."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest

from talos_opt.frameworks.common.allocator import keep_freed_memory

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="faults of a thread are counted on Linux")
def test_memory_that_was_freed_is_used_without_page_faults() -> None:
    import resource

    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("the C library is not glibc")
    keep_freed_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        held = [np.ones(2 * MIB, dtype=np.uint8) for _ in range(8)]  # a step's tensors
        del held
        return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before

    assert min(faults() for _ in range(5)) < 16 * MIB // resource.getpagesize() // 4
