"""Names from files do not reach a terminal as they are."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from talos_opt.cli.main import main
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.reports.texts.tables import visible
from tests.cli.process import OnTerminal

Capture = pytest.CaptureFixture[str]

#: Clears the screen, sets the title, goes on, reverses, and starts a line that is no answer.
EVIL = "\x1b[2J\x1b]0;t\x07\r\x9b\u202e\u2066\u2028\nfeasible"
SHOWN = r"\x1b[2J\x1b]0;t\x07\r\x9b\u202e\u2066\u2028\nfeasible"


def graph(**op: Any) -> dict[str, Any]:
    return {
        "schema": "talos-graph/1",
        "name": f"n{EVIL}",
        "cluster": {
            "devices": [{"id": f"c{EVIL}", "kind": "cpu"}, {"id": f"g{EVIL}", "kind": "gpu"}],
            "links": [{"between": ["cpu", "gpu"], "latency": 0.1}],
        },
        "models": [
            {
                "id": f"m{EVIL}",
                "ops": [
                    {"id": f"a{EVIL}", "type": f"t{EVIL}", "time": {"cpu": 5, "gpu": 1}},
                    {
                        "id": f"b{EVIL}",
                        "type": f"t{EVIL}",
                        "time": {"cpu": 1, "gpu": 9},
                        "inputs": [f"a{EVIL}"],
                        **op,
                    },
                ],
            }
        ],
    }


def require_clean(text: str) -> None:
    wrong = {char for char in text if char != "\n" and not char.isprintable()}
    assert not wrong, (wrong, text)
    assert all(not line.strip().startswith("feasible") for line in text.split("\n")[1:]), text


def test_every_command(capsys: Capture, tmp_path: Path) -> None:
    path, answer = tmp_path / "g.json", tmp_path / "s.json"
    path.write_text(json.dumps(graph()))
    assert main(["solve", str(path), "-o", str(answer)]) == 0
    broken = json.loads(answer.read_text())
    broken["ops"][1] |= {"start": 0.0, "end": 1.0}
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    other = json.loads(answer.read_text()) | {"graph": f"x{EVIL}"}
    (tmp_path / "other.json").write_text(json.dumps(other))
    op = f"m{EVIL}/b{EVIL}"
    for code, command in (
        (0, ["solve", path]),
        (0, ["compare", path, "--solvers", "heft,ilp"]),
        (0, ["analyze", path]),
        (0, ["check", path, answer]),
        (1, ["check", path, tmp_path / "broken.json"]),
        (0, ["check", path, tmp_path / "other.json"]),
        (0, ["explain", path, answer, op]),
        (0, ["simulate", path, answer, "--samples", "3"]),
        (0, ["trace", path, answer, "-o", tmp_path / "t.json"]),
        (0, ["speedups", tmp_path / "t.json", tmp_path / "t.json", "--reference-process", "g"]),
        (2, ["export", path, answer, "--to", "device-map", "-o", "-"]),
        (2, ["explain", path, answer, f"no{EVIL}"]),
    ):
        capsys.readouterr()
        found = main(list(map(str, command)))
        out, err = capsys.readouterr()
        require_clean(out)
        require_clean(err)
        if command[0] != "speedups":
            assert found == code, (command, err)
            assert command[0] in ("check", "trace") or SHOWN in out + err, command


def test_errors_in_graphs(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    for edit in (
        {"inputs": [f"z{EVIL}"]},
        {"devices": [f"z{EVIL}"]},
        {"time": {f"z{EVIL}": 1}},
        {"memory": f"1{EVIL}"},
        {f"key{EVIL}": 1},
        {"id": f"a{EVIL}"},
        {"inputs": [f"b{EVIL}"]},
    ):
        path.write_text(json.dumps(graph(**edit)))
        assert main(["solve", str(path)]) == 2
        err = capsys.readouterr().err
        require_clean(err)
        assert err.count("\n") == 1
        assert r"\x1b[2J" in err


def test_json_is_left_alone(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    path.write_text(json.dumps(graph()))
    assert main(["solve", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["graph"] == f"n{EVIL}"
    assert document["ops"][0]["model"] == f"m{EVIL}"


def test_a_terminal_too(tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    path.write_text(json.dumps(graph()))
    code, out = OnTerminal("solve", path, "--solver", "heft").finish()
    assert code == 0
    assert "\x1b[2J" not in out
    assert "\x9b" not in out
    assert "\u202e" not in out


def test_what_is_printable_stays() -> None:
    for text in ("", "MobileNet v2", "é 漢字 ü", r"C:\x1b", "a\u0301"):
        assert visible(text) == text
    for char in map(chr, range(0x3000)):
        kind = unicodedata.category(char)
        if kind.startswith("C") or kind in ("Zl", "Zp"):
            assert visible(f"a{char}b").isprintable()


def test_streams(capsys: Capture) -> None:
    emit("a\x1b[1mb\x1b[0m\x1b[31m\nc\r")
    emit_json("d\u202e")
    complain("e\nf", "g")
    out, err = capsys.readouterr()
    assert out == "a\x1b[1mb\x1b[0m\\x1b[31m\nc\\r\nd\u202e\n"
    assert err == "e\\nf\ng\n"


def test_arguments() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "talos_opt", f"so{EVIL}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    require_clean(done.stderr)
