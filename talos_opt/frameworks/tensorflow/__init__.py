"""TensorFlow: capture a model, profile it, run it under a placement.

loading, models              models and example inputs from the words on a command line
capture, captured            a model as one flat GraphDef, by way of a concrete function
flattening, folding          calls inlined; which nodes are ops, and which belong to their readers
training                     what one step of training is
ops, costs                   FLOPs, bytes and colocation of the ops
placing, session, stats      a graph with every node on its device, run and traced
measuring, links, profile    all of this together, as a profile
execute, run                 a schedule, for real
placed                       a model to call under a schedule
scopes                       a schedule as device strings, for a GraphDef of one's own

Importing this package does not import TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from talos_opt.frameworks.tensorflow.placed import place_model
    from talos_opt.frameworks.tensorflow.profile import profile_model

__all__ = ["place_model", "profile_model"]

_MODULES = {"place_model": "placed", "profile_model": "profile"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
