"""How to solve: a solver, its limits and its options, as one value that a file can hold.

A configuration is a small YAML or JSON mapping. Those in ``solver_configs/`` come with the
package and are found by name; any other is read from its path.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import yaml

from talos_opt.core import units
from talos_opt.core.errors import ConfigError, GraphError
from talos_opt.core.problem import Objective

SUFFIXES = (".yaml", ".yml", ".json")

#: A configuration is a handful of lines; a larger file was named by mistake.
MAX_FILE_BYTES = 2**20


@dataclass(frozen=True)
class SolveConfig:
    """Everything that `solve` needs beside the problem.

    Parameters
    ----------
    solver : str
        Name of a registered solver.
    time_limit : float
        Seconds, above 0.
    objective : Objective or str, optional
        None: the problem's own.
    seed : int
        At least 0.
    workers : int, optional
        Threads, at least 1. None: as many as the machine has cores.
    options : mapping of str to mapping
        Options of each solver, keyed by the solver's name. Their names and types are checked by
        the solver that takes them.
    worth : float or str
        Share of the value, at least 0, that fewer devices and transfers are worth: 0.005 or
        ``0.5%``. Kept as a number.
    description : str
        What the configuration is good for.

    Raises
    ------
    ConfigError
        If a value has the wrong type or range.
    """

    solver: str = "auto"
    time_limit: float = 10.0
    objective: Objective | None = None
    seed: int = 0
    workers: int | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    worth: float = 0.0
    description: str = ""

    def __post_init__(self) -> None:
        for name in ("solver", "description"):
            value = getattr(self, name)
            if not isinstance(value, str) or (name == "solver" and not value):
                raise ConfigError(f"{name} is {units.describe(value)}, expected text", path=name)
        object.__setattr__(self, "time_limit", _time_limit(self.time_limit))
        object.__setattr__(self, "worth", _worth(self.worth))
        object.__setattr__(self, "seed", _whole(self.seed, "seed", least=0))
        if self.workers is not None:
            object.__setattr__(self, "workers", _whole(self.workers, "workers", least=1))
        if self.objective is not None:
            object.__setattr__(self, "objective", _objective(self.objective))
        object.__setattr__(self, "options", _options(self.options))

    def override(self, **given: Any) -> SolveConfig:
        """Return the configuration with every value that is not None put in its place.

        Options are merged solver by solver and name by name, the given ones winning.
        """
        chosen = {name: value for name, value in given.items() if value is not None}
        if "options" in chosen:
            merged = {name: dict(values) for name, values in self.options.items()}
            for name, values in _options(chosen["options"]).items():
                merged.setdefault(name, {}).update(values)
            chosen["options"] = merged
        return replace(self, **chosen)


def load_config(source: str | os.PathLike[str]) -> SolveConfig:
    """Read a configuration, from a file or by the name of one that comes with the package.

    Parameters
    ----------
    source : str or path
        ``fast``, or a path such as ``my/config.yaml``. Text with a suffix or a folder in it is
        always a path, and anything else always a name.

    Raises
    ------
    ConfigError
        If there is no such file or name, the file is no YAML mapping, or a key or value in it is
        unknown; names file, key, what was found and what was expected.
    """
    path = Path(source)
    if isinstance(source, str) and path.suffix not in SUFFIXES and path.name == source:
        path = _shipped(source)
    where = str(path)
    document = _parse(_read(path), where)
    known = [item.name for item in fields(SolveConfig)]
    for key in document:
        if key not in known:
            raise ConfigError(
                f"unknown key {units.describe(key)}, expected one of: {', '.join(known)}",
                source=where,
            )
    try:
        return SolveConfig(**document)
    except ConfigError as error:
        raise error.located(source=where) from None


def config_names() -> tuple[str, ...]:
    """Return the names of the configurations that come with the package."""
    found = {file.stem for file in _folder().glob("*.yaml")}
    return tuple(sorted(found))


def _folder() -> Path:
    """Folder of the shipped configurations: in the installed package, else in the checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "solver_configs"
    return inside if inside.is_dir() else package.parent / "solver_configs"


def _shipped(name: str) -> Path:
    if name not in config_names():
        expected = ", ".join(config_names()) or "none is installed"
        raise ConfigError(
            f"no configuration is called {name!r}, expected one of: {expected}; "
            "or the path of a .yaml file"
        )
    return _folder() / f"{name}.yaml"


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", source=str(path)) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(
            f"is larger than {MAX_FILE_BYTES} bytes, expected a solver configuration",
            source=str(path),
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"byte {error.start} is not UTF-8 text, expected a YAML file", source=str(path)
        ) from None


class _Loader(yaml.SafeLoader):
    """YAML in which a key given twice is an error, not a silent choice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigError(f"is not valid YAML: {error.problem}", source=where, line=line) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"is not valid YAML: {error}", source=where) from None
    if not isinstance(document, dict):
        found = units.describe(document)
        raise ConfigError(f"holds {found}, expected a mapping of solver settings", source=where)
    return document


def _time_limit(value: object) -> float:
    try:
        return units.number(value, "time_limit", positive=True)
    except GraphError as error:
        raise ConfigError(error.message, path="time_limit") from None


def _worth(value: object) -> float:
    try:
        return units.share(value, "worth")
    except GraphError as error:
        raise ConfigError(
            f"{error.message}, such as 0.005, or a text such as 0.5%", path="worth"
        ) from None


def _whole(value: object, name: str, *, least: int) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, Integral)
        or not least <= int(value) < 2**31
    ):
        raise ConfigError(
            f"{name} is {units.describe(value)}, expected a whole number of at least {least}",
            path=name,
        )
    return int(value)


def _objective(value: object) -> Objective:
    try:
        return Objective(value)  # type: ignore[arg-type]
    except ValueError:
        raise ConfigError(
            f"objective is {units.describe(value)}, expected one of {', '.join(Objective)}",
            path="objective",
        ) from None


def _options(value: object) -> dict[str, dict[str, Any]]:
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"options is {units.describe(value)}, expected a mapping from solver to its options",
            path="options",
        )
    for solver, given in value.items():
        if not isinstance(solver, str) or not isinstance(given, Mapping):
            raise ConfigError(
                f"options of {units.describe(solver)} are {units.describe(given)}, "
                "expected a mapping from option to value",
                path=f"options.{solver}",
            )
        for name in given:
            if not isinstance(name, str):
                raise ConfigError(
                    f"option {units.describe(name)} is not a name", path=f"options.{solver}"
                )
    return {solver: dict(given) for solver, given in value.items()}
