"""What a release says: checks that tag, version and changelog agree, and prints the section.

python -m tests.release v0.2.0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"


def notes(tag: str, version: str, changelog: str) -> str:
    """Return the changelog's section for a tag.

    Raises
    ------
    ValueError
        If the tag is not that of the version, or the section is missing, empty or undated.
    """
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, expected v{version}, as talos_opt/version.py says")
    found = re.search(
        rf"^## \[{re.escape(version)}\](.*?)$(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise ValueError(f"CHANGELOG.md has no section [{version}]")
    if not re.fullmatch(r" - \d{4}-\d\d-\d\d", found[1]):
        raise ValueError(f"the section [{version}] of CHANGELOG.md has no date: {found[1]!r}")
    if not found[2].strip():
        raise ValueError(f"the section [{version}] of CHANGELOG.md is empty")
    return found[2].strip() + "\n"


def main() -> int:
    """Print the notes; 1 if something does not agree."""
    from talos_opt import __version__

    try:
        print(notes(sys.argv[1], __version__, CHANGELOG.read_text()), end="")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
