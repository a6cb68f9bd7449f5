"""Paths into a graph document: ``cluster.devices[gpu].memory``, and the values put there.

Documents are those of `talos_opt.formats.graph_writer`. They are never changed: an assignment
returns a new document, which shares all that it does not touch with the old one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from talos_opt.core import units
from talos_opt.core.errors import GraphError
from talos_opt.core.records import INPUT_KEYS, MEMORY_KEYS, OP_KEYS
from talos_opt.formats.cluster_reader import CLUSTER_KEYS, DEVICE_KEYS, LINK_KEYS
from talos_opt.formats.graph_reader import MODEL_KEYS

#: A step: ``.key``, or ``[selector]``.
_STEP = re.compile(r"\.?([A-Za-z_][\w-]*)|\[([^\[\]]+)\]")

#: What a path may begin with, beside the kinds of devices, which stand for their count.
ROOTS = ("cluster", "models", "prices", "memory_rule", "stages", "pipeline")

#: What may be given to a record that does not have it yet; in other mappings, such as times by
#: device, only what is there is changed, as a new name would mean nothing.
_FIELDS = {
    "cluster": CLUSTER_KEYS,
    "devices": DEVICE_KEYS,
    "links": LINK_KEYS,
    "models": MODEL_KEYS,
    "ops": OP_KEYS,
    "inputs": INPUT_KEYS,
    "memory": MEMORY_KEYS,
}

EVERY = "*"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: a key of a mapping, or a selector of entries of a list or mapping."""

    name: str
    is_selector: bool


def parse_path(text: str) -> tuple[Step, ...]:
    """Return the steps of a path.

    Raises
    ------
    GraphError
        If it is not a path.
    """
    steps, position = [], 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (match[1] and bool(position) != match[0].startswith(".")):
            raise GraphError(
                f"{units.describe(text)} is not a path, expected keys and selectors such as "
                "cluster.devices[gpu].memory"
            )
        steps.append(Step(match[1] or match[2].strip(), match[1] is None))
        position = match.end()
    if not steps or steps[0].is_selector:
        raise GraphError(f"{units.describe(text)} is not a path, expected a key first")
    return tuple(steps)


def assign(document: Mapping[str, Any], text: str, value: object) -> dict[str, Any]:
    """Return a document with a value at each place that a path leads to.

    Parameters
    ----------
    document : mapping
    text : str
        A path, or the kind of a device, of which the value is the count.
    value : object
        Plain data; ``{scale: 0.5}`` multiplies the numbers that are there.

    Raises
    ------
    GraphError
        If the path matches nothing, or a value that is scaled is not a number.
    """
    steps = parse_path(text)
    if len(steps) == 1 and steps[0].name not in ROOTS:
        return with_count(document, text, value)
    if steps[0].name not in ROOTS:
        raise GraphError(
            f"{text!r} begins with {steps[0].name!r}, expected one of {', '.join(ROOTS)}, "
            "or the kind of a device alone"
        )
    count = [0]
    changed = _set(document, steps, value, count)
    if not count[0]:
        raise GraphError(f"{text!r} matches nothing in graph {document.get('name')!r}")
    return dict(changed)


def leads_to(text: str, place: str) -> bool:
    """Tell whether a path of a study leads to a place, or to what the place is a part of.

    Parameters
    ----------
    text : str
        A path.
    place : str
        JSON path of a value in a document, as errors have it: ``cluster.devices[1].memory``.
    """
    pattern = ""
    for step in parse_path(text):
        if step.is_selector:
            pattern += r"(\[\d+\]|\.[^.\[]+)"
        else:
            pattern += (r"\." if pattern else "") + re.escape(step.name)
    return re.match(pattern + r"(?=[.\[]|$)", place) is not None


def _set(node: Any, steps: Sequence[Step], value: object, count: list[int], kind: str = "") -> Any:
    """Return a node with the value set below it; what no step leads to is shared.

    Parameters
    ----------
    kind : str
        The last key on the way, which says what record it is.
    """
    if not steps:
        count[0] += 1
        return _scaled(node, value)
    step, rest = steps[0], steps[1:]
    if isinstance(node, Mapping):
        if step.is_selector:
            keys = [key for key in node if step.name in (EVERY, key)]
        else:
            if kind == "ops" and step.name == "memory" and rest:
                node = {"memory": {}, **node}  # an op without memory does not mention it
            there = step.name in node or (not rest and _may_have(node, step.name, kind, value))
            keys = [step.name] if there else []
        changed = {
            key: _set(node.get(key), rest, value, count, kind if step.is_selector else key)
            for key in keys
        }
        return {**node, **changed} if changed else node
    if isinstance(node, (list, tuple)) and step.is_selector:
        chosen = _chosen(node, step.name)
        return [
            _set(item, rest, value, count, kind) if k in chosen else item
            for k, item in enumerate(node)
        ]
    return node


