"""``python -m models.zoo [--check]``: write the files of ``models/``, or compare them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from models.zoo.catalogue import FILES
from models.zoo.clusters import cluster_files
from models.zoo.readme import with_table
from models.zoo.write import graph_text

FOLDER = Path(__file__).resolve().parent.parent


def made_files() -> dict[str, str]:
    """Text of every file that the zoo makes, by its path relative to ``models/``."""
    texts = cluster_files()
    texts |= {f"{file.name}.yaml": graph_text(file) for file in FILES}
    texts["README.md"] = with_table((FOLDER / "README.md").read_text(encoding="utf-8"))
    return texts


def stale_files() -> list[str]:
    """Paths of files that are missing or differ from what the zoo makes."""
    return [path for path, text in made_files().items() if _on_disk(path) != text.encode()]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 1 if a check finds a stale file."""
    parser = argparse.ArgumentParser(prog="python -m models.zoo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name stale files")
    if parser.parse_args(arguments).check:
        stale = stale_files()
        for path in stale:
            print(f"stale: models/{path}")
        return 1 if stale else 0
    for path, text in made_files().items():
        (FOLDER / path).write_bytes(text.encode())
    return 0


def _on_disk(path: str) -> bytes | None:
    file = FOLDER / path
    return file.read_bytes() if file.exists() else None


if __name__ == "__main__":
    sys.exit(main())
