"""The one import of TensorFlow, with what must be set before it is loaded.

OR-Tools' CP-SAT crashes in a process that loaded TensorFlow first; solvers run it in a process of
its own then (decision 0002), so that nothing here has to know.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

# TensorFlow reads these once. Its devices otherwise share one pool of threads, whose size the
# first session fixes for the whole process; and it reports its start on standard error.
os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

#: What its libraries print on being loaded, whatever level is set.
_CHATTER = (b"absl::InitializeLog()", b"oneDNN custom operations are on")


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Hold back what is written to standard error, and then write all of it but the chatter."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        try:
            before = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            held.seek(0)
            for line in held:
                if not any(text in line for text in _CHATTER):
                    os.write(2, line)


with _without_chatter():
    import tensorflow as tf

__all__ = ["tf"]
