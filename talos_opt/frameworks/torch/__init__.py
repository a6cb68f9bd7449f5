"""PyTorch: capture a module, profile it, run it under a placement.

loading                      modules and example inputs from the words on a command line
arguments                    what a module is called with, nested and by name
capture                      a module as a flat graph of calls, in the first way that is right:
exporting, tracing, masks    the ways; control: branches and loops as one call
checking, comparing          whether a graph agrees with its module on a second input
reasons, lines               why a model cannot be captured; which line of code an op is of
captured, training           what capturing yields; what one step of training is
costs, ops                   FLOPs, bytes and colocation of the calls
timing, threads, links       measurements
targets, profile             devices, and all of this together
placing, execute, run        a schedule's ops on the devices of one process
placed, stepping, halves     a module to call and train under a schedule; calling: with what
pipeline_run                 a schedule's stages, each in a process: cutting makes the stages,
                             microbatches what they should compute; stage_processes and
                             stage_worker are the parent's side and the stage's, peers is for both

Importing this package does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from talos_opt.frameworks.torch.placed import place_module
    from talos_opt.frameworks.torch.profile import profile_module

__all__ = ["place_module", "profile_module"]

_MODULES = {"place_module": "placed", "profile_module": "profile"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
