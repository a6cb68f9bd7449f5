"""What a graph's description says of the model that it was made from, and whether this is it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.running import INPUTS
from talos_opt.frameworks.onnx.backend import ort
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.reading import Source

#: Facts of a profile: which model it is of, by which version of the runtime, optimised how far.
MODEL, RUNTIME, GRAPH = "model", "onnxruntime", "graph"
#: Where the next of them begins.
_NEXT = re.compile(f"; (?=(?:{INPUTS}|{MODEL}|{RUNTIME}|{GRAPH}): )")


def facts_of(captured: Captured) -> dict[str, str]:
    """Return what a graph's description says of the model, and how it was captured."""
    return {
        INPUTS: captured.inputs_text,
        RUNTIME: ort.__version__,
        MODEL: f"{captured.source.path.name} sha256 {captured.source.digest}",
        GRAPH: f"optimised {captured.level}",
    }


def facts_in(description: str | None) -> dict[str, str]:
    """Return the facts that a description states, as `facts_of` wrote them."""
    found: dict[str, str] = {}
    parts = _NEXT.split(description or "")
    parts[-1] = parts[-1].partition("; ")[0]  # names may have a semicolon, and the last is no name
    for part in parts:
        key, colon, value = part.partition(": ")
        if colon and key in (INPUTS, MODEL, GRAPH, RUNTIME):
            found.setdefault(key, value)
    return found


def require_same_model(source: Source, facts: Mapping[str, str]) -> None:
    """Refuse a schedule or a graph that was made for another file.

    Raises
    ------
    InputError
    """
    name, _, digest = facts.get(MODEL, "").rpartition(" sha256 ")
    if digest and digest != source.digest:
        raise InputError(
            f"{source.path}: has the sha256 {source.digest}, and the schedule was made for {name} "
            f"of {digest}: profile and solve this model"
        )


def version_note(facts: Mapping[str, str]) -> str:
    """Say that the graph was made by another version of the runtime, which may fuse other ops."""
    made = facts.get(RUNTIME, ort.__version__)
    if made == ort.__version__:
        return ""
    return f"the graph was made with ONNX Runtime {made}, and this is {ort.__version__}"
