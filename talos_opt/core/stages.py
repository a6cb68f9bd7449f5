"""Stages: whether the devices that models are split over may be entered again (model.md).

A placement draws an arc from one device to another wherever a forward op on the one is read by a
forward op of the same model on the other. The rule says what these arcs may not do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from talos_opt.core import units
from talos_opt.core.arrays import Arrays, Bools, Ints
from talos_opt.core.errors import GraphError
from talos_opt.core.plain import Keys, as_text, is_mapping

STAGES_KEYS = Keys("", "rule use_all")


class StageRule(StrEnum):
    """What the arcs between devices may not do."""

    ANY = "any"
    ACYCLIC = "acyclic"
    ORDERED = "ordered"


@dataclass(frozen=True)
class Stages:
    """What a problem asks of stages.

    Parameters
    ----------
    rule : StageRule or str
        ``any``: nothing. ``acyclic``: the arcs of no model form a directed cycle, so a device
        that a model has left is never entered again. ``ordered``: every arc leads from a device
        to one that stands behind it in the cluster.
    use_all : bool
        Whether every device has at least one forward op.

    Raises
    ------
    GraphError
        On an unknown rule, or a `use_all` that is not true or false.
    """

    rule: StageRule = StageRule.ANY
    use_all: bool = False

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "rule", StageRule(self.rule))
        except ValueError:
            expected = ", ".join(StageRule)
            raise GraphError(
                f"stages is {units.describe(self.rule)}, expected one of {expected}", path="rule"
            ) from None
        if not isinstance(self.use_all, bool):
            raise GraphError(
                f"use_all is {units.describe(self.use_all)}, expected true or false", path="use_all"
            )

    def __bool__(self) -> bool:
        """Whether anything is asked."""
        return self.rule is not StageRule.ANY or self.use_all

    def __str__(self) -> str:
        return self.rule.value + (", all devices used" if self.use_all else "")

    @classmethod
    def of(cls, value: Stages | str | Mapping[str, Any], path: str = "stages") -> Stages:
        """Read what a caller or a file gives: a rule, a mapping of rule and use_all, or itself.

        Raises
        ------
        GraphError
            With the path of the value.
        """
        if isinstance(value, Stages):
            return value
        try:
            if is_mapping(value):
                return cls(**STAGES_KEYS.check(value, "stages", ""))
            return cls(StageRule(as_text(value, "stages", "")))
        except GraphError as error:
            where = f"{path}.{error.path}" if error.path else path
            raise GraphError(error.message, path=where) from None
        except ValueError:
            expected = ", ".join(StageRule)
            raise GraphError(
                f"stages is {units.describe(value)}, expected one of {expected}", path=path
            ) from None

    def to_plain(self) -> str | dict[str, Any]:
        """Return the shortest form that `of` reads back."""
        if self.use_all:
            return {"rule": self.rule.value, "use_all": True}
        return self.rule.value


#: Nothing is asked.
ANY_STAGES = Stages()


def stage_arcs(arrays: Arrays, device: Ints) -> Ints:
    """Return the arcs between devices that a placement draws, each once.

    Parameters
    ----------
    arrays : Arrays
    device : (n,) int

    Returns
    -------
    (a, 3) int
        Model, device that is left, device that is entered; sorted.
    """
    source, target = arrays.edge_src, arrays.edge_dst
    drawn = arrays.forward[source] & arrays.forward[target] & (device[source] != device[target])
    source, target = source[drawn], target[drawn]
    rows = np.column_stack([arrays.model[source], device[source], device[target]])
    return np.unique(rows, axis=0).astype(np.int64)


def cycle_of(arcs: Ints) -> list[int]:
    """Return the devices of a directed cycle among arcs of one model, empty if there is none.

    Parameters
    ----------
    arcs : (a, 2) int
    """
    follows: dict[int, list[int]] = {}
    for source, target in arcs.tolist():
        follows.setdefault(source, []).append(target)
    done: set[int] = set()
    for first in follows:
        trail: list[int] = []
        ways = [iter((first,))]
        while ways:
            device = next(ways[-1], None)
            if device is None:
                ways.pop()
                if trail:
                    done.add(trail.pop())
            elif device in trail:
                return trail[trail.index(device) :]
            elif device not in done:
                trail.append(device)
                ways.append(iter(follows.get(device, [])))
    return []


def unused_devices(arrays: Arrays, device: Ints) -> Bools:
    """Return the devices that have no forward op (m,)."""
    counts = np.bincount(device[arrays.forward], minlength=arrays.device_count)
    return np.asarray(counts == 0)


def keeps_stages(arrays: Arrays, stages: Stages, device: Ints) -> bool:
    """Whether a placement keeps the rule.

    Parameters
    ----------
    arrays : Arrays
    stages : Stages
    device : (n,) int
    """
    if stages.use_all and unused_devices(arrays, device).any():
        return False
    if stages.rule is StageRule.ANY:
        return True
    arcs = stage_arcs(arrays, device)
    if stages.rule is StageRule.ORDERED:
        return bool((arcs[:, 1] < arcs[:, 2]).all())
    return not any(cycle_of(arcs[arcs[:, 0] == j, 1:]) for j in np.unique(arcs[:, 0]))
