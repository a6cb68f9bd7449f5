"""Exit codes: the documented ones, the defined ones and those that commands end with are one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import talos_opt.api as api
from talos_opt.cli import exits
from talos_opt.cli.main import main
from talos_opt.cli.parser import EXIT_CODES
from talos_opt.core.errors import SolverError
from tests.cli.process import FIG1, ROOT

Prepare = Callable[[pytest.MonkeyPatch, Path], list[str]]


def solvable(patch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    return ["solve", str(FIG1)]


def infeasible(patch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    device = {"id": "c", "kind": "cpu", "memory": 1}
    ops = [{"id": name, "time": {"cpu": 1}, "memory": {"weights": 1}} for name in "ab"]
    graph = {"schema": "talos-graph/1", "cluster": {"devices": [device]}, "ops": ops}
    path = folder / "graph.json"
    path.write_text(json.dumps(graph))
    return ["solve", str(path)]


def missing(patch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    return ["solve", str(folder / "nowhere.yaml")]


def raising(error: BaseException) -> Prepare:
    def prepare(patch: pytest.MonkeyPatch, folder: Path) -> list[str]:
        def fail(*_: object, **__: object) -> None:
            raise error

        patch.setattr(api, "solve", fail)
        return ["solve", str(FIG1)]

    return prepare


CASES: dict[str, Prepare] = {
    "SOLVED": solvable,
    "NO_SCHEDULE": infeasible,
    "BAD_INPUT": missing,
    "SOLVER_FAILED": raising(SolverError("the backend crashed")),
    "INTERRUPTED": raising(KeyboardInterrupt()),
    "INTERNAL": raising(RuntimeError("a bug")),
}
CODES = {name: code for name, code in vars(exits).items() if name.isupper()}


@pytest.mark.parametrize("name", CODES)
def test_a_command_ends_with_each_code(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main(CASES[name](monkeypatch, tmp_path)) == CODES[name]


def test_the_codes_are_documented_and_no_others() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    table = re.search(r"^\| exit code .*?\n\n", text, re.MULTILINE | re.DOTALL)
    assert table
    documented = [int(code) for code in re.findall(r"^\| (\d+) \|", table[0], re.MULTILINE)]
    assert sorted(documented) == sorted(CODES.values())
    assert sorted(map(int, re.findall(r"\b\d+\b", EXIT_CODES))) == sorted(CODES.values())
