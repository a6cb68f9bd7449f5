"""How kernels are compiled, and where what comes of it is kept.

numba keeps it in the first folder that can be written to of ``NUMBA_CACHE_DIR``, ``__pycache__``
beside the kernels, and the user's cache folder. Where there is none, a folder of the user's own
among the temporary files does, until that is cleared; and where there is not even that, each
process compiles for itself. What an unwritable folder holds already is copied, since numba reads
only where it can write.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numba
from numba.core import event

#: numba's own annotations leave the wrapper switches, and its settings, out.
_njit: Any = numba.njit
_settings: Any = numba.config


class NotCompiledError(Exception):
    """A kernel would have to be compiled where that was not asked for."""


def _probe() -> None:
    """Something to ask numba with where it would keep a function of this package."""


def _find_folder() -> Path | None:
    try:
        return Path(_njit(cache=True)(_probe).stats.cache_path)
    except RuntimeError:
        return None


def _make_own_folder() -> Path | None:
    """Return a temporary folder that nobody else can write to, or put code into: None if none."""
    user = os.getuid() if hasattr(os, "getuid") else "kernels"
    try:
        folder = Path(tempfile.gettempdir(), f"talos_opt-{user}")
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    if hasattr(os, "getuid") and (
        not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o077
    ):
        return None
    return folder


@contextmanager
def _kept_in(root: Path | None) -> Iterator[None]:
    """Let functions that are decorated inside be kept there, and nobody else's."""
    before = _settings.CACHE_DIR
    if root is not None:
        _settings.CACHE_DIR = str(root)
    try:
        yield
    finally:
        _settings.CACHE_DIR = before


def _copy_unwritable(target: Path) -> None:
    """Copy what folders hold that can only be read."""
    given = _settings.CACHE_DIR
    beside = Path(__file__).with_name("__pycache__")
    for source in (Path(given, target.name) if given else beside, beside):
        with suppress(OSError):
            for file in source.glob("*.nb[ci]"):
                copy, part = target / file.name, target / f"{file.name}.{os.getpid()}"
                if not copy.exists() or copy.stat().st_mtime < file.stat().st_mtime:
                    shutil.copy2(file, part)
                    part.replace(copy)  # others may be reading


#: Folder of compiled kernels, None if there is none; and the root of one that will not last.
folder: Path | None = None
temporary: Path | None = None
if not _settings.DISABLE_JIT:
    folder = _find_folder()
    if folder is None:
        temporary = _make_own_folder()
        with _kept_in(temporary):
            folder = _find_folder()
        if folder is not None:
            _copy_unwritable(folder)


#: What kept a kernel from being kept, such as a full disk; and whether that is an error.
lost: OSError | None = None
must_keep = False


def _keep_if_possible(dispatcher: Any) -> None:
    """Let a kernel be used though it cannot be kept: numba compiles it and then raises."""
    cache = dispatcher._cache  # noqa: SLF001 - numba has no other way in
    save = cache.save_overload

    def save_if_possible(*arguments: Any) -> None:
        global lost
        try:
            save(*arguments)
        except OSError as error:
            lost = error
            if must_keep:
                raise

    cache.save_overload = save_if_possible


def describe_keeping() -> str:
    """Say that kernels are not kept for good, and what to do; empty where they are."""
    if lost is not None:
        return (
            f"compiled kernels cannot be kept in {folder}: {lost.strerror or lost}; "
            "set NUMBA_CACHE_DIR to a folder with room"
        )
    if _settings.DISABLE_JIT or (folder is not None and temporary is None):
        return ""
    until = f"only in {temporary}, until that is cleared" if temporary else "nowhere"
    return f"compiled kernels are kept {until}: {describe_unwritable()}"


def describe_unwritable() -> str:
    """Say which folders cannot be written to, and what to do."""
    given, beside = _settings.CACHE_DIR, Path(__file__).with_name("__pycache__")
    places = f"{given} (NUMBA_CACHE_DIR), {beside}" if given else f"{beside}"
    return (
        f"neither {places} nor the user's cache folder is "
        "writable; set NUMBA_CACHE_DIR to a folder that is"
    )


def environment() -> dict[str, str]:
    """Return the environment in which another process keeps kernels in the same folder."""
    return os.environ | ({"NUMBA_CACHE_DIR": str(temporary)} if temporary else {})


def _decorator(**options: bool) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        with _kept_in(temporary):
            made = _njit(cache=folder is not None, nogil=True, **options)(function)
        if folder is not None:
            _keep_if_possible(made)
        return made

    return decorate


#: A kernel that Python calls. Compiled on first use, kept on disk, releases the GIL.
kernel = _decorator(no_cfunc_wrapper=True)

#: A part of kernels that only they call. It has no entry from Python: unboxing tuples of dozens
#: of arrays made up most of the compile time.
part = _decorator(no_cfunc_wrapper=True, no_cpython_wrapper=True)


class _Refusal(event.Listener):
    """Keeps one thread from compiling."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def on_start(self, event: Any) -> None:
        if threading.get_ident() == self.thread:
            raise NotCompiledError

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def loading_only() -> Iterator[None]:
    """Let this thread load kernels, and raise `NotCompiledError` where it would compile one."""
    with event.install_listener("numba:compile", _Refusal()):
        yield
