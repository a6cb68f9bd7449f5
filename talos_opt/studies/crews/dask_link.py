"""The way to a Dask cluster: one that is there, or one of this process."""

from __future__ import annotations

import importlib
import json
import logging
import re
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from talos_opt.core.errors import ConfigError, DependencyError, SolverError
from talos_opt.core.extras import how_to_install
from talos_opt.studies.crews import remote
from talos_opt.studies.crews.remote import require_version
from talos_opt.version import __version__

#: What starts a cluster in this process.
LOCAL = "local"
#: Seconds to wait for a scheduler.
_PATIENCE = 5
#: Seconds for what follows the connection.
_HANDSHAKE = 2
#: tcp://host:8786, or host:8786.
_ADDRESS = re.compile(r"[a-z]+://\S+|[\w.-]+:\d+|\[[0-9a-fA-F:]+\]:\d+")
_EXPECTED = (
    "expected local, the address of a scheduler such as tcp://host:8786, or the file that "
    "`dask scheduler --scheduler-file` writes"
)


class DaskLink:
    """A connection to a Dask cluster whose workers have this version of the package.

    Parameters
    ----------
    where : str
        ``local``, an address, or a scheduler file.
    workers : int
        Of a local cluster.

    Attributes
    ----------
    client : distributed.Client

    Raises
    ------
    DependencyError
        If Dask is not installed.
    ConfigError
        If there is no scheduler, or a worker has another version of the package.
    """

    def __init__(self, where: str, *, workers: int = 1) -> None:
        self._distributed = _import()
        self._levels = _silenced()
        self._config = importlib.import_module("dask").config.set(
            {
                # A graph is as large as it is; Dask would warn of more than 10 MB.
                "distributed.admin.large-graph-warning-threshold": "1 TB",
                "distributed.comm.timeouts.connect": f"{_PATIENCE} s",
            }
        )
        self.where = where
        self._cluster: Any = None
        self.client: Any = None
        try:
            target = self._start(workers) if where == LOCAL else _address(where)
            self._connect(target)
            self._require_versions()
        except BaseException:
            self.close()
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
        """Leave the cluster; one of this process ends."""
        with suppress(Exception):  # of a scheduler that is gone there is nothing to take leave of
            if self.client is not None:
                self.client.close(timeout=_PATIENCE)
        if self._cluster is not None:
            with suppress(Exception):
                self._cluster.close(timeout=_PATIENCE)
            remote.dismiss()
        self._config.__exit__(None, None, None)
        for logger, level in self._levels.items():
            logger.setLevel(level)

    def nthreads(self) -> dict[str, int]:
        """Return how many cases each worker solves at the same time, by its address.

        Raises
        ------
        SolverError
            If the scheduler is gone.
        """
        self.require_alive()
        try:
            return dict(self.client.nthreads())
        except Exception as error:
            raise self.lost() from error

    def require_alive(self) -> None:
        """Refuse to go on without a scheduler.

        Raises
        ------
        SolverError
        """
        if self.client.status != "running":
            raise self.lost()

    def lost(self) -> SolverError:
        """Return the error that says that the scheduler is gone."""
        return SolverError(f"the connection to the Dask scheduler {self.where!r} is lost")

    def _start(self, workers: int) -> Any:
        """Start a cluster of threads: what is solved is solved in processes of their own."""
        self._cluster = self._distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=False,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        )
        return self._cluster

    def _connect(self, target: Any) -> None:
        """Connect, in a thread: where something else answers, Dask would wait for ever."""
        found: list[Any] = []
        errors: list[Exception] = []

        def connect() -> None:
            try:
                found.append(
                    self._distributed.Client(
                        target, timeout=_PATIENCE, set_as_default=False, name="talos_opt"
                    )
                )
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=connect, name="talos_opt connect", daemon=True)
        thread.start()
        thread.join(_PATIENCE + _HANDSHAKE)
        if not found:
            said = "what answers is not a Dask scheduler"
            if errors:
                said = str(errors[0]).partition("\n")[0] or type(errors[0]).__name__
            raise ConfigError(f"no Dask scheduler answers at {self.where!r}: {said}")
        self.client = found[0]

    def _require_versions(self) -> None:
        found = self.client.get_versions(packages=["talos_opt"])
        others = {"the scheduler": found["scheduler"]} | {
            f"the worker at {name}": versions for name, versions in found["workers"].items()
        }
        for who, versions in others.items():
            require_version(versions["packages"].get("talos_opt"), __version__, who)


def _silenced() -> dict[logging.Logger, int]:
    """Silence Dask, as what matters is said in one error; return the levels that there were."""
    loggers = [logging.getLogger("distributed")]
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("distributed.") and isinstance(logger, logging.Logger):
            loggers.append(logger)
    levels = {logger: logger.level for logger in loggers}
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    return levels


def _import() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise DependencyError(
            f"--dask needs dask and distributed ({error}): {how_to_install('dask')}"
        ) from error


def _address(where: str) -> str:
    if _ADDRESS.fullmatch(where):
        return where
    try:
        document = json.loads(Path(where).read_bytes())
    except OSError as error:
        raise ConfigError(
            f"scheduler file {where!r} cannot be read: {error.strerror}, {_EXPECTED}"
        ) from None
    except ValueError:
        document = None
    address = document.get("address") if isinstance(document, dict) else None
    if not isinstance(address, str):
        raise ConfigError(f"{where!r} has no address of a scheduler, {_EXPECTED}")
    return address
