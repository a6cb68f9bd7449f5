"""What ONNX Runtime's profile of some runs says: when each node ran, on what, and what it made."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from talos_opt.core.errors import InputError

_KERNEL = "_kernel_time"
_RUN = "model_run"
_US = 1e-6

Shapes = tuple[tuple[str, list[int]], ...]


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """One execution of a node.

    Parameters
    ----------
    name, type : str
    provider : str
        The runtime's name, such as ``CPUExecutionProvider``.
    start_s, end_s : float
        Since the profile began.
    inputs, outputs : tuple of (str, list of int)
        Type and shape of each that is a tensor.
    """

    name: str
    type: str
    provider: str
    start_s: float
    end_s: float
    inputs: Shapes = ()
    outputs: Shapes = ()


@dataclass(frozen=True)
class ProfiledRun:
    """One run of a session.

    Parameters
    ----------
    start_s, end_s : float
        Since the profile began.
    nodes : list of NodeEvent
        In the order in which they ended.
    """

    start_s: float
    end_s: float
    nodes: list[NodeEvent] = field(default_factory=list)


def read_profile(path: Path) -> list[ProfiledRun]:
    """Return the runs that a profile is of.

    Raises
    ------
    InputError
        If it is not such a profile.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _runs(document)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise InputError(f"{path}: is not a profile of ONNX Runtime: nested too deeply") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is not a profile of ONNX Runtime: {error}") from error


def _runs(document: Sequence[Mapping[str, Any]]) -> list[ProfiledRun]:
    whole = [e for e in document if e.get("cat") == "Session" and e["name"] == _RUN]
    spans = sorted((float(e["ts"]) * _US, float(e["ts"] + e["dur"]) * _US) for e in whole)
    runs = [ProfiledRun(*span) for span in spans]
    starts = [run.start_s for run in runs]
    for event in _nodes(document):
        k = bisect_right(starts, event.start_s) - 1
        if k >= 0 and event.start_s <= runs[k].end_s:
            runs[k].nodes.append(event)
    return runs


def _nodes(document: Sequence[Mapping[str, Any]]) -> Iterator[NodeEvent]:
    for event in document:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith(_KERNEL):
            continue
        args = event["args"]
        start = float(event["ts"]) * _US
        yield NodeEvent(
            name.removesuffix(_KERNEL),
            str(args.get("op_name", "")),
            str(args.get("provider", "")),
            start,
            start + float(event["dur"]) * _US,
            _shapes(args.get("input_type_shape")),
            _shapes(args.get("output_type_shape")),
        )


def _shapes(rows: Any) -> Shapes:
    return tuple((str(name), list(shape)) for row in rows or () for name, shape in row.items())
