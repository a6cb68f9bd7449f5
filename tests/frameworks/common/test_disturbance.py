"""What other processes take is told from what this one does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from talos_opt.frameworks.common.disturbance import Others, note_of

SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def stat(path: Path, user: float, idle: float, guest: float = 0) -> Path:
    ticks = [user, 0, 0, idle, 0, 0, 0, 0, guest, 0]
    path.write_text("cpu  " + " ".join(str(int(t * SECOND)) for t in ticks) + "\ncpu0 0\n")
    return path


def test_what_is_busy_and_not_ours_is_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [1.0]
    monkeypatch.setattr(os, "times", lambda: (own[0], 0.0, 0.0, 0.0, 0.0))
    others = Others(stat(tmp_path / "stat", 10, 10))
    assert others.share() is None, "no time has passed"
    own[0] += 6.0
    stat(tmp_path / "stat", 20, 20, guest=5)  # guests are among the users
    assert others.share() == pytest.approx(4 / 20)
    stat(tmp_path / "stat", 12, 20)  # ticks are coarse: never less than nothing
    assert others.share() == 0


def test_where_the_system_does_not_tell_nothing_is_known(tmp_path: Path) -> None:
    assert Others(tmp_path / "none").share() is None
    (tmp_path / "odd").write_text("cpu one two\n")
    assert Others(tmp_path / "odd").share() is None


def test_a_little_is_not_worth_a_note() -> None:
    assert note_of(None) == note_of(0.03) == ""
    assert note_of(0.25).startswith("other processes took 25% of the CPU meanwhile")
