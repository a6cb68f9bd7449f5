"""A CPU beside a GPU: does what is predicted come true on a card?

Each model is profiled on ``cpu`` and ``cuda:0``, solved for makespan, and run under the chosen
placement, all on either device, and half on each. Outputs are compared with the plain model's,
times and peak memory with the predicted ones, and the card's times with what the catalogue
estimates for it. A prediction is the makespan, stretched where both devices compute by what the
profile says that this costs (`contention`); `alone` and `beside` are how many times as long as
predicted ops took, alone and while the other device computed. One command for a
bare machine with torch, of at most 8 minutes; what needs a GPU is left out, with the reason, where
there is none.

    python -m benchmarks.gpu [--small] [--only TEXT] [--max-time S] [--time-limit S]
                             [--json FILE] [--traces DIR]
"""

from __future__ import annotations

import dataclasses
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import gpu_nets
from benchmarks.report import Column, Row, make_parser, progress, publish, solve
from talos_opt.core.errors import InputError
from talos_opt.core.metrics import measure
from talos_opt.core.problem import Ints, Problem
from talos_opt.core.result import Result, Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.formats.chrome_trace import write_schedule_trace
from talos_opt.frameworks.common import catalogue
from talos_opt.frameworks.common.contention import contended_schedule, stretched
from talos_opt.frameworks.common.profile import Profile
from talos_opt.frameworks.common.roofline import with_estimates
from talos_opt.frameworks.torch.capture import capture
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.profile import profile_module
from talos_opt.frameworks.torch.run import measured_schedule, run_schedule

GPU = "cuda:0"
MIB = 2**20
COLUMNS = [
    Column("model"),
    Column("placement"),
    Column("ops"),
    Column("on GPU"),
    Column("transfers"),
    Column("makespan ms", 3),
    Column("predicted ms", 3),
    Column("measured ms", 3),
    Column("ratio", 2),
    Column("alone", 2),
    Column("beside", 2),
    Column("plain ms", 3),
    Column("peak MiB", 1),
    Column("measured MiB", 1),
    Column("error"),
]
#: Two placements whose predictions are closer than this say nothing about their order.
APART = 1.05


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--small", action="store_true", help="small models: tries the benchmark")
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name holds it")
    parser.add_argument("--max-time", type=float, default=30.0, help="seconds of measuring each")
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds of solving each")
    parser.add_argument("--traces", type=Path, metavar="DIR", help="folder for Chrome traces")
    args = parser.parse_args()
    began = time.monotonic()
    rows: list[Row] = []
    facts: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        facts["card"] = torch.cuda.get_device_name(0)
    else:
        facts["left out"] = "torch finds no CUDA device here: all runs are on the CPU"
        progress(facts["left out"])
    for case in gpu_nets.small() if args.small else gpu_nets.full():
        if args.only not in case.name:
            continue
        progress(f"{time.monotonic() - began:5.0f} s  {case.name}")
        found, known = run_case(case, args)
        rows += found
        facts[case.name] = known
    facts["seconds"] = round(time.monotonic() - began, 1)
    publish("gpu", COLUMNS, rows, settings={"small": args.small, **facts}, target=args.target)
    for name, known in facts.items():
        print(f"{name}: {known}")


def run_case(case: gpu_nets.Case, args: Any) -> tuple[list[Row], dict[str, Any]]:
    """Profile, solve and run one model; return a row for each placement, and what else is known."""
    module, inputs = case.make(), case.inputs()
    devices = ["cpu", GPU] if torch.cuda.is_available() else ["cpu0=cpu", "cpu1=cpu"]
    profile = profile_module(module, inputs, devices=devices, max_time_s=args.max_time)
    problem = profile.problem()
    captured = capture(module, inputs)
    result = solve(problem, time_limit=args.time_limit)
    rows = []
    for name, schedule in placements(problem, result):
        document = Result(problem, Status.FEASIBLE, schedule, 0.0, name).to_dict()
        predicted_s = contended_schedule(schedule, problem.device_ids, profile.contention)
        rows.append(
            run_placement(
                case.name, name, captured, inputs, problem, schedule, document, predicted_s
            )
        )
        times = rows[-1]["predicted ms"], rows[-1]["measured ms"]
        progress(f"  {name}: {times[0]:.3f} ms predicted, {times[1]:.3f} measured")
        if args.traces is not None:
            args.traces.mkdir(parents=True, exist_ok=True)
            target = args.traces / (re.sub(r"[^\w.]+", "-", f"{case.name} {name}") + ".json")
            measured, times = rows[-1]["measured"]
            write_schedule_trace(measured, times, target)
    right, all_pairs = ordered(rows)
    known = {
        "profile": {
            d.id: {
                "whole ms": ms(d.whole_s),
                "step ms": ms(d.step_s),
                "factor": d.factor,
                "launch us": d.launch_s * 1e6,
                "contention": profile.contention and profile.contention.whole.get(d.id),
            }
            for d in profile.devices
        },
        "lock us": profile.contention and profile.contention.lock_s * 1e6,
        "links": [
            f"{link.a}-{link.b}: {link.latency_s * 1e6:.1f} us, {link.bandwidth / 1e9:.1f} GB/s"
            for link in profile.links
        ],
        "gap": result.gap,
        "pairs in order": f"{right} of {all_pairs}",
        "estimate": estimate(profile),
        "workspace MiB": max(op.workspace or 0 for op in profile.ops) / MIB,
    }
    return [{k: v for k, v in row.items() if k != "measured"} for row in rows], known


