"""Who solves the cases of a study: processes of this machine, or workers of a Dask cluster."""

from __future__ import annotations

from typing import Any, Protocol

#: Seconds that a case may take beyond its limit, to read it and to compile kernels.
ALLOWANCE = 120.0

#: Why a case that took longer is a failure.
LATE = f"the case was not over {ALLOWANCE:g} s after its time limit"


class Crew(Protocol):
    """What `running` asks of whoever solves cases."""

    @property
    def workers(self) -> int:
        """How many cases can be solved at the same time just now."""

    @property
    def threads(self) -> int | None:
        """Threads of a case; None where each worker decides."""

    def has_room(self) -> bool:
        """Tell whether another case may be handed over."""

    def begin(self, name: str, request: dict[str, Any]) -> None:
        """Hand over a case (`solving.make_request`).

        Raises
        ------
        TalosError
            If nobody can take cases any more.
        """

    def receive(self, timeout: float) -> tuple[str, dict[str, Any] | str] | None:
        """Return the next case that is over: its name, and its row or how its solver died.

        None where there is none after so many seconds.

        Raises
        ------
        TalosError
            If there will be no more, such as when a scheduler is gone. The cases under way are
            lost, nothing else.
        """

    def close(self) -> None:
        """Give up the cases under way."""
