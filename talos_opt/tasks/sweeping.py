"""`talos_opt.sweep`: all cases of a study, each result in a database at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from talos_opt.core import logs
from talos_opt.core.errors import SolverError
from talos_opt.studies.cases import list_cases
from talos_opt.studies.crews.asked import hire
from talos_opt.studies.running import Tally, run_study
from talos_opt.studies.store import Store
from talos_opt.studies.study import Study, read_study
from talos_opt.studies.tables import read_table


@dataclass(frozen=True)
class Swept:
    """What became of a study.

    Parameters
    ----------
    database : str
        File of the results.
    tally : Tally
        Of this run.
    statuses : dict of str to int
        How many cases there are of each status, those of former runs included.
    """

    database: str
    tally: Tally
    statuses: dict[str, int]

    @property
    def cases(self) -> int:
        """Number of cases of the study."""
        return sum(self.statuses.values())

    @property
    def complete(self) -> bool:
        """Whether each case has a schedule."""
        return self.statuses.get("optimal", 0) + self.statuses.get("feasible", 0) == self.cases


def sweep(
    study: Study | str | os.PathLike[str],
    database: str | os.PathLike[str] | None = None,
    *,
    workers: int | None = None,
    dask: str | None = None,
    retry: bool = False,
    on_workers: Callable[[int], None] | None = None,
    on_progress: Callable[[Tally], None] | None = None,
    cancel: threading.Event | None = None,
) -> Swept:
    """Solve the cases of a study that have no result yet: ``talos-opt sweep``.

    Parameters
    ----------
    study : Study or path
        docs/studies.md describes the file.
    database : path, optional
        Default: the study's name with ``.db``, beside its file. A killed sweep goes on there.
    workers : int, optional
        Processes, which share the cores; default: what the study says, or one for every four cores.
    dask : str, optional
        Address of a Dask scheduler, its scheduler file, or ``local``.
    retry : bool
        Whether cases that failed before are solved once more.
    on_workers : callable, optional
        Called once with how many Dask workers are there.
    on_progress : callable, optional
        Called with a `Tally` when it changes.
    cancel : threading.Event, optional
        Set it, from another thread, to stop: what is finished is kept.

    Returns
    -------
    Swept

    Raises
    ------
    InputError
        If the study cannot be read, or the database is another one's.
    SolverError
        If workers cannot go on; what is finished is kept.
    """
    if not isinstance(study, Study):
        study = read_study(os.fspath(study))
    target = database_of(study, database)
    cases = list_cases(study)
    logs.tell("start", f"study {study.name}", study=study.name, cases=len(cases), database=target)

    def told(tally: Tally) -> None:
        if on_progress is not None:
            on_progress(tally)
        logs.tell(
            "progress", f"{tally.done} of {tally.total} cases", study=study.name, done=tally.done,
            total=tally.total, failed=tally.failed, elapsed_s=tally.elapsed_s,
        )  # fmt: skip

    count = min(workers or study.workers, len({case.fingerprint for case in cases}))
    with hire(dask, count) as crew, Store(target, create=True) as store:
        store.plan(study.name, cases)
        if on_workers is not None:
            on_workers(crew.workers)
        try:
            tally = run_study(
                cases,
                store,
                crew,
                pieces=store.keep_pieces(workers, crew.workers or count),
                retry=retry,
                cancel=cancel or threading.Event(),
                on_progress=told,
            )
        except SolverError as error:
            raise SolverError(
                f"{error}; what is finished is kept in {target}, and the same command goes on"
            ) from error
        finally:
            store.release()
        found = Swept(target, tally, _statuses(store))
    logs.tell(
        "end", f"study {study.name}: {tally.solved} cases solved now", study=study.name,
        statuses=found.statuses, solved=tally.solved, failed=tally.failed,
        elapsed_s=tally.elapsed_s,
    )  # fmt: skip
    return found


def database_of(study: Study, database: str | os.PathLike[str] | None = None) -> str:
    """Return where the results of a study go, given or not."""
    if database is not None:
        return os.fspath(database)
    return str(study.source.folder / f"{study.name}.db")


def read_results(database: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return a row for each case of a study: ``talos-opt sweep show``.

    Parameters
    ----------
    database : path

    Returns
    -------
    list of dict
        With the keys that docs/cli.md lists for ``sweep show --json``; `pandas.DataFrame` takes it.

    Raises
    ------
    InputError
        If there is no such database.
    """
    with Store(os.fspath(database)) as store:
        return [dict(row) for row in read_table(store).rows]


def _statuses(store: Store) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in read_table(store).rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    return counts
