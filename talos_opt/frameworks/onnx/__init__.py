"""ONNX: read a model, profile it, run it under a placement with ONNX Runtime.

reading, inputs              a file as a model that can be used, and what it is run on
flattening, optimising       functions inlined, what is constant folded; as the runtime optimises it
capture, captured            all of this together: a model as one flat graph with ids and types
graphs, dtypes, shapes       names and tensors of a graph; their types and sizes
costs, ops                   FLOPs, bytes and colocation of the ops
devices, sessions, events    execution providers, sessions on them, and what their profiles say
measuring, links, contention, profile    all of this together, as a profile
pieces, execute, run         a schedule, for real: a session for each piece
facts, exporting, openvino   a graph's own model again; a schedule as other runtimes take it

Importing this package imports neither onnx nor onnxruntime.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from talos_opt.frameworks.onnx.profile import profile_model

__all__ = ["profile_model"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from talos_opt.frameworks.onnx import profile

    return getattr(profile, name)
