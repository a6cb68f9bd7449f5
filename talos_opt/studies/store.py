"""The file of a study: one SQLite database, which holds each result as soon as there is one.

It keeps a rollback journal, not a write-ahead log: between transactions the one file is all there
is, and what a killed process leaves half written the next reader rolls back. docs/studies.md
describes the tables.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from talos_opt.core.errors import FormatError
from talos_opt.studies.cases import Case

#: Of the tables; a file of another version is refused.
VERSION = 1
#: How SQLite knows the file for one of ours: "TALO".
APPLICATION = 0x54414C4F

#: Seconds to wait for another process that reads or writes.
_PATIENCE = 30.0

#: Columns of a result, in order.
COLUMNS = (
    "fingerprint", "status", "value", "lower_bound", "gap", "time_unit", "runtime_s", "wall_s",
    "threads", "peak_bytes", "warm_start", "bound_from", "reason", "metrics", "schedule", "ended",
)  # fmt: skip

_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE cases (
    number INTEGER PRIMARY KEY, graph TEXT NOT NULL, cluster TEXT NOT NULL,
    objective TEXT NOT NULL, solver TEXT NOT NULL, seed INTEGER NOT NULL,
    parameters TEXT NOT NULL, time_limit REAL NOT NULL, price REAL, fingerprint TEXT NOT NULL
);
CREATE TABLE results (
    fingerprint TEXT PRIMARY KEY, status TEXT NOT NULL, value REAL, lower_bound REAL, gap REAL,
    time_unit TEXT, runtime_s REAL, wall_s REAL, threads INTEGER, peak_bytes INTEGER,
    warm_start TEXT, bound_from TEXT, reason TEXT, metrics TEXT, schedule BLOB, ended TEXT NOT NULL
);
CREATE TABLE starts (fingerprint TEXT NOT NULL, time TEXT NOT NULL);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""

#: Outcomes that are a failure of the solve, not an answer.
FAILURES = ("failed", "crashed")


class Store:
    """A study's database.

    Parameters
    ----------
    path : str or path
    create : bool
        Make one where there is none; otherwise that is an error.

    Raises
    ------
    FormatError
        If the file is not a database of this version, or cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        self.name = os.fspath(path)
        if not create and not Path(path).is_file():
            raise FormatError("does not exist, expected the results of a study", source=self.name)
        with self._blamed():
            self._base = self._connect(create=create)
            try:
                self._settle(create=create)
            except BaseException:
                self._base.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _connect(self, *, create: bool) -> sqlite3.Connection:
        # Also a reader needs to write, where a killed writer left a transaction to roll back.
        modes = ("rwc",) if create else ("rw", "ro")
        uri = Path(self.name).absolute().as_uri()
        for mode in modes:
            base = sqlite3.connect(
                f"{uri}?mode={mode}",
                uri=True,
                isolation_level=None,
                timeout=_PATIENCE,
                check_same_thread=False,
            )
            base.row_factory = sqlite3.Row
            try:
                base.execute("PRAGMA user_version").fetchone()
            except sqlite3.OperationalError:
                base.close()
                if mode == modes[-1]:
                    raise
            else:
                break
        return base

    def _settle(self, *, create: bool) -> None:
        """Make the tables of a new file; refuse one that is not ours."""
        found = self._base.execute("PRAGMA application_id").fetchone()[0]
        version = self._base.execute("PRAGMA user_version").fetchone()[0]
        empty = not self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if empty and not found and create:
            with self._transaction():
                for statement in _TABLES.split(";"):
                    self._base.execute(statement)
        elif empty and not found:
            raise FormatError("is empty, expected the results of a study", source=self.name)
        elif found != APPLICATION:
            raise FormatError(
                "is a database of something else, expected the results of a study",
                source=self.name,
            )
        elif version != VERSION:
            raise FormatError(
                f"has results of version {version}, expected version {VERSION}", source=self.name
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._blamed():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise FormatError(f"cannot be used: {error}", source=self.name) from None

    def plan(self, study: str, cases: Sequence[Case]) -> None:
        """Put the cases of a study in place of those before; results stay.

        Raises
        ------
        FormatError
            If the file is that of another study, or another process is at work on it.
        """
        with self._transaction():
            self._take(study)
            self._base.execute("DELETE FROM cases")
            self._base.executemany(
                "INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        case.number, case.graph, case.cluster, case.objective, case.solver,
                        case.seed, json.dumps(case.parameters), case.time_limit, case.price,
                        case.fingerprint,
                    )
                    for case in cases
                ],
            )  # fmt: skip

    def _take(self, study: str) -> None:
        meta = self._meta()
        if meta.get("study", study) != study:
            raise FormatError(
                f"has the results of study {meta['study']!r}, expected those of {study!r}: "
                "name another file with -o",
                source=self.name,
            )
        owner = meta.get("owner", "")
        if owner and _lives(owner):
            raise FormatError(
                f"is in use by another sweep, process {owner.rpartition(' ')[2]}", source=self.name
            )
        self._base.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [("study", study), ("owner", f"{socket.gethostname()} {os.getpid()}")],
        )

    def release(self) -> None:
        """Let other processes take the study."""
        with self._transaction():
            self._base.execute("DELETE FROM meta WHERE key = 'owner'")

    def keep_pieces(self, wanted: int | None, default: int) -> int:
        """Return in how many pieces lines of neighbours are cut: as before, unless told otherwise.

        So who starts from whom does not depend on how many workers there are when a study goes on.
        """
        with self._transaction():
            pieces = wanted or int(self._meta().get("pieces", default))
            self._base.execute("INSERT OR REPLACE INTO meta VALUES ('pieces', ?)", (str(pieces),))
        return pieces

    def _meta(self) -> dict[str, str]:
        return dict(self._base.execute("SELECT key, value FROM meta").fetchall())

    def study(self) -> str:
        """Return the name of the study."""
        with self._blamed():
            return self._meta().get("study", "")

    def finished(self, *, retry: bool = False) -> set[str]:
        """Return the fingerprints of what has a result; with `retry`, of what has not failed."""
        with self._blamed():
            rows = self._base.execute("SELECT fingerprint, status FROM results").fetchall()
        return {row[0] for row in rows if not (retry and row[1] in FAILURES)}

    def start(self, fingerprint: str) -> None:
        """Note that a solve begins."""
        with self._transaction():
            self._base.execute("INSERT INTO starts VALUES (?, ?)", (fingerprint, _now()))

    def finish(self, fingerprint: str, row: dict[str, Any]) -> None:
        """Keep a result: what `COLUMNS` name, less the fingerprint and the time."""
        values = row | {"fingerprint": fingerprint, "ended": _now()}
        marks = ", ".join("?" * len(COLUMNS))
        with self._transaction():
            self._base.execute(
                f"INSERT OR REPLACE INTO results VALUES ({marks})",
                [values.get(name) for name in COLUMNS],
            )

    def result(self, fingerprint: str) -> dict[str, Any] | None:
        """Return a result, with its packed schedule; None where there is none."""
        with self._blamed():
            found = self._base.execute(
                "SELECT * FROM results WHERE fingerprint = ?", (fingerprint,)
            ).fetchone()
        return None if found is None else dict(found)

    def rows(self) -> list[dict[str, Any]]:
        """Return all cases with their results, less schedules; `status` is None where pending."""
        wanted = [f"results.{name}" for name in COLUMNS if name not in ("fingerprint", "schedule")]
        with self._blamed():
            found = self._base.execute(
                f"SELECT cases.*, {', '.join(wanted)} FROM cases LEFT JOIN results USING "
                "(fingerprint) ORDER BY number"
            ).fetchall()
        rows = [dict(row) for row in found]
        for row in rows:
            row["parameters"] = json.loads(row["parameters"])
            row["metrics"] = json.loads(row["metrics"]) if row["metrics"] else None
        return rows

    def starts(self) -> dict[str, int]:
        """Return how often each case was begun."""
        with self._blamed():
            rows = self._base.execute(
                "SELECT fingerprint, count(*) FROM starts GROUP BY fingerprint"
            ).fetchall()
        return {row[0]: row[1] for row in rows}


def pack(document: object) -> bytes:
    """Return a document as compressed JSON."""
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 6)


def unpack(data: bytes) -> Any:
    """Return the document in compressed JSON."""
    return json.loads(zlib.decompress(data))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _lives(owner: str) -> bool:
    """Tell whether the process that took a study is another one that is still there."""
    host, _, number = owner.rpartition(" ")
    if host != socket.gethostname() or number == str(os.getpid()) or os.name != "posix":
        return False  # elsewhere, signal 0 is not a question
    with suppress(ProcessLookupError, ValueError):
        try:
            os.kill(int(number), 0)
        except PermissionError:
            return True
        return True
    return False
