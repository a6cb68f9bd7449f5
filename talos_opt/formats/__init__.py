"""Files in and out.

Each format is one module with ``recognises(source)``, ``read_problem(source, cluster=...,
objective=...)`` and, where it writes, ``write_problem(problem, target)``. It is imported when it
is used, and listed in `FORMATS`. Other packages add such modules by entry points of the group
``talos_opt.formats``; `all_formats` has these too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from talos_opt.core import plugins
from talos_opt.core.errors import ConfigError

if TYPE_CHECKING:
    from talos_opt.core.bundles import Bundles
    from talos_opt.core.cluster import Cluster
    from talos_opt.core.problem import Objective, Problem
    from talos_opt.core.result import Result
    from talos_opt.core.schedule import Schedule
    from talos_opt.formats.schedule_document import NamedSchedule
    from talos_opt.formats.source import Source

__all__ = [
    "FORMATS",
    "Format",
    "all_formats",
    "read_cluster",
    "read_problem",
    "read_schedule",
    "read_schedule_document",
    "write_problem",
    "write_schedule",
]


@dataclass(frozen=True, slots=True)
class Format:
    """A file format for problems.

    Parameters
    ----------
    name : str
        What ``--from`` and ``--to`` call it.
    summary : str
        One line for a person.
    suffixes : tuple of str
        File name suffixes in lower case; each may be followed by ``.gz``.
    module : str
        Where it is read and written, in `talos_opt.formats`.
    writes : bool
        Whether it can be written as well as read.
    own_cluster : bool
        Whether a file may hold a cluster with bundles.
    added : EntryPoint, optional
        Where it is instead, if another package adds it.
    """

    name: str
    summary: str
    suffixes: tuple[str, ...]
    module: str
    writes: bool = True
    own_cluster: bool = False
    added: EntryPoint | None = None

    def load(self) -> Any:
        """Import the format's module."""
        if self.added is not None:
            return plugins.load(self.added, _MEMBERS)
        return import_module(f"{__name__}.{self.module}")


#: All formats, by name. The first that recognises a file reads it, those of its suffix before
#: the others.
FORMATS: dict[str, Format] = {
    item.name: item
    for item in (
        Format(
            "npz",
            "talos-columns/1, for graphs too large for text",
            (".npz",),
            "columnar",
            own_cluster=True,
        ),
        # Before talos, which parses a file to know it; these look at the first lines.
        Format(
            "speedup-csv",
            "times per op type and device kind, CSV",
            (".csv",),
            "speedup_csv",
            writes=False,
        ),
        Format(
            "stg",
            "task graphs, text as in the Standard Task Graph Set",
            (".stg", ".txt"),
            "stg",
            writes=False,
        ),
        # Before talos, which takes all that has a schema for its own.
        Format(
            "chakra",
            "execution traces of Chakra and PyTorch, protobuf or JSON",
            (".et", ".json"),
            "chakra",
            writes=False,
        ),
        Format(
            "talos",
            "talos-graph/1, YAML or JSON",
            (".yaml", ".yml", ".json"),
            "talos",
            own_cluster=True,
        ),
        Format(
            "msr",
            "workloads of the NeurIPS 2020 device placement paper, JSON",
            (".json",),
            "msr",
            writes=False,
        ),
        Format(
            "wfformat", "WfCommons workflows, WfFormat JSON", (".json",), "wfformat", writes=False
        ),
        Format(
            "fjsp", "flexible job shops, text as in FJSPLIB", (".fjs", ".txt"), "fjsp", writes=False
        ),
    )
}

DEFAULT = "talos"

#: What every format that another package adds has to have.
_MEMBERS = ("summary", "suffixes", "recognises", "read_problem")


@cache
def all_formats() -> Mapping[str, Format]:
    """Return all formats by name, those of other packages last.

    Raises
    ------
    ConfigError
        If one of another package cannot be loaded.
    """
    found = dict(FORMATS)
    for name, point in plugins.without(plugins.FORMATS, FORMATS).items():
        module = plugins.load(point, _MEMBERS)
        if not (isinstance(module.suffixes, tuple) and all(map(_is_suffix, module.suffixes))):
            raise ConfigError(
                f"{plugins.whose(point)} has the suffixes {module.suffixes!r}, expected a tuple "
                "such as ('.mine',), in lower case"
            )
        found[name] = Format(
            name,
            str(module.summary),
            module.suffixes,
            "",
            writes=hasattr(module, "write_problem"),
            added=point,
        )
    return found


def _is_suffix(value: object) -> bool:
    return isinstance(value, str) and value.startswith(".") and value == value.lower()


