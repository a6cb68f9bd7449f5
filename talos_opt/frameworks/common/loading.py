"""What MODULE:CALLABLE names, and how to tell what went wrong in a user's own code."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError

#: Libraries whose lines are not the user's.
_LIBRARIES = ("torch", "tensorflow", "keras", "onnx", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Found:
    """What MODULE:CALLABLE names.

    Parameters
    ----------
    target : str
    place, name : str
        Its two parts.
    value : object
    """

    target: str
    place: str
    name: str
    value: Any

    def call(self) -> Any:
        """Call it without arguments; its own folder counts as a place for modules.

        Raises
        ------
        InputError
            If it cannot be called, or raises.
        """
        if not callable(self.value):
            kind = type(self.value).__name__
            raise InputError(f"{self.target}: {self.name} is a {kind}, expected a callable")
        try:
            with _importable(self.place):
                return self.value()
        except (Exception, SystemExit) as error:
            raise InputError(f"{self.target}: {self.name}() raised {explain(error)}") from error


def resolve(target: str) -> Found:
    """Return what MODULE:CALLABLE names.

    Parameters
    ----------
    target : str
        Importable module, or path of a Python file, and a name in it, dotted perhaps.

    Raises
    ------
    InputError
        If there is no such thing, or importing raises.
    """
    place, colon, name = target.rpartition(":")
    if not (colon and place and name):
        raise InputError(f"{target!r} is not of the form MODULE:CALLABLE or ./file.py:CALLABLE")
    return Found(target, place, name, _attribute(_import(place, target), name, target))


def _import(place: str, target: str) -> ModuleType:
    """Import a file or a module; the working folder counts as a place for modules."""
    is_file = place.endswith(".py")
    if is_file and not Path(place).is_file():
        raise InputError(f"{target}: there is no file {place}")
    try:
        with _importable(place):
            return _from_file(Path(place)) if is_file else importlib.import_module(place)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not is_file and (place == missing or place.startswith(f"{missing}.")):
            raise InputError(f"{target}: there is no module {missing}") from error
        raise InputError(f"{target}: importing {place} raised {explain(error)}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{target}: importing {place} raised {explain(error)}") from error


def _from_file(path: Path) -> ModuleType:
    name = f"_talos_opt_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look modules up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def _importable(place: str) -> Iterator[None]:
    """Let a user's file import what lies beside it, and a module lie in the working folder."""
    folder = str(Path(place).resolve().parent) if place.endswith(".py") else str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _attribute(module: ModuleType, name: str, target: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(
                f"{target}: {module.__name__.removeprefix('_talos_opt_')} has no {name}"
            )
        found = getattr(found, part)
    return found


def arrays_of(source: str) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Return the arrays that a file or a callable holds: by position, and by name.

    Parameters
    ----------
    source : str
        A ``.npz`` file, or MODULE:CALLABLE, which returns an array, a tuple or list, or a dict.

    Raises
    ------
    InputError
        If there is no such thing, or reading or calling it raises.
    """
    if Path(source).suffix == ".npz":
        if not Path(source).is_file():
            raise InputError(f"there is no file {source}")
        try:
            with np.load(source) as held:
                made: Any = {name: held[name] for name in held.files}
        except Exception as error:
            raise InputError(f"{source}: reading it raised {explain(error)}") from error
        # What np.savez was given without names it calls arr_0, arr_1, ...
        if all(name == f"arr_{k}" for k, name in enumerate(made)):
            made = list(made.values())
    else:
        made = resolve(source).call()
    if isinstance(made, dict):
        return [], {str(name): np.asarray(value) for name, value in made.items()}
    if isinstance(made, (tuple, list)):
        return [np.asarray(value) for value in made], {}
    return [np.asarray(made)], {}


def explain(error: BaseException) -> str:
    """Return an error in one line: its type, the first line of its message, the user's line."""
    message = str(error).strip().split("\n")[0]
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    place = user_line(error)
    return f"{text} ({place})" if place else text


def user_line(error: BaseException) -> str:
    """Return the last line of a user's own code that an error came through."""
    last = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if is_users(frame.filename):
            last = f"{frame.filename}:{frame.lineno}: {(frame.line or '').strip()}".rstrip(": ")
    return last


def is_users(file: str) -> bool:
    """Whether a frame's file is the user's own code, not the framework's, Python's or this one's.

    What else was installed, such as transformers, counts as the user's: it is what was called.
    """
    standard = str(Path(contextlib.__file__).parent)
    if file.startswith(standard) and not file.startswith(_installed(standard)):
        return False
    return not file.startswith(_libraries(tuple(n for n in _LIBRARIES if n in sys.modules)))


def _installed(standard: str) -> tuple[str, ...]:
    return tuple(str(Path(standard) / name) for name in ("site-packages", "dist-packages"))


@functools.cache
def _libraries(names: tuple[str, ...]) -> tuple[str, ...]:
    folders = [Path(file).parent for name in names if (file := sys.modules[name].__file__)]
    # An environment may be reached through a link; frames name their files as they were imported.
    inside = [str(path) for folder in folders for path in (folder, folder.resolve())]
    inside.append(str(Path(__file__).resolve().parents[2]))
    return (*inside, "<frozen ", "<eval_with_key>", "<__array_function__", "<string>")
