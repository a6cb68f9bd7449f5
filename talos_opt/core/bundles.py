"""Bundles: equal devices that act as one (docs/bundles.md).

`Bundles` is what a cluster allows: for each kind of device the sizes, the modes, and how much
faster a bundle is than one device. `Bundle` is one that was chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from talos_opt.core import units
from talos_opt.core.errors import GraphError
from talos_opt.core.plain import Keys, as_list, as_mapping, as_name, as_text, is_mapping, join

#: Stands for rules for all kinds of which there are several devices.
ALL_KINDS = "all"

RULE_KEYS = Keys("", "sizes modes scaling")
BUNDLE_KEYS = Keys("members mode", "device")


class BundleMode(StrEnum):
    """What the members of a bundle share."""

    DATA = "data"
    TENSOR = "tensor"


@dataclass(frozen=True)
class BundleRule:
    """How devices of one kind may be bundled.

    Parameters
    ----------
    sizes : tuple of int
        Numbers of devices in a bundle; 1: a device may stay alone. Empty: all powers of two that
        there are enough devices for.
    modes : tuple of BundleMode
    scaling : tuple of (int, float)
        How many times faster than one device a data bundle of a size is; the default is the size.

    Raises
    ------
    GraphError
    """

    sizes: tuple[int, ...] = ()
    modes: tuple[BundleMode, ...] = tuple(BundleMode)
    scaling: tuple[tuple[int, float], ...] = ()

    @classmethod
    def of(cls, value: object, path: str) -> BundleRule:
        """Read the rule of a kind: a mapping with ``sizes``, ``modes`` and ``scaling``."""
        if isinstance(value, BundleRule):
            return value
        record = RULE_KEYS.check(value, "the bundles of a kind", path)
        given: dict[str, Any] = {}
        if "sizes" in record:
            given["sizes"] = _sizes(record["sizes"], join(path, "sizes"))
        if "modes" in record:
            given["modes"] = _modes(record["modes"], join(path, "modes"))
        if "scaling" in record:
            given["scaling"] = _scaling(record["scaling"], join(path, "scaling"))
        return cls(**given)

    def sizes_up_to(self, most: int) -> tuple[int, ...]:
        """Return the sizes that a number of devices suffices for, in ascending order."""
        if self.sizes:
            return tuple(size for size in self.sizes if size <= most)
        return tuple(2**k for k in range(most.bit_length()))

    def speedup(self, size: int) -> float:
        """Return how many times faster than one device a data bundle is."""
        return dict(self.scaling).get(size, float(size))

    def to_plain(self) -> dict[str, Any]:
        """Return the rule as a mapping of talos-graph/1, less what has its default value."""
        record: dict[str, Any] = {}
        if self.sizes:
            record["sizes"] = list(self.sizes)
        if self.modes != tuple(BundleMode):
            record["modes"] = [mode.value for mode in self.modes]
        if self.scaling:
            record["scaling"] = {str(size): factor for size, factor in self.scaling}
        return record


@dataclass(frozen=True)
class Bundles:
    """Rules for bundles by kind of device; none where nothing may be bundled.

    Parameters
    ----------
    rules : tuple of (str, BundleRule)
    every : bool
        Stands for the default rule for each kind of which there are several devices.
    """

    rules: tuple[tuple[str, BundleRule], ...] = ()
    every: bool = False

    def __bool__(self) -> bool:
        """Whether something may be bundled."""
        return self.every or bool(self.rules)

    @classmethod
    def of(cls, value: Bundles | str | Mapping[str, Any] | None, path: str = "bundles") -> Bundles:
        """Read what a caller or a file gives: ``all``, a mapping from kind to rule, or itself.

        Raises
        ------
        GraphError
            With the path of the value.
        """
        if isinstance(value, Bundles):
            return value
        if value is None:
            return cls()
        if isinstance(value, str) and value == ALL_KINDS:
            return cls(every=True)
        if not is_mapping(value):
            raise GraphError(
                f"bundles is {units.describe(value)}, expected a mapping from kind to its bundles, "
                f"such as {{gpu: {{sizes: [1, 2]}}}}, or {ALL_KINDS}",
                path=path,
            )
        kinds = ((as_name(kind, "a kind", path), rule) for kind, rule in value.items())
        return cls(tuple((kind, BundleRule.of(rule, join(path, kind))) for kind, rule in kinds))

    def for_kinds(self, counts: Mapping[str, int], path: str = "bundles") -> Bundles:
        """Return the rules with ``all`` spelled out, of a cluster's kinds.

        Parameters
        ----------
        counts : mapping of str to int
            Number of devices of each kind.
        path : str

        Raises
        ------
        GraphError
            If there is no such kind, or too few devices of it.
        """
        if self.every:
            several = tuple((kind, BundleRule()) for kind, count in counts.items() if count > 1)
            if not several:
                raise GraphError("no kind has two devices, expected some to bundle", path=path)
            return Bundles(several)
        for kind, rule in self.rules:
            where = join(path, kind)
            if kind not in counts:
                raise GraphError(
                    f"{kind!r} is not a kind of device, expected one of {', '.join(counts)}",
                    path=where,
                )
            most = max(rule.sizes, default=1)
            if most > counts[kind]:
                raise GraphError(
                    f"a bundle of {most} is larger than the group: there are {counts[kind]} "
                    f"devices of kind {kind}",
                    path=join(where, "sizes"),
                )
        return self

    def rule(self, kind: str) -> BundleRule | None:
        """Return the rule of a kind, None where it is not bundled."""
        return dict(self.rules).get(kind)

    def to_plain(self) -> dict[str, Any]:
        """Return the mapping ``bundles`` of a cluster in talos-graph/1."""
        return {kind: rule.to_plain() for kind, rule in self.rules}


@dataclass(frozen=True)
class Bundle:
    """Devices that act as one.

    Parameters
    ----------
    members : tuple of str
        Ids of two devices or more.
    mode : BundleMode
    """

    members: tuple[str, ...]
    mode: BundleMode

    @property
    def id(self) -> str:
        """Id of the device that it is."""
        return "+".join(self.members)

    @property
    def size(self) -> int:
        """Number of members."""
        return len(self.members)

    def to_plain(self) -> dict[str, Any]:
        """Return the bundle as an entry of ``bundles`` in talos-schedule/1."""
        return {"device": self.id, "members": list(self.members), "mode": self.mode.value}


def read_chosen(value: object, path: str = "bundles") -> tuple[Bundle, ...]:
    """Read the bundles that a schedule names.

    Raises
    ------
    GraphError
        With the path of the value.
    """
    return tuple(_chosen(as_list(value, "bundles", path), path))


def _chosen(rows: list[Any] | tuple[Any, ...], path: str) -> Iterator[Bundle]:
    for k, row in enumerate(rows):
        where = f"{path}[{k}]"
        if isinstance(row, Bundle):
            yield row
            continue
        record = BUNDLE_KEYS.check(row, "a bundle", where)
        names = as_list(record["members"], "members", f"{where}.members")
        members = tuple(
            as_name(name, "a member", f"{where}.members[{i}]") for i, name in enumerate(names)
        )
        bundle = Bundle(members, _mode(record["mode"], f"{where}.mode"))
        if record.get("device", bundle.id) != bundle.id:
            raise GraphError(
                f"device is {units.describe(record['device'])}, expected {bundle.id!r}, after its "
                "members",
                path=f"{where}.device",
            )
        yield bundle


def _sizes(value: object, path: str) -> tuple[int, ...]:
    rows = as_list(value, "sizes", path)
    if not rows:
        raise GraphError("sizes is an empty list, expected numbers of devices", path=path)
    sizes = [_size(row, f"{path}[{k}]") for k, row in enumerate(rows)]
    return tuple(sorted(set(sizes)))


def _size(value: object, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise GraphError(
            f"a size is {units.describe(value)}, expected a number of devices of at least 1",
            path=path,
        )
    return value


def _modes(value: object, path: str) -> tuple[BundleMode, ...]:
    rows = as_list(value, "modes", path)
    if not rows:
        raise GraphError("modes is an empty list, expected data, tensor or both", path=path)
    return tuple(dict.fromkeys(_mode(row, f"{path}[{k}]") for k, row in enumerate(rows)))


def _mode(value: object, path: str) -> BundleMode:
    try:
        return BundleMode(as_text(value, "a mode", path))
    except ValueError:
        expected = ", ".join(BundleMode)
        raise GraphError(
            f"a mode is {units.describe(value)}, expected one of {expected}", path=path
        ) from None


def _scaling(value: object, path: str) -> tuple[tuple[int, float], ...]:
    found: dict[int, float] = {}
    for key, factor in as_mapping(value, "scaling", path).items():
        # JSON has texts for keys.
        size = int(key) if isinstance(key, str) and key.isdecimal() else key
        where = join(path, key)
        number = units.number(factor, f"the scaling of {key}", path=where, positive=True)
        found[_size(size, where)] = units.magnitude(number, f"the scaling of {key}", path=where)
    return tuple(sorted(found.items()))
