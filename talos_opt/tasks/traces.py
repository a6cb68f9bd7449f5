"""`talos_opt.compare_traces`: how much faster each op type is on one device than on another."""

from __future__ import annotations

import os
from collections.abc import Sequence

from talos_opt.analysis.alignment import TimedOp
from talos_opt.analysis.speedups import Speedups, compare
from talos_opt.analysis.steps import typical
from talos_opt.core.errors import InputError
from talos_opt.formats.chrome_trace import read_trace
from talos_opt.formats.trace_reader import Trace


def compare_traces(
    reference: Trace | str | os.PathLike[str],
    other: Trace | str | os.PathLike[str],
    *,
    skip: int = 0,
    reference_process: str | None = None,
    other_process: str | None = None,
) -> Speedups:
    """Compare two traces of a model, one per device, op type by op type: ``talos-opt speedups``.

    Parameters
    ----------
    reference, other : Trace or path
        Chrome traces: torch.profiler's, TensorFlow's, or those of `write_trace`.
    skip : int
        Steps that are left out of each trace that marks several, as warm-up.
    reference_process, other_process : str, optional
        Which process of a trace to read, where it holds ops of several.

    Returns
    -------
    Speedups
        Times in microseconds, means over the steps that a trace marks.

    Raises
    ------
    InputError
        If a trace cannot be read, or no step is left.
    """
    if skip < 0:
        raise InputError(f"skip is {skip}, expected at least 0")
    found = [
        trace if isinstance(trace, Trace) else read_trace(trace, process=process)
        for trace, process in ((reference, reference_process), (other, other_process))
    ]
    return compare(*(one_step(trace, skip) for trace in found))


def one_step(trace: Trace, skip: int = 0) -> Sequence[TimedOp]:
    """Return the ops of one step, with mean times; of the whole trace where it marks none.

    Raises
    ------
    InputError
        If no step is left; names the trace.
    """
    try:
        ops, mean = typical(trace.ops, [step.ops for step in trace.steps], skip)
    except InputError as error:
        raise error.located(source=trace.source) from None
    return mean or ops