def _may_have(node: Mapping[str, Any], name: str, kind: str, value: object) -> bool:
    """Tell whether a record that has no such field may be given one."""
    if _is_scale(value) or (kind == "links" and "via" in node):
        return False
    if kind in ("", "prices"):  # the root: what a graph may say, and prices by any name
        return True
    return kind in _FIELDS and name in _FIELDS[kind].allowed


def _chosen(items: Sequence[Any], selector: str) -> set[int]:
    """Positions of the entries that a selector means: by id, else by kind or type, else by place.

    A link is meant by an end too.
    """
    if selector == EVERY:
        return set(range(len(items)))
    for fields in (("id",), ("kind", "type", "op", "from", "to", "via", "between")):
        found = {
            k
            for k, item in enumerate(items)
            if isinstance(item, Mapping) and any(_names(item.get(key), selector) for key in fields)
        }
        if found:
            return found
    if re.fullmatch(r"-?\d+", selector) and -len(items) <= int(selector) < len(items):
        return {int(selector) % len(items)}
    return set()


def _names(value: object, selector: str) -> bool:
    return value == selector or (isinstance(value, list) and selector in value)


def _is_scale(value: object) -> bool:
    return isinstance(value, Mapping) and set(value) == {"scale"}


def _scaled(node: object, value: object) -> object:
    if not isinstance(value, Mapping) or not _is_scale(value):
        return value
    factor = units.number(value["scale"], "scale", positive=True)
    if isinstance(node, bool) or not isinstance(node, (int, float)):
        raise GraphError(f"what is there is {units.describe(node)}, expected a number to scale")
    return round(node * factor) if isinstance(node, int) else node * factor


def with_count(document: Mapping[str, Any], kind: str, value: object) -> dict[str, Any]:
    """Return a document whose cluster has so many devices of a kind.

    Devices are taken from the end, or made like the last one; links that name a device that is
    taken go with it.

    Raises
    ------
    GraphError
        If the cluster has no device of the kind, the value is not a count, or a link names the
        device that would be copied.
    """
    cluster = document["cluster"]
    devices = cluster["devices"]
    mine = [device for device in devices if device["kind"] == kind]
    if not mine:
        kinds = ", ".join(dict.fromkeys(device["kind"] for device in devices))
        raise GraphError(
            f"{kind!r} matches nothing in graph {document.get('name')!r}: expected a path that "
            f"begins with one of {', '.join(ROOTS)}, or a kind of device ({kinds})"
        )
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 4096:
        raise GraphError(
            f"the count of {kind!r} is {units.describe(value)}, expected a whole number from 0 to "
            "4096"
        )
    links = cluster.get("links")
    if value > len(mine):
        _require_no_link(links, mine[-1]["id"], kind)
        more = _copies(devices, mine[-1], value - len(mine))
        place = devices.index(mine[-1]) + 1
        devices = [*devices[:place], *more, *devices[place:]]
    else:
        gone = {device["id"] for device in mine[value:]} | (set() if value else {kind})
        devices = [device for device in devices if device["id"] not in gone]
        if value == 0:
            devices = [device for device in devices if device["kind"] != kind]
        if links is not None:
            links = [link for link in links if not gone & _ends(link)]
    changed = {**cluster, "devices": devices}
    if links is not None:
        changed["links"] = links
    if not any(device["kind"] == cluster.get("reference") for device in devices):
        changed.pop("reference", None)
    return {**document, "cluster": changed}


def _ends(link: Mapping[str, Any]) -> set[str]:
    named = {*link.get("between", ()), link.get("from"), link.get("to"), link.get("via")}
    return {name for name in named if name is not None}


def _require_no_link(links: Sequence[Mapping[str, Any]] | None, device: str, kind: str) -> None:
    if device != kind and any(device in _ends(link) for link in links or ()):
        raise GraphError(
            f"a link names device {device!r}, so there cannot be more of its kind {kind!r}: "
            "expected links between kinds"
        )


def _copies(
    devices: Sequence[Mapping[str, Any]], like: Mapping[str, Any], count: int
) -> list[dict[str, Any]]:
    """Return more devices like one, with the next free numbers behind its name."""
    taken = {device["id"] for device in devices} | {device["kind"] for device in devices}
    stem = re.sub(r"\d+$", "", like["id"]) or like["kind"]
    found: list[dict[str, Any]] = []
    number = 0
    while len(found) < count:
        if f"{stem}{number}" not in taken:
            found.append({**like, "id": f"{stem}{number}"})
        number += 1
    return found
