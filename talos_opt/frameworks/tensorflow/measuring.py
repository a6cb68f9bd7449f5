"""How long every op of a captured model takes on a device, and the whole step undisturbed.

All ops are put on the device and run one after the other, in one session. Steps are timed as
they are, and in between they are traced, so that a machine that gets busier slows both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from talos_opt.frameworks.common.allocator import keep_freed_memory
from talos_opt.frameworks.common.measuring import Budget, Measured
from talos_opt.frameworks.tensorflow.captured import Captured
from talos_opt.frameworks.tensorflow.devices import CPU, can_run
from talos_opt.frameworks.tensorflow.placing import place
from talos_opt.frameworks.tensorflow.session import Session
from talos_opt.frameworks.tensorflow.stats import NodeRun, read_runs

#: Rounds of one plain and one traced step: no more than this,
MAX_ROUNDS = 40
#: and no more than so many seconds once there are as many rounds as these.
ENOUGH_ROUNDS, ENOUGH_S = 7, 20.0
#: Steps after which weights are put back, lest training drifts into numbers that take longer.
FRESH_EVERY = 8
_WARM_UP = 3
#: The clock of a trace, in seconds.
_RESOLUTION_S = 1e-7


def measure(
    captured: Captured,
    device: str,
    inputs: Sequence[np.ndarray],
    budget: Budget,
    *,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    rounds: int = MAX_ROUNDS,
) -> tuple[Measured, dict[str, NodeRun]]:
    """Time every op, and the whole step, on a device.

    Ops that have no kernel on the device run on the CPU and are not timed; the whole step is not
    the device's own then and is left out.

    Parameters
    ----------
    captured : Captured
    device : str
        TensorFlow's name, such as ``/device:CPU:0``.
    inputs : sequence of np.ndarray
    budget : Budget
    threads : int, optional
        Intra-op threads on the CPU; default: all cores.
    progress : callable, optional
        Called with the share that is done.
    rounds : int
        At most.

    Returns
    -------
    Measured
    dict of str to NodeRun
        Of the last traced step: sizes of outputs whose shapes are not known beforehand.
    """
    measured, warm = Measured(resolution_s=_RESOLUTION_S), Measured(stopped=True)
    at_home = {op: can_run(captured, op, device) for op in captured.op_ids()}
    measured.unable = warm.unable = frozenset(op for op, here in at_home.items() if not here)
    where = {op: "here" if here else "host" for op, here in at_home.items()}
    strings = {"here": device, "host": CPU} if not all(at_home.values()) else {"here": device}
    runs: dict[str, NodeRun] = {}
    keep_freed_memory()
    values = captured.values(inputs)
    with Session(
        place(captured, where, strings), values, threads=threads, concurrency=1
    ) as session:
        try:
            for _ in range(_WARM_UP):
                session.run()
                runs = read_runs(session.trace())
                _keep(warm, runs, at_home)
                if budget.spent:
                    break
            for count in range(rounds):
                if captured.mode == "training" and count % FRESH_EVERY == 0:
                    session.reset()
                took = session.run()
                if all(at_home.values()):
                    measured.whole.append(took)
                runs = read_runs(session.trace())
                _keep(measured, runs, at_home)
                if progress is not None:
                    progress(min(1.0, max((count + 1) / rounds, budget.used / budget.seconds)))
                if budget.spent or (count + 1 >= ENOUGH_ROUNDS and budget.used > ENOUGH_S):
                    break
        except KeyboardInterrupt:
            measured.stopped = not measured.ops
    # Better a first, cold time than none.
    return (measured if measured.ops else warm), runs


def _keep(measured: Measured, runs: Mapping[str, NodeRun], at_home: Mapping[str, bool]) -> None:
    """Keep a step's times, and the most memory that each op was seen to use."""
    for op, here in at_home.items():
        if here and op in runs:
            run = runs[op]
            measured.ops[op].append(run.end_s - run.start_s)
            measured.workspace[op] = max(measured.workspace.get(op, 0), run.workspace_bytes)
