"""``solve --samples``: what is printed and written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from talos_opt.cli.main import main
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]


def solve(*argv: object) -> int:
    return main(["solve", str(FIG1), "--time-limit", "8", *map(str, argv)])


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talos_opt.solvers.robust.search._MOST", 400)


def test_the_plan_is_shown_beside_the_nominal_one_and_written(
    tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "robust.json"
    assert solve("--noise", "30%", "--risk", "cvar:0.75", "-o", path) == 0
    text = capsys.readouterr().out
    assert "varied by 30 %, searched on 20 samples, estimated on 1000 fresh ones" in text
    assert "mean of the worst 25 % (95 % interval)" in text
    assert "proven: no plan has a mean below " in text
    document = json.loads(path.read_text())
    robust = document["robust"]
    assert (robust["risk"], robust["noise"], robust["samples"]) == ("cvar:0.75", 0.3, 20)
    assert robust["chosen"]["value"] == document["value"]
    for key in robust["proven"] + robust["estimated"]:
        first, _, second = key.partition(".")
        assert (robust[first][second] if second else robust[first]) is not None
    assert main(["check", str(FIG1), str(path)]) == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--samples", 0), "'0' is not a whole number of at least 1"),
        (("--samples", 10_001), "expected a whole number from 1 to 10000"),
        (("--noise", "-1"), "'-1' is not a share from 0 to 100"),
        (("--risk", "worst"), "risk is 'worst', expected mean, or cvar:"),
        (("--samples", 5, "--objective", "memory"), "do not cover the objective memory"),
        (("--samples", 5, "--dask", "local"), "--samples asks for a robust plan, which is not"),
        (("--samples", 5, "--worth", "1%"), "worth has no effect on robust plans"),
    ],
)
def test_what_is_not_possible_is_said_in_one_line(
    argv: tuple[object, ...], message: str, capsys: Capture
) -> None:
    try:
        code: object = solve(*argv)
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert len(error.splitlines()) == 1
