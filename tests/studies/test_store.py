"""The database: what is refused, and who may write."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from talos_opt.cli.main import main
from talos_opt.core.errors import FormatError
from talos_opt.studies.store import APPLICATION, VERSION, Store, pack, unpack


def show(path: Path) -> int:
    return main(["sweep", "show", str(path)])


def test_files_of_others_are_refused_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.db"
    assert show(path) == 2
    assert not path.exists()
    path.write_text("no database, but long enough to be taken for one " * 40)
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(FormatError, match="not a database"):
            Store(path, create=create)
    assert path.read_bytes() == before
    other = tmp_path / "b.db"
    with sqlite3.connect(other) as base:
        base.execute("CREATE TABLE mine (x)")
    with pytest.raises(FormatError, match="database of something else"):
        Store(other, create=True)
    capsys.readouterr()


def test_another_version_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.db"
    Store(path, create=True).close()
    base = sqlite3.connect(path)
    assert base.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
    base.execute(f"PRAGMA user_version = {VERSION + 1}")
    base.close()
    assert show(path) == 2
    assert f"version {VERSION + 1}, expected version {VERSION}" in capsys.readouterr().err


def test_two_studies_or_processes_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Store(path, create=True) as store:
        store.plan("one", [])
        with pytest.raises(FormatError, match="results of study 'one'"):
            store.plan("two", [])
    base = sqlite3.connect(path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (owner,) = base.execute("SELECT value FROM meta WHERE key = 'owner'").fetchone()
    host = owner.rpartition(" ")[0]
    with base:
        base.execute(f"UPDATE meta SET value = '{host} {child.pid}' WHERE key = 'owner'")
    base.close()
    try:
        with Store(path, create=True) as store, pytest.raises(FormatError, match="in use by"):
            store.plan("one", [])
    finally:
        child.communicate()
    with Store(path, create=True) as store:
        store.plan("one", [])  # its owner is gone


def test_packing_is_undone() -> None:
    document = {"ops": [{"op": "é", "start": 0.1}] * 50}
    assert unpack(pack(document)) == document
    assert len(pack(document)) < 200


def test_a_study_is_cut_as_it_was_at_first_unless_told_otherwise(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db", create=True) as store:
        assert store.keep_pieces(None, 4) == 4
        assert store.keep_pieces(None, 2) == 4  # fewer workers are there today
        assert store.keep_pieces(1, 2) == 1
        assert store.keep_pieces(None, 2) == 1
