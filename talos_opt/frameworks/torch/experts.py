"""Mixtures of experts of transformers, run in a way that shapes alone describe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

#: Where a config of transformers keeps how experts are run.
_SETTING = "_experts_implementation_internal"


@contextmanager
def without_loops(module: nn.Module) -> Iterator[None]:
    """Let experts multiply in groups while the context lasts, where they were to be looped over.

    Which experts a loop visits hangs on values, so no graph holds it. Results are the same, and so
    is the work, but for the kernels that a loop starts.

    Parameters
    ----------
    module : nn.Module
        Any; only models of transformers are concerned.
    """
    parts = (part for part in module.modules() if hasattr(part, "config"))
    configs = {id(part.config): part.config for part in parts}.values()
    looping = [config for config in configs if getattr(config, _SETTING, None) == "eager"]
    for config in looping:
        setattr(config, _SETTING, "grouped_mm")
    try:
        yield
    finally:
        for config in looping:
            setattr(config, _SETTING, "eager")
