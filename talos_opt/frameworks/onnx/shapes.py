"""Types and shapes of all values of a graph: inferred, and as they were seen in a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

from talos_opt.frameworks.onnx import dtypes
from talos_opt.frameworks.onnx.backend import ox
from talos_opt.frameworks.onnx.graphs import outputs_of


@dataclass(frozen=True, slots=True)
class Tensor:
    """What is known of a value.

    Parameters
    ----------
    dtype : int
        Element type, as onnx numbers it; 0: unknown, or not a tensor.
    shape : tuple of int, optional
        None: not known before the model runs.
    proto : onnx.TypeProto, optional
        Of what is not a tensor, such as a sequence.
    """

    dtype: int = 0
    shape: tuple[int, ...] | None = None
    proto: Any = None

    @property
    def bytes(self) -> int | None:
        """Bytes; None where the shape is not known."""
        return None if self.shape is None else dtypes.nbytes(self.dtype, self.shape)

    @property
    def is_tensor(self) -> bool:
        """Whether it can travel: what is not a tensor stays where it was made."""
        return self.proto is None

    def value_info(self, name: str, *, sized: bool = True) -> Any:
        """Return what an input or output of this name declares, with its sizes or without."""
        if self.proto is not None:
            return ox.helper.make_value_info(name, self.proto)
        return ox.helper.make_tensor_value_info(name, self.dtype, self.shape if sized else None)


def infer(proto: Any, *, symbolic: bool = True) -> dict[str, Tensor]:
    """Return what can be known of values of the outermost graph without running it.

    Parameters
    ----------
    proto : onnx.ModelProto
        With sizes for all inputs.
    symbolic : bool
        Whether what the inference of onnx leaves open is left to ONNX Runtime's symbolic one, which
        knows the runtime's own ops, and takes seconds to load.
    """
    found = _read(proto)
    with contextlib.suppress(Exception):  # a model that contradicts itself: a run has to tell
        found |= _read(ox.shape_inference.infer_shapes(proto, data_prop=True))
    made = [name for node in proto.graph.node for name in outputs_of(node)]
    if symbolic and any(found.get(name, Tensor()).shape is None for name in made):
        for name, value in _symbolic(proto).items():
            if found.get(name, Tensor()).shape is None:
                found[name] = value
    return {name: found.get(name, Tensor()) for name in [*found, *made]}


def _symbolic(proto: Any) -> dict[str, Tensor]:
    """Return what ONNX Runtime's inference finds, of all that it finds; nothing without sympy.

    Its own loop, as its function for all of this leaves a file in the working folder where
    something stays open.
    """
    try:
        from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference
    except ImportError:
        return {}
    copy = ox.ModelProto()
    copy.CopyFrom(proto)
    inference: Any = SymbolicShapeInference(
        int_max=2**31 - 1, auto_merge=True, guess_output_rank=False, verbose=0
    )
    try:
        methodcaller("_preprocess", copy)(inference)
        while inference.run_:
            methodcaller("_infer_impl")(inference)
        methodcaller("_update_output_from_vi")(inference)
        return _read(inference.out_mp_)
    except Exception:  # it knows some ops only
        return {}


def _read(proto: Any) -> dict[str, Tensor]:
    graph = proto.graph
    found = {
        tensor.name: Tensor(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer
    }
    for value in (*graph.input, *graph.value_info, *graph.output):
        found[value.name] = _tensor(value.type)
    return found


def _tensor(kind: Any) -> Tensor:
    if not kind.HasField("tensor_type"):
        return Tensor(proto=kind) if kind.WhichOneof("value") else Tensor()
    tensor = kind.tensor_type
    dims = tensor.shape.dim
    known = tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in dims)
    return Tensor(tensor.elem_type, tuple(int(dim.dim_value) for dim in dims) if known else None)


def with_seen(
    tensors: Mapping[str, Tensor], graph: Any, seen: Mapping[str, Iterable[tuple[str, list[int]]]]
) -> dict[str, Tensor]:
    """Return what is known of values, where nodes ran as they were seen to be.

    Parameters
    ----------
    tensors : mapping of str to Tensor
    graph : onnx.GraphProto
    seen : mapping of str to iterable of (str, list of int)
        Types and shapes of what a node made, by its name; of tensors only.
    """
    found = dict(tensors)
    for node in graph.node:
        made = outputs_of(node)
        shown = list(seen.get(node.name, ()))
        if len(shown) != len(made):  # an output that is not a tensor, or that was left empty
            continue
        for name, (dtype, shape) in zip(made, shown, strict=True):
            known = found.get(name, Tensor()).dtype  # the runtime's CPU widens what is in 16 bits
            found[name] = Tensor(known or dtypes.code_of(dtype), tuple(shape))
    return found
