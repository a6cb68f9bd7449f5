"""A model file as one flat graph: inlined, optimised, named, with the sizes of all values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.inputs import InputSpec
from talos_opt.frameworks.onnx.captured import Captured, Scratch
from talos_opt.frameworks.onnx.costs import CONTROL_FLOW
from talos_opt.frameworks.onnx.devices import CPU
from talos_opt.frameworks.onnx.events import NodeEvent, read_profile
from talos_opt.frameworks.onnx.flattening import flatten, fold_constants
from talos_opt.frameworks.onnx.inputs import draw
from talos_opt.frameworks.onnx.optimising import optimise, settle
from talos_opt.frameworks.onnx.reading import Source
from talos_opt.frameworks.onnx.sessions import Bound, options_of, refused
from talos_opt.frameworks.onnx.shapes import Tensor, infer, with_seen


def capture(
    source: Source,
    specs: Sequence[InputSpec],
    values: Mapping[str, np.ndarray],
    *,
    level: str = "all",
    run: bool = True,
) -> Captured:
    """Capture a model.

    Parameters
    ----------
    source : Source
    specs : sequence of InputSpec
        Of all inputs, in their order.
    values : mapping of str to np.ndarray
        Inputs by name.
    level : str
        How far the runtime optimises it: ``none``, ``extended`` or ``all``; see `optimise`. With
        ``none`` its definition replaces an op without a kernel, with ``file`` not even that.
    run : bool
        Whether it is going to run. If not, it runs once all the same where sizes follow from values
        only, or where it holds If, Loop or Scan, whose cost is that of what ran.

    Raises
    ------
    InputError
        If the runtime refuses the model or its inputs, or nothing is left of it to place.
    """
    try:
        if not run:
            captured = _captured(source, specs, level, symbolic=True)
            if not _needs_run(captured):
                return captured
        return _all_observed(source, specs, level, values)
    except InputError:
        # Where sizes are known, the runtime checks branches too that never run with them.
        return _all_observed(source, specs, level, values, sized=False)


def capture_graph(source: Source, specs: Sequence[InputSpec], level: str) -> Captured:
    """Return a captured model for what needs its ops only: sizes may be unknown.

    It runs only if nothing is optimised, to see whether ops have to be replaced, as `capture` does.
    """
    if level in ("none", "file"):
        return capture(source, specs, draw(specs), level=level)
    try:
        return _captured(source, specs, level)
    except InputError:
        return _captured(source, specs, level, sized=False)


def _all_observed(
    source: Source,
    specs: Sequence[InputSpec],
    level: str,
    values: Mapping[str, np.ndarray],
    *,
    sized: bool = True,
) -> Captured:
    """Return a captured model of which every op was seen in a run.

    An op without a kernel is replaced by its definition when a session is made; then the graph is
    the runtime's, with nothing else changed.
    """
    captured = _observed(_captured(source, specs, level, sized=sized), values)
    if level == "none" and not captured.nodes.keys() <= {event.name for event in captured.seen}:
        return _observed(_captured(source, specs, level, sized=sized, replaced=True), values)
    return captured


def _captured(
    source: Source,
    specs: Sequence[InputSpec],
    level: str,
    *,
    sized: bool = True,
    symbolic: bool = False,
    replaced: bool = False,
) -> Captured:
    proto, notes = flatten(source, specs, sized=sized)
    folder, scratch = source.path.parent, Scratch()
    if not sized:
        notes.append(
            "ONNX Runtime refuses the model with these sizes fixed, so it was optimised with sizes "
            "open, as the file has them"
        )
    if level in ("none", "file"):
        folded = fold_constants(proto, folder)
        if folded:
            notes.append(f"{folded} nodes that make constants were computed, and count as weights")
    if level == "file":
        notes.append(
            "ops in 16 bits are as the file has them: ONNX Runtime's CPU widens them where it runs "
            "them"
        )
    given = proto
    if level not in ("none", "file") or replaced:
        folder = scratch.path
        proto = optimise(proto, level, source.path, folder)
    settle(proto, given)
    if not proto.graph.node:
        raise InputError(f"{source.path}: has no ops left to place: all it returns is constant")
    symbolic |= level == "file"  # a run does not show ops without a kernel
    tensors = infer(proto, symbolic=symbolic and not _branches(proto.graph))
    return Captured(
        source, proto, folder, tuple(specs), level, tensors, tuple(notes), scratch=scratch
    )


def _branches(graph: Any) -> bool:
    return any(node.op_type in CONTROL_FLOW for node in graph.node)


def _needs_run(captured: Captured) -> bool:
    if _branches(captured.graph):
        return True
    made = (captured.tensors.get(name, Tensor()) for name in captured.maker)
    return any(value.shape is None and value.is_tensor for value in made)


def _observed(captured: Captured, values: Mapping[str, np.ndarray]) -> Captured:
    """Return a captured model with what a run on the CPU showed of its values."""
    events = observe(captured, values)
    seen = {event.name: event.outputs for event in events if event.name in captured.nodes}
    tensors = with_seen(captured.tensors, captured.graph, seen)
    return dataclasses.replace(captured, tensors=tensors, seen=tuple(events))


def observe(captured: Captured, values: Mapping[str, np.ndarray]) -> list[NodeEvent]:
    """Run a captured model once on the CPU, and return what every node did.

    Raises
    ------
    InputError
        If the runtime refuses the model or its inputs.
    """
    options = options_of()
    captured.watch(options, "seen")
    session = captured.session(options)
    try:
        Bound(session, CPU, values).run()
    except Exception as error:
        raise refused(captured.source.path, error, "it does not run on these inputs") from error
    profile = Path(session.end_profiling())
    (run,) = read_profile(profile)
    profile.unlink()
    return run.nodes
