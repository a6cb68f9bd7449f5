"""Run the examples of a Markdown page, in order, as a reader would type them.

Commands are the lines of ``console`` blocks that start with ``$``, code is that of ``python``
blocks; a block with a ``title`` is a file that later ones use. CONTRIBUTING.md has the rules.
``python -m website.examples README.md`` runs pages and says what failed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger("mkdocs.plugins.website")

ROOT = Path(__file__).resolve().parents[1]
#: Folders of the repository that a page's commands find beside them.
SHARED = ("models", "examples", "solver_configs", "benchmarks")
#: Seconds after which a command hangs.
PATIENCE = 120.0
#: Characters of a line of output that a page of the site has room for.
WIDTH = 108

_FENCE = re.compile(r"^```(?P<language>\w*)(?P<rest>[^`]*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_NEEDS = re.compile(r"^> \*\*Needs\*\* (.*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Parameters
    ----------
    language, title : str
        As behind the fence; empty where there is none.
    text : str
        The lines between the fences.
    line : int
        Line of the opening fence, from 1.
    needs : str
        What has to be there to run it, in the page's words.
    """

    language: str
    title: str
    text: str
    line: int
    needs: str

    @property
    def missing(self) -> str:
        """What is needed and absent; empty: nothing."""
        modules = re.findall(r"`([\w.]+)`", self.needs)
        absent = [name for name in modules if importlib.util.find_spec(name) is None]
        return self.needs if absent or (self.needs and not modules) else ""


@dataclass(frozen=True)
class Outcome:
    """What became of a block: text to show in its place, or why it was not run."""

    line: int
    text: str
    skipped: str = ""


def _wrapped(output: str) -> str:
    """Return output with its long sentences on several lines; tables stay as they are."""
    return "".join(f"{part}\n" for line in output.splitlines() for part in _parts(line))