def placements(problem: Problem, result: Result) -> Iterator[tuple[str, Schedule]]:
    """Yield the chosen placement, everything on each device, and one half on each."""
    assert result.schedule is not None
    yield "chosen", result.schedule
    count = problem.arrays.op_count
    order = np.arange(count)
    for d, name in enumerate(problem.device_ids):
        yield f"all on {name}", simulate(problem, np.full(count, d), order)
    yield "halves", simulate(problem, halves(problem), order)


def halves(problem: Problem) -> Ints:
    """Return the first device for the first half of the groups, and the last for the others."""
    group = problem.arrays.group
    last = len(problem.device_ids) - 1
    return np.where(group <= np.median(group), 0, last)


def run_placement(
    model: str,
    name: str,
    captured: Captured,
    inputs: Sequence[torch.Tensor],
    problem: Problem,
    schedule: Schedule,
    document: Mapping[str, Any],
    predicted_s: float,
) -> dict[str, Any]:
    """Run one placement; its row has the measured schedule as well."""
    report = run_schedule(captured, inputs, document, repeats=7, warmup=3)
    metrics = measure(problem, schedule)
    alone, beside = stretched(report)
    gpu = [d for d, where in report.devices.items() if where.startswith("cuda")]
    peak = report.execution.peak_bytes
    return {
        "model": model,
        "placement": name,
        "ops": len(report.ops),
        "on GPU": sum(op.device in gpu for op in report.ops),
        "transfers": report.transfers,
        "makespan ms": ms(report.predicted_s),
        "predicted ms": ms(predicted_s),
        "measured ms": ms(report.measured_s),
        "ratio": report.measured_s / predicted_s,
        "alone": alone,
        "beside": beside,
        "plain ms": ms(report.single_device_s),
        "peak MiB": metrics.peak_memory[gpu[0]] / MIB if peak else None,
        "measured MiB": peak[gpu[0]] / MIB if peak else None,
        "error": f"{report.max_abs_error:.1e}" if report.outputs_equal else "DIFFERS",
        "measured": measured_schedule(captured, report),
    }


def ordered(rows: Sequence[Row]) -> tuple[int, int]:
    """Return how many pairs of placements have their predicted order, and how many there are."""
    found = []
    for a, b in combinations(rows, 2):
        low, high = sorted((a, b), key=lambda row: float(row["predicted ms"] or 0.0))
        if float(high["predicted ms"] or 0.0) >= APART * float(low["predicted ms"] or 0.0):
            found.append(float(high["measured ms"] or 0.0) > float(low["measured ms"] or 0.0))
    return sum(found), len(found)


def estimate(profile: Profile) -> str:
    """Say what the catalogue would have told of the card, calibrated on the CPU alone."""
    card = next((d for d in profile.devices if d.id == GPU), None)
    sheet = catalogue.identify(torch.cuda.get_device_name(0)) if card is not None else None
    if card is None:
        return "left out: there is no card"
    if sheet is None:
        return f"left out: {torch.cuda.get_device_name(0)} is not in the catalogue"
    cpu = dataclasses.replace(
        profile,
        devices=tuple(d for d in profile.devices if d.id != GPU),
        links=(),
        ops=tuple(
            dataclasses.replace(op, timings={"cpu": op.timings["cpu"]}) for op in profile.ops
        ),
    )
    try:
        guessed = with_estimates(cpu, {"card": sheet.name})
    except InputError as error:
        return f"left out: {error}"
    pairs = [
        (guess.timings["card"].time_s, op.timings[GPU].time_s)
        for guess, op in zip(guessed.ops, profile.ops, strict=True)
        if op.output  # views take no time
    ]
    total = sum(guess for guess, _ in pairs), sum(there for _, there in pairs)
    off = statistics.median(max(a, b) / max(min(a, b), 1e-9) for a, b in pairs)
    return (
        f"{sheet.name}: {total[0] * 1e3:.3f} ms for {total[1] * 1e3:.3f}, an op is off by a factor "
        f"of {off:.2f} (median)"
    )


def ms(seconds: float | None) -> float | None:
    """Return milliseconds."""
    return None if seconds is None else seconds * 1e3


if __name__ == "__main__":
    main()