def read_problem(
    source: str | os.PathLike[str] | Source,
    *,
    format: str | None = None,
    cluster: Cluster | str | os.PathLike[str] | None = None,
    objective: Objective | str | None = None,
    bundles: Bundles | str | Mapping[str, Any] | None = None,
) -> Problem:
    """Read a problem from a file.

    Parameters
    ----------
    source : str, path or Source
        ``-``: standard input. Gzip is unpacked whatever the name. A `Source` is open already.
    format : str, optional
        A key of `all_formats`; default: by the file's suffix and content.
    cluster : Cluster or path, optional
        Takes the place of the file's own.
    objective : Objective or str, optional
        Default: the format's (talos: toct, msr: makespan). A msr workload is another cluster
        under bottleneck, so name the objective here rather than change it afterwards.
    bundles : Bundles, mapping or 'all', optional
        Which devices may act as one, in place of what the cluster says.

    Raises
    ------
    InputError
        Names the file, the line or path in it, what was found and what was expected.
    """
    from talos_opt.core.bundles import Bundles
    from talos_opt.formats.source import Source, open_source, paused_collector

    chosen = None if format is None else _named(format)
    rules = None if bundles is None else Bundles.of(bundles)  # said before the file is blamed
    given = read_cluster(cluster) if isinstance(cluster, (str, os.PathLike)) else cluster
    file = source if isinstance(source, Source) else open_source(source)
    with paused_collector():
        form = _detect(file) if chosen is None else chosen
        # An op may be too large for a device and fit a bundle: a cluster in the file has to know.
        more = {"bundles": rules} if form.own_cluster and rules is not None else {}
        if given is not None and rules is not None:
            given = replace(given, bundles=rules)
        problem: Problem = form.load().read_problem(
            file, cluster=given, objective=objective, **more
        )
    return problem if rules is None else problem.with_bundles(rules)


def write_problem(
    problem: Problem, target: str | os.PathLike[str], *, format: str | None = None
) -> None:
    """Write a problem to a file, whole or not at all.

    Parameters
    ----------
    problem : Problem
        Its objective is not written: it is the user's question, not the graph's.
    target : str or path
        ``-``: standard output. Packed with gzip where the name ends in ``.gz``.
    format : str, optional
        A key of `all_formats`; default: by the suffix.

    Raises
    ------
    FormatError
        If the target cannot be written.
    ConfigError
        If no format has that name or suffix, or it can only be read.
    """
    chosen = _by_suffix(target) if format is None else _named(format)
    if not chosen.writes:
        able = ", ".join(item.name for item in all_formats().values() if item.writes)
        raise ConfigError(f"format {chosen.name!r} can only be read, expected one of: {able}")
    chosen.load().write_problem(problem, target)


def read_cluster(source: str | os.PathLike[str]) -> Cluster:
    """Read a cluster from a YAML or JSON file; see `talos_opt.formats.cluster_reader`."""
    from talos_opt.formats.cluster_reader import read_cluster

    return read_cluster(source)


def read_schedule(source: str | os.PathLike[str], problem: Problem) -> Schedule:
    """Read a schedule of a problem; see `talos_opt.formats.schedule`."""
    from talos_opt.formats.schedule import read_schedule

    return read_schedule(source, problem)


def read_schedule_document(source: str | os.PathLike[str]) -> NamedSchedule:
    """Read a schedule without its graph; see `talos_opt.formats.schedule`."""
    from talos_opt.formats.schedule import read_schedule_document

    return read_schedule_document(source)


def write_schedule(result: Result | dict[str, Any], target: str | os.PathLike[str]) -> None:
    """Write a result as talos-schedule/1; see `talos_opt.formats.schedule`."""
    from talos_opt.formats.schedule import write_schedule

    write_schedule(result, target)


def _named(name: str) -> Format:
    known = all_formats()
    if name not in known:
        raise ConfigError(f"no format is called {name!r}, expected one of: {', '.join(known)}")
    return known[name]


def _by_suffix(target: str | os.PathLike[str]) -> Format:
    from talos_opt.formats.source import STREAM, split_suffix

    name = os.fspath(target)
    if name == STREAM:
        return FORMATS[DEFAULT]
    suffix = split_suffix(name)[1]
    writing = [item for item in all_formats().values() if item.writes]
    for item in writing:
        if suffix in item.suffixes:
            return item
    known = sorted({suffix for item in writing for suffix in item.suffixes})
    raise ConfigError(
        f"{name} has suffix {suffix!r}, expected one of: {', '.join(known)}, or with .gz"
    )


def _detect(source: Source) -> Format:
    """Return the format that reads a file; where none knows it, the default explains why."""
    by_suffix = sorted(all_formats().values(), key=lambda item: source.suffix not in item.suffixes)
    for item in by_suffix:
        if item.load().recognises(source):
            return item
    return FORMATS[DEFAULT]
