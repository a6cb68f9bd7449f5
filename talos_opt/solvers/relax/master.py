"""The covering LP behind the contents bound: which prices the contents found so far ask for.

Shares of contents cover each part once, with as few devices as possible; its duals are prices
that none of the contents can be worth more than. Only guides the search: any prices prove a
bound (`talos_opt.solvers.relax.contents`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from talos_opt.core.problem import Floats
from talos_opt.importing import import_whole
from talos_opt.solvers.engine.dependencies import require_compatible_highspy
from talos_opt.solvers.relax.contents import Contents

#: Cost of leaving a part out, in shares of the devices.
_MISSING = 10.0


class Master:
    """An LP that grows by contents.

    Its first variable is the share of the devices that is used, which is minimised: where it is
    above 1, no placement consists of these contents alone.

    Parameters
    ----------
    contents : Contents
    stopped : callable
        Looked at while an LP is being solved.
    """

    def __init__(self, contents: Contents, stopped: Callable[[], bool]) -> None:
        require_compatible_highspy()
        self.contents = contents
        self._stopped = stopped
        self._error: BaseException | None = None
        self._until = math.inf
        self._api: Any = import_whole("highspy")
        self._highs = self._api._Highs()  # noqa: SLF001 - see `talos_opt.solvers.ilp.highs`
        for name, value in (("output_flag", False), ("threads", 1)):
            self._highs.setOptionValue(name, value)
        self._highs.setCallback(self._look, None)
        self._highs.startCallback(self._api.cb.HighsCallbackType.kCallbackSimplexInterrupt)
        infinite = self._api.kHighsInf
        self._rows = contents.parts
        for _ in range(contents.parts):
            self._highs.addRow(1.0, infinite, 0, _indices([]), _values([]))
        for _ in range(len(contents.kinds)):
            self._highs.addRow(-infinite, 0.0, 0, _indices([]), _values([]))
        #: Load and column of each content.
        self.columns: list[tuple[float, int]] = []
        self._share()
        self._stand_in()
        #: Columns of shares of parts on devices that do not pay for transfers.
        self.shares = self._spread()

    def close(self) -> None:
        """Let HiGHS go: it holds the callback, and through it all else."""
        self._highs.setCallback(None, None)

    def _look(self, _kind: Any, _message: str, _found: Any, reply: Any, _data: Any) -> None:
        """Called by HiGHS now and then; an exception must not pass through its C++ frames."""
        try:
            over = self._stopped() or time.monotonic() > self._until
        except BaseException as error:
            self._error, over = error, True
        if over:
            reply.user_interrupt = True

    def _add(self, cost: float, rows: list[int], factors: list[float]) -> int:
        place = int(self._highs.getNumCol())
        self._highs.addCol(
            cost, 0.0, self._api.kHighsInf, len(rows), _indices(rows), _values(factors)
        )
        return place

    def _share(self) -> None:
        kinds = self.contents.kinds
        rows = list(range(self._rows, self._rows + len(kinds)))
        self._add(1.0, rows, [-float(len(kind.devices)) for kind in kinds])

    def _stand_in(self) -> None:
        """Every part by itself, and, at a price, nowhere: the LP is to have a solution."""
        for part in range(self.contents.parts):
            self._add(_MISSING, [part], [1.0])
            for number, kind in enumerate(self.contents.kinds):
                if np.isfinite(kind.work[part]):
                    alone = frozenset({part})
                    self.add(number, alone, kind.load(alone))

    def _spread(self) -> list[int]:
        """Let parts be cut on devices that do not pay: contents of many small parts are many."""
        columns = []
        first = self._rows + len(self.contents.paying)
        for number, kind in enumerate(self.contents.free):
            for part in np.flatnonzero(np.isfinite(kind.work)).tolist():
                columns.append(self._add(0.0, [part, first + number], [1.0, 0.0]))
        return columns

    def keep_whole(self) -> bool:
        """Let no part be cut any more; return whether any could be."""
        could = bool(self.shares)
        for column in self.shares:
            self._highs.changeColBounds(column, 0.0, 0.0)
        self.shares = []
        return could

    def add(self, number: int, content: frozenset[int], load: float) -> None:
        """Add what a device of a kind may hold."""
        rows = [*sorted(content), self._rows + number]
        self.columns.append((load, self._add(0.0, rows, [1.0] * len(rows))))

    def solve(self, limit: float, seconds: float) -> tuple[float, Floats] | None:
        """Find the least share of devices that contents within a limit need.

        Parameters
        ----------
        limit : float
            Largest load.
        seconds : float

        Returns
        -------
        (float, (p,) float) or None
            The share, and the prices of parts, at least 0; None if there was no time.
        """
        infinite = self._api.kHighsInf
        for load, column in self.columns:
            self._highs.changeColBounds(column, 0.0, infinite if load <= limit else 0.0)
        if self.shares:
            shares = iter(self.shares)
            first = self._rows + len(self.contents.paying)
            for number, kind in enumerate(self.contents.free):
                for work in kind.work[np.isfinite(kind.work)].tolist():
                    self._highs.changeCoeff(first + number, next(shares), work / limit)
        self._until = time.monotonic() + seconds
        # From where it stood; where that goes wrong, from the beginning.
        if not (self._run() or (time.monotonic() < self._until and self._run(afresh=True))):
            return None
        duals = np.array(self._highs.getSolution().row_dual)[: self._rows]
        return float(self._highs.getInfo().objective_function_value), np.maximum(duals, 0.0)

    def _run(self, *, afresh: bool = False) -> bool:
        """Run HiGHS; return whether it has found the optimum."""
        if afresh:
            self._highs.clearSolver()
        self._highs.run()
        if self._error is not None:
            raise self._error
        return bool(self._highs.getModelStatus() == self._api.HighsModelStatus.kOptimal)


def _indices(values: list[int]) -> Any:
    return np.array(values, dtype=np.int32)


def _values(values: list[float]) -> Any:
    return np.array(values, dtype=np.float64)
