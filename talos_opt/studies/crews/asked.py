"""Those who solve cases, as a command asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from talos_opt.studies.crews.crew import Crew
from talos_opt.studies.crews.pool import Pool, own_cores


@contextmanager
def hire(dask: str | None, workers: int) -> Iterator[Crew]:
    """Yield processes of this machine, or the workers of a Dask cluster.

    Parameters
    ----------
    dask : str, optional
        As for `DaskLink`.
    workers : int
        Processes, or the workers of a local cluster.

    Raises
    ------
    DependencyError, ConfigError
        As `DaskLink`.
    """
    if dask is None:
        pool = Pool(workers, own_cores())
        try:
            yield pool
        finally:
            pool.close()
        return
    from talos_opt.studies.crews.dask_link import DaskLink
    from talos_opt.studies.crews.farm import Farm

    with DaskLink(dask, workers=workers) as link:
        farm = Farm(link)
        try:
            yield farm
        finally:
            farm.close()
