"""What is in memory while an op runs, whatever else has been done by then: minimum cuts.

`shared.moments` counts what has to be alive. Here ops that may come before or after are put where
least is alive in all, for one op after another (docs/bounds.md, "Moments").
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from talos_opt.core.problem import Arrays, Ints
from talos_opt.solvers.shared.moments import Moment, least_held

#: Ops and tensors above which a single cut may take seconds.
_MOST_NODES = 50_000


class MomentCuts:
    """Least bytes in memory while each op runs, under the peak rule.

    Parameters
    ----------
    arrays : Arrays
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self._inputs = arrays.in_ptr, arrays.edge_tensor[arrays.in_edge]
        self._readers = arrays.read_ptr, arrays.edge_dst, least_held(arrays)
        self._beside = arrays.output + arrays.workspace + int(arrays.weights.sum())
        self._lasting = arrays.time.min(axis=1) > 0

    def fullest(
        self, top: Ints, known: int, wanted: int, stopped: Callable[[], bool]
    ) -> Moment | None:
        """Return the fullest moment that was found, if it is fuller than what is known.

        Parameters
        ----------
        top : (n,) int
            Bytes alive, without weights, while each op runs in some order of all ops: no cut is
            larger. Ops come in the order of these.
        known : int
            Bytes, weights included, that some moment is known to need.
        wanted : int
            Bytes that it is enough to pass.
        stopped : callable
            Asked before every cut.
        """
        from talos_opt.kernels.cuts import least_alive

        arrays = self.arrays
        if arrays.op_count + arrays.tensor_count > _MOST_NODES:
            return None
        best: Moment | None = None
        most = top + int(arrays.weights.sum())
        for i in np.argsort(-most, kind="stable").tolist():
            if known > wanted or most[i] <= known or stopped():
                break
            if not self._lasting[i]:
                continue
            alive = least_alive(i, self._inputs, arrays.tensor_op, arrays.tensor_ptr, self._readers)
            held = int(alive) + int(self._beside[i])
            if held > known:
                best, known = Moment(i, held), held
        return best
