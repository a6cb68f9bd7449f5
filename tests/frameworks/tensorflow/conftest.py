"""Tests of frameworks/tensorflow need TensorFlow; where it is not installed, they are skipped."""

from __future__ import annotations

from importlib.util import find_spec

# OR-Tools first: after TensorFlow it would crash, or be run in processes of its own, which is slow.
from talos_opt.solvers.cpsat import backend

backend.load()

collect_ignore_glob = [] if find_spec("tensorflow") else ["test_*.py", "nets.py"]
