"""Standard output and error, as other programs see them; and the list of solvers."""

from __future__ import annotations

import json
import subprocess

import pytest

import talos_opt.api as api
from talos_opt.cli.main import main
from tests.cli.process import COMMAND, FIG1, ROOT, run

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("solver", ["auto", "cpsat", "ilp", "talos"])
def test_json_alone_is_on_standard_output(solver: str) -> None:
    done = run("solve", FIG1, "--solver", solver, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["value"] == 9
    assert done.stderr == ""


def test_cbc_keeps_quiet_too() -> None:
    done = run("solve", FIG1, "--solver", "ilp", "--option", "ilp.backend=cbc", "--json")
    assert json.loads(done.stdout)["value"] == 9
    assert done.stderr == ""


@pytest.mark.parametrize(
    "argv",
    [
        ("solve", FIG1, "--json"),
        ("convert", ROOT / "models" / "mix_serving.yaml", "-o", "-"),
        ("solvers",),
    ],
    ids=lambda argv: argv[0],
)
def test_a_reader_that_leaves_is_no_error(argv: tuple[object, ...]) -> None:
    with subprocess.Popen(
        [*COMMAND, *map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == ""
    assert command.returncode == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_streams_are_no_error(closed: str) -> None:
    command = " ".join([*COMMAND, "solve", str(FIG1), closed])
    assert subprocess.run(["sh", "-c", command], timeout=60, check=False).returncode == 0


def test_a_full_disk_is_told() -> None:
    command = " ".join([*COMMAND, "solvers", ">/dev/full"])
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_solvers_are_listed(capsys: Capture) -> None:
    assert main(["solvers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [info.name for info in api.solvers()]
    assert [line.split()[0] for line in lines] == ["solver", *names]
    kinds = ["exact" if info.exact else "heuristic" for info in api.solvers()]
    assert [line.split()[1] for line in lines[1:]] == kinds
    assert main(["solvers", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [item["name"] for item in document["solvers"]] == names
    assert all(item["summary"] and item["covers"] for item in document["solvers"])