def _parts(line: str) -> list[str]:
    # More than a label before a sentence is a row of a table; words without an end are no sentence.
    gaps = list(re.finditer(r"(?<=\S) {2,}(?=\S)", line))
    longest = max(map(len, line.split()), default=0)
    if len(line) <= WIDTH or len(gaps) > 1 or longest > WIDTH // 2:
        return [line]
    indent = gaps[0].end() if gaps else 2
    return textwrap.wrap(
        line,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


class ExampleError(Exception):
    """An example does not do what its page says."""


def read_blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page, with what the lines before them say that they need."""
    blocks: list[Block] = []
    page_needs = needs = ""
    level = 0
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if heading := re.match(r"(#+) ", line):
            level = len(heading[1])
            needs = page_needs
        elif said := _NEEDS.match(line):
            needs = said[1]
            page_needs = needs if level == 1 else page_needs
        elif fence := _FENCE.match(line):
            body = []
            for _, inner in lines:
                if inner == "```":
                    break
                body.append(f"{inner}\n")
            title = _TITLE.search(fence["rest"])
            name = title[1] if title else ""
            blocks.append(Block(fence["language"], name, "".join(body), number, needs))
    return blocks


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Yield the commands of a console block, each with the output that the page shows."""
    parts = re.split(r"^\$ ((?:.*\\\n)*.*)\n", block.text, flags=re.MULTILINE)
    yield from zip(parts[1::2], parts[2::2], strict=True)


class Runner:
    """Runs the blocks of one page in one folder."""

    def __init__(self, page: str, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__page__"}

    def run(self, blocks: Sequence[Block]) -> list[Outcome]:
        """Run all blocks; return what to show in the place of those that have something to show.

        Raises
        ------
        ExampleError
        """
        outcomes = []
        printed: str | None = None  # by the block before
        for block in blocks:
            shown, printed = printed, None
            if block.language == "text" and shown is not None:
                outcomes.append(Outcome(block.line, _wrapped(shown)))
            elif not block.title and block.language not in ("console", "python"):
                continue
            elif block.missing:
                outcomes.append(Outcome(block.line, block.text, block.missing))
            elif block.title:
                path = self.folder / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
            elif block.language == "console":
                outcomes.append(Outcome(block.line, self.console(block)))
            else:
                printed = self.python(block)
        return outcomes

    def console(self, block: Block) -> str:
        """Run commands one by one; return them with what they print."""
        pairs = list(commands(block))
        code, text = 0, ""
        for number, (command, expected) in enumerate(pairs):
            asked = command.strip() == "echo $?"
            output = f"{code}\n" if asked else ""
            if asked and expected.strip() != str(code):
                raise self.error(block, f"the code was {code}, the page says {expected.strip()}")
            if not asked:
                code, output = self.call(block, command)
                follows = pairs[number + 1][0].strip() if number + 1 < len(pairs) else ""
                if code and follows != "echo $?":
                    raise self.error(block, f"{command!r} ended with {code}:\n{output}")
            text += f"$ {command}\n{_wrapped(output)}"
        return text

    def call(self, block: Block, command: str) -> tuple[int, str]:
        """Return exit code and output of a command."""
        try:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self.error(block, f"{command!r} took more than {PATIENCE:g} s") from None
        output = done.stdout
        return done.returncode, output if output.endswith("\n") or not output else f"{output}\n"

    def python(self, block: Block) -> str:
        """Run code after that of the blocks before; return what it prints."""
        code = "\n" * block.line + block.text  # so that a traceback has the page's line
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                exec(compile(code, self.page, "exec"), self.names)
            except Exception as error:
                frames = traceback.extract_tb(error.__traceback__)
                lines = [frame.lineno for frame in frames if frame.filename == self.page]
                said = "".join(traceback.format_exception_only(error)).strip()
                place = lines[-1] if lines else block.line
                raise self.error(block, f"line {place}: {said}") from None
        return printed.getvalue()

    def error(self, block: Block, what: str) -> ExampleError:
        """Return the error that an example does not do what the page says."""
        return ExampleError(f"{self.page}:{block.line}: {what}")


def _prepare(folder: Path) -> None:
    """Make an empty folder in which the repository's own files are at hand."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in SHARED:
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment in which ``talos-opt`` and ``python`` are those of this checkout."""
    tools = folder.parent / f"{folder.name}.bin"
    tools.mkdir(exist_ok=True)
    for name, arguments in (("talos-opt", "-m talos_opt"), ("python", "")):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
        tool.chmod(0o755)
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONWARNINGS": "ignore",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",  # pages run side by side; threads would wait for each other, busily
        "COLUMNS": "100",
    }


def run_page(page: Path, folder: Path) -> list[Outcome]:
    """Run the examples of a page in a process of their own.

    Parameters
    ----------
    page : Path
        A Markdown file in the repository.
    folder : Path
        Made anew; what the examples write is in it afterwards.

    Raises
    ------
    ExampleError
    """
    page, folder = page.resolve(), folder.resolve()
    text = page.read_text(encoding="utf-8")
    blocks, digest = read_blocks(text), hashlib.sha256(text.encode()).hexdigest()
    if not any(block.title or block.language in ("console", "python") for block in blocks):
        return []
    result = folder.parent / f"{folder.name}.json"
    if os.environ.get("TALOS_DOCS_REUSE") and result.exists():
        known = json.loads(result.read_text(encoding="utf-8"))
        if known["digest"] == digest:
            return [Outcome(**row) for row in known["outcomes"]]
    result.unlink(missing_ok=True)
    _prepare(folder)
    done = subprocess.run(
        [sys.executable, "-m", "website.examples", "--into", str(result), str(page)],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ExampleError(done.stderr.strip())
    found = json.loads(result.read_text(encoding="utf-8"))
    result.write_text(json.dumps({**found, "digest": digest}), encoding="utf-8")
    name, seconds = page.relative_to(ROOT), found["seconds"]
    log.info(f"{name}: examples took {seconds:.1f} s of processor time")
    return [Outcome(**row) for row in found["outcomes"]]


def scratch_name(page: Path) -> str:
    """Return the name of the folder in which the examples of a page run."""
    return str(page.resolve().relative_to(ROOT).with_suffix("")).replace("/", "-")


def run_pages(pages: Sequence[Path], folder: Path) -> dict[Path, list[Outcome]]:
    """Run the examples of pages, as many at a time as there are cores.

    Raises
    ------
    ExampleError
        Of all pages that failed, together.
    """
    errors: list[str] = []

    def one(page: Path) -> list[Outcome]:
        try:
            return run_page(page, folder / scratch_name(page))
        except ExampleError as error:
            errors.append(str(error))
            return []

    # Those of a framework take longest: last, they would leave the other cores without work.
    first = sorted(pages, key=lambda page: "> **Needs** `" not in page.read_text(encoding="utf-8"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = dict(zip(first, pool.map(one, first), strict=True))
    if errors:
        raise ExampleError("\n\n".join(errors))
    return outcomes


def _run_here(page: Path) -> list[Outcome]:
    shown = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else str(page)
    return Runner(shown, Path.cwd()).run(read_blocks(page.read_text(encoding="utf-8")))


def main() -> int:
    """Run the pages that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description="Run the examples of Markdown pages.")
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    parser.add_argument("--into", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if args.into:  # the process of one page
            outcomes = [asdict(outcome) for outcome in _run_here(args.pages[0])]
            result = {"seconds": sum(os.times()[:4]), "outcomes": outcomes}
            args.into.write_text(json.dumps(result), encoding="utf-8")
            return 0
        found = run_pages(args.pages, ROOT / "build" / "examples")
    except ExampleError as error:
        print(error, file=sys.stderr)
        return 1
    for page, rows in found.items():
        for row in rows:
            if row.skipped:
                print(f"{page}:{row.line}: skipped, needs {row.skipped}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
