"""How long every op of a captured model takes on a device, and the whole model undisturbed.

Two sessions of the same graph take turns: one runs as it is, the other one writes the runtime's own
profile, so that a machine that gets busier slows both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from talos_opt.frameworks.common.allocator import keep_freed_memory
from talos_opt.frameworks.common.measuring import Budget, Measured
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.devices import Provider
from talos_opt.frameworks.onnx.events import ProfiledRun, read_profile
from talos_opt.frameworks.onnx.sessions import Bound, options_of

#: Rounds of one plain and one profiled run: no more than this,
MAX_ROUNDS = 50
#: and no more than so many seconds once there are as many rounds as these.
ENOUGH_ROUNDS, ENOUGH_S = 7, 20.0
_WARM_UP = 3
#: The clock of a profile, in seconds.
_RESOLUTION_S = 1e-6


def measure(
    captured: Captured,
    provider: Provider,
    values: Mapping[str, np.ndarray],
    budget: Budget,
    *,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    rounds: int = MAX_ROUNDS,
) -> Measured:
    """Time every op, and the whole model, on a device.

    Ops that the provider does not take run on the CPU and are not timed; the whole model is not the
    device's own then and is left out.

    Parameters
    ----------
    captured : Captured
    provider : Provider
    values : mapping of str to np.ndarray
        Inputs by name.
    budget : Budget
    threads : int, optional
        Intra-op threads on the CPU; default: all cores.
    progress : callable, optional
        Called with the share that is done.
    rounds : int
        At most.
    """
    keep_freed_memory()
    plain = captured.session(options_of(threads=threads), provider)
    options = options_of(threads=threads)
    captured.watch(options, "profile")
    watched = captured.session(options, provider)
    whole: list[float] = []
    stopped = False
    try:
        _take_turns(
            Bound(plain, provider, values), Bound(watched, provider, values),
            whole, budget, rounds, progress,
        )  # fmt: skip
    except KeyboardInterrupt:
        stopped = True
    profile = Path(watched.end_profiling())
    runs = read_profile(profile)
    profile.unlink()
    stopped |= len(whole) <= _WARM_UP
    # Better a first, cold time than none.
    warm, whole = runs[_WARM_UP:] or runs, whole[_WARM_UP:] or whole
    return _measured(captured, provider, warm, whole, stopped)


def _take_turns(
    plain: Bound,
    watched: Bound,
    whole: list[float],
    budget: Budget,
    rounds: int,
    progress: Callable[[float], None] | None,
) -> None:
    for _ in range(_WARM_UP):
        whole.append(plain.run())
        watched.run()
        if budget.spent:
            return
    for count in range(rounds):
        whole.append(plain.run())
        watched.run()
        if progress is not None:
            progress(min(1.0, max((count + 1) / rounds, budget.used / budget.seconds)))
        if budget.spent or (count + 1 >= ENOUGH_ROUNDS and budget.used > ENOUGH_S):
            return


def _measured(
    captured: Captured,
    provider: Provider,
    runs: Sequence[ProfiledRun],
    whole: list[float],
    stopped: bool,
) -> Measured:
    measured = Measured(resolution_s=_RESOLUTION_S, stopped=stopped)
    where: dict[str, Counter[str]] = defaultdict(Counter)
    for run in runs:
        for event in run.nodes:
            if event.name in captured.nodes:
                measured.ops[event.name].append(event.end_s - event.start_s)
                where[event.name][event.provider] += 1
    measured.unable = frozenset(op for op, found in where.items() if provider.name not in found)
    for op in measured.unable:
        del measured.ops[op]
    if not measured.unable:
        measured.whole = whole
    return measured
