"""Where answers are written: found out before the work, not after it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.formats.emit import Layout, json_lines, lines_of
from talos_opt.formats.source import STREAM, split_suffix
from talos_opt.formats.target import write_lines

#: Suffixes of the text formats, each also with ``.gz``.
SUFFIXES = (".json", ".yaml", ".yml")

#: How a comparison is spread over lines: a row each.
COMPARISON: Layout = {"rows": []}


def require_writable(
    target: str | None, suffixes: tuple[str, ...] = SUFFIXES, *, packed: bool = True
) -> None:
    """Refuse a file that cannot be written, before anything is solved for it.

    Parameters
    ----------
    target : str or None
        None: nothing will be written.
    suffixes : tuple of str
        Those that the writer knows; empty: any.
    packed : bool
        Whether each may be followed by ``.gz``.

    Raises
    ------
    InputError
        If it is a folder, its suffix is unknown, or its folder is missing or takes no new file.
    """
    if target is None:
        return
    if target == STREAM:
        raise InputError("- is standard output, expected a file")
    path = Path(target)
    if path.is_dir():
        raise InputError("is a folder, expected a file to write", source=target)
    suffix = split_suffix(path.name)[1] if packed else path.suffix.lower()
    if suffixes and suffix not in suffixes:
        found = f"suffix {suffix!r} is unknown" if suffix else "has no suffix"
        more = ", or with .gz" if packed else ""
        raise InputError(f"{found}, expected one of {', '.join(suffixes)}{more}", source=target)
    if path.exists() and not path.is_file():
        return  # a device or a pipe: written to directly
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder} to write into", source=target)
    try:
        # Asking for permissions says nothing on a full or read-only disk, or as root.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", source=target) from None


def stream_as_json(args: argparse.Namespace) -> None:
    """Take ``-o -`` for ``--json``, where the two are of the same document."""
    if args.output == STREAM:
        args.json, args.output = True, None


def require_target(
    args: argparse.Namespace, suffixes: tuple[str, ...], *, packed: bool = True
) -> None:
    """Refuse what ``-o`` names if it cannot be written; ``-`` is standard output.

    Raises
    ------
    InputError
        See `require_writable`; or if ``--json`` wants standard output too.
    """
    if args.output != STREAM:
        require_writable(args.output, suffixes, packed=packed)
    elif args.json:
        raise InputError("-o - and --json both write to standard output, expected one of them")


def write_comparison(document: Mapping[str, Any], target: str) -> None:
    """Write a comparison, as JSON or YAML by the suffix.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    write_lines(lines_of(dict(document), COMPARISON, split_suffix(target)[1]), target)


def to_json(document: Mapping[str, Any], layout: Layout) -> str:
    """Return a document as JSON text that a person can read: one op or row a line."""
    return "\n".join(json_lines(dict(document), layout))
