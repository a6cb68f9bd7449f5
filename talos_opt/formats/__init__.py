"""Files in and out.

Each format is one module with ``recognises(source)``, ``read_problem(source, cluster=...,
objective=...)`` and, where it writes, ``write_problem(problem, target)``. It is imported when it
is used, and listed in `FORMATS`. Other packages add such modules by entry points of the group
``talos_opt.formats``; `all_formats` has these too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from talos_opt.core import plugins
from talos_opt.core.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

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

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function of the module; a mistake of another package is blamed on it."""
        function = getattr(self.load(), name)
        if self.added is None:
            return function(*args, **kwargs)
        return plugins.call(self.added, function, *args, **kwargs)

    def read(self, source: Source, **given: Any) -> Problem:
        """Read a problem from a file."""
        from talos_opt.core.problem import Problem

        found = self.call("read_problem", source, **given)
        if not isinstance(found, Problem):
            assert self.added is not None, "formats of talos_opt return a Problem"
            raise ConfigError(f"{plugins.whose(self.added)} returned {found!r}, expected a Problem")
        return found


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


def all_formats() -> Mapping[str, Format]:
    """Return all formats by name, those of other packages that can be loaded last."""
    return {**FORMATS, **_added_formats()[0]}


@cache
def _added_formats() -> tuple[Mapping[str, Format], Mapping[str, str]]:
    """Return formats that other packages add, and what is wrong with those that do not load."""
    found: dict[str, Format] = {}
    broken: dict[str, str] = {}
    for name, point in plugins.without(plugins.FORMATS, FORMATS).items():
        try:
            found[name] = _added_format(name, point)
        except ConfigError as error:
            broken[name] = error.message
    return found, broken


def _added_format(name: str, point: EntryPoint) -> Format:
    module = plugins.load(point, _MEMBERS)
    if not (isinstance(module.suffixes, tuple) and all(map(_is_suffix, module.suffixes))):
        raise ConfigError(
            f"{plugins.whose(point)} has the suffixes {module.suffixes!r}, expected a tuple "
            "such as ('.mine',), in lower case"
        )
    return Format(
        name,
        str(module.summary),
        module.suffixes,
        "",
        writes=hasattr(module, "write_problem"),
        added=point,
    )


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
        problem = form.read(file, cluster=given, objective=objective, **more)
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
    chosen.call("write_problem", problem, target)


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
    if name in FORMATS:
        return FORMATS[name]
    added, broken = _added_formats()
    if name in broken:
        raise ConfigError(broken[name])
    if name not in added:
        known = ", ".join(all_formats())
        raise ConfigError(f"no format is called {name!r}, expected one of: {known}")
    return added[name]


def _by_suffix(target: str | os.PathLike[str]) -> Format:
    from talos_opt.formats.source import STREAM, split_suffix

    name = os.fspath(target)
    if name == STREAM:
        return FORMATS[DEFAULT]
    suffix = split_suffix(name)[1]
    for item in _from_own_to_added():
        if item.writes and suffix in item.suffixes:
            return item
    writing = [item for item in all_formats().values() if item.writes]
    known = sorted({suffix for item in writing for suffix in item.suffixes})
    raise ConfigError(
        f"{name} has suffix {suffix!r}, expected one of: {', '.join(known)}, or with .gz"
        + _broken_ones()
    )


def _detect(source: Source) -> Format:
    """Return the format that reads a file; where none knows it, the default explains why."""
    passed = []
    for item in _from_own_to_added():
        if source.suffix not in item.suffixes:
            passed.append(item)
        elif item.call("recognises", source):
            return item
    for item in passed:
        if item.call("recognises", source):
            return item
    broken = _broken_ones()
    if broken and not any(source.suffix in item.suffixes for item in all_formats().values()):
        raise ConfigError(f"{source.name} is in no format that is known{broken}")
    return FORMATS[DEFAULT]


def _from_own_to_added() -> Iterator[Format]:
    """Yield all formats; those of other packages are loaded only if none before is the one."""
    yield from FORMATS.values()
    yield from _added_formats()[0].values()


def _broken_ones() -> str:
    """Say which formats of other packages do not load, as the end of an error."""
    return "".join(f"; {why}" for why in _added_formats()[1].values())
