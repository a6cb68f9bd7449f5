"""What commands say of a trace that they read: its steps, its device, and what they left out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments

if TYPE_CHECKING:
    from talos_opt.formats.trace_reader import Trace
    from talos_opt.formats.trace_steps import Idle, TraceStep


def add_skip(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the argument that leaves out steps."""
    parser.add_argument(
        "--skip-steps",
        type=arguments.natural,
        default=0,
        metavar="N",
        help="leave out the first N steps of each trace that marks several, as warm-up "
        "(default: 0; a note says where the first looks like one)",
    )


def figures(trace: Trace, skip: int = 0) -> dict[str, Any]:
    """Return what ``--json`` says of a trace; times in microseconds."""
    from talos_opt.tasks.traces import one_step

    idle = _idle(trace, skip)
    return {
        "device": trace.device,
        "product": trace.product,
        "ops": len(one_step(trace, skip)),
        "kernels": trace.kernels,
        "kernels_us": trace.kernels_us,
        "unattributed_us": trace.unattributed_us,
        "outside_us": trace.outside_us,
        "idle": None if idle is None else idle.idle_share,
        "launch_bound": None if idle is None else idle.launch_bound_share,
        "steps": [
            {
                "name": step.name,
                "duration_us": step.duration_us,
                "ops_us": _ops_us(step),
                "idle": None if step.idle is None else step.idle.idle_share,
                "launch_bound": None if step.idle is None else step.idle.launch_bound_share,
            }
            for step in trace.steps[skip:]
        ],
        "unread": [
            {
                "category": item.category,
                "device": item.device,
                "count": item.count,
                "total_us": item.total_us,
            }
            for item in trace.unread
        ],
    }


def details(trace: Trace, skip: int = 0) -> Iterator[str]:
    """Yield what is to be said of a trace below its name."""
    from talos_opt.reports.texts.tables import percent

    steps = trace.steps[skip:]
    if steps:
        yield _steps(steps)
    if trace.kernels and trace.device != "gpu":
        yield f"device {trace.device}"
    idle = _idle(trace, skip)
    if idle is not None:
        yield (
            f"device idle {percent(idle.idle_share)} of {'a step' if steps else 'the time'}, "
            f"{percent(idle.launch_bound_share)} while the host was launching"
        )
    if trace.outside_us > 0:
        share = trace.outside_us / trace.kernels_us
        yield f"{percent(share)} of the kernels' time was launched outside the trace"


def notes(trace: Trace, skip: int = 0) -> Iterator[str]:
    """Yield what was left out of a trace, or is doubtful about it."""
    from talos_opt.analysis.steps import warm_up
    from talos_opt.reports.texts.tables import number, percent, quantity

    if skip and not trace.steps:
        yield "it marks no steps: none is left out"
    steps = trace.steps[skip:]
    for what, times in (
        ("its ops", [_ops_us(step) for step in steps]),
        ("it", [step.duration_us for step in steps]),
    ):
        ratio = warm_up(times)
        if ratio is not None:
            yield (
                f"the first step, {steps[0].name}, looks like warm-up: {what} took "
                f"{number(round(ratio, 2))} times the median of the others; --skip-steps "
                f"{skip + 1} leaves it out"
            )
            break
    count, spent = trace.outside_steps
    if trace.steps and count:
        yield f"{count} ops ({quantity(spent, 'us')}) are in no step, and do not count"
    if trace.unattributed_us > 0:
        share = trace.unattributed_us / trace.kernels_us
        yield (
            f"kernels that no op launched took {trace.unattributed_us:.3f} us "
            f"({percent(share)} of the kernels' time)"
        )
    if trace.doubted:
        yield (
            f"{trace.doubted} kernels name another op than that around their launch, which counts"
        )
    for item in trace.unread:
        yield (
            f"{item.count} events of {item.device} ({item.category}, "
            f"{quantity(item.total_us, 'us')}) are linked to no op, and do not count"
        )


def _steps(steps: Sequence[TraceStep]) -> str:
    if len(steps) == 1:
        return f"one step, {steps[0].name}"
    return f"means over {len(steps)} steps, {steps[0].name} to {steps[-1].name}"


def _ops_us(step: TraceStep) -> float:
    return sum(op.duration_us for op in step.ops)


def _idle(trace: Trace, skip: int) -> Idle | None:
    """Return how the device spent the steps together, or the whole trace where it marks none."""
    from talos_opt.formats.trace_steps import Idle

    spans = [step.idle for step in trace.steps[skip:] if step.idle is not None]
    if not spans:
        return trace.idle
    return Idle(
        sum(span.span_us for span in spans),
        sum(span.idle_us for span in spans),
        sum(span.launching_us for span in spans),
    )
