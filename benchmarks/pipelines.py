"""Pipelines of processes on two CPU devices: does a step take as long as predicted?

A model like GPT-2 (from its config, with random weights) is profiled on two devices of this
machine's CPU with a thread each, for inference and for training. It is split in two ways: as
`solve --stages ordered --objective bottleneck` does, and lopsided, with few layers in the first
stage. Each split runs in two processes, by ``talos-opt run --pipeline``. `core %` is the share of
its blocks' time for which a process had a core; below about 95 others were on it, and the measured
time is too long. `blocks` is how many times as long as predicted the blocks took of a core, which
says more than `error %` then.

With ``--sets DIR`` a second table: the best split of PipeDream's profiles over their four GPUs that
is found, and its step by number of micro-batches. The files (``pipedream_*.json``, below DIR) are
not part of this repository.

    python -m benchmarks.pipelines [--small] [--modes inference,training] [--microbatches 1,2,4,8]
        [--schedules gpipe,1f1b] [--max-time S] [--time-limit S] [--repeats N] [--wait S]
        [--sets DIR] [--json FILE]
"""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import talos_opt
from benchmarks.fidelity import wait
from benchmarks.report import Cell, Column, Row, format_table, make_parser, progress, publish, solve
from talos_opt.core.granularity import by_module
from talos_opt.core.module_paths import module_of
from talos_opt.core.pipelining.step import Pipeline
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule

COLUMNS = [
    Column("mode"),
    Column("split"),
    Column("layers"),
    Column("schedule"),
    Column("M"),
    Column("predicted ms", 1),
    Column("measured ms", 1),
    Column("error %", 1),
    Column("spread %", 1),
    Column("one process ms", 1),
    Column("blocks", 3),
    Column("core %", 0),
    Column("equal"),
]
#: Micro-batches of the second table.
COUNTS = (1, 2, 4, 8, 16, 32)
SETS = [
    Column("profile"),
    Column("layers"),
    Column("stages"),
    Column("status"),
    Column("bottleneck ms", 2),
    *(Column(f"M={count} ms", 2) for count in COUNTS),
    Column("bubble at 32 %", 1),
]

LAYERS, HIDDEN, HEADS, LENGTH, WORDS = 12, 256, 4, 128, 1000
SPECS = [f"input_ids=1x{LENGTH}:int64:0-{WORDS - 1}"]
#: Share of the layers that the first stage of the lopsided split has.
FEW = 0.25
_LAYER = re.compile(r"transformer\.h\.(\d+)(?:\.|$)")


def gpt2(layers: int = LAYERS, hidden: int = HIDDEN) -> Any:
    """Return a model like GPT-2; its embedding and head are two matrices, as they are far apart."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=layers,
        n_embd=hidden,
        n_head=HEADS,
        vocab_size=WORDS,
        n_positions=2 * LENGTH,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
    )
    return GPT2LMHeadModel(config)


def main() -> None:
    """Print a row for each mode, split, schedule and number of micro-batches."""
    parser = make_parser(__doc__)
    parser.add_argument("--small", action="store_true", help="a small model: tries the benchmark")
    parser.add_argument("--modes", default="inference,training")
    parser.add_argument("--schedules", default="gpipe,1f1b")
    parser.add_argument("--microbatches", default="1,2,4,8")
    parser.add_argument("--max-time", type=float, default=30.0, help="seconds of measuring each")
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds of solving each")
    parser.add_argument("--repeats", type=int, default=15, help="steps of each row")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="seconds to wait for a quiet moment"
    )
    parser.add_argument("--sets", type=Path, metavar="DIR", help="PipeDream's profiles")
    args = parser.parse_args()
    counts = [int(count) for count in args.microbatches.split(",")]
    make = partial(gpt2, 4, 32) if args.small else gpt2
    rows: list[Row] = []
    for mode in args.modes.split(","):
        wait(args.wait)
        problem = profiled(make, mode, args.max_time)
        for name, schedule in splits(problem, args.time_limit):
            for order in args.schedules.split(","):
                for count in counts:
                    if mode == "training" and order == "1f1b" and count < 2:
                        continue  # torch's needs as many micro-batches as there are stages
                    if mode == "inference" and order != args.schedules.split(",")[0]:
                        continue  # without backward passes both orders are one
                    wait(args.wait)
                    rows.append(run(make, problem, schedule, name, mode, order, count, args))
                    progress(f"{mode}, {name}, {order}, {count}: {rows[-1]['error %']:.1f} %")
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    settings = {k: v for k, v in settings.items() if k != "target"} | summary(rows)
    publish("pipelines", COLUMNS, rows, settings=settings, target=args.target)
    for what, figure in summary(rows).items():
        print(f"{what}: {figure}")
    if args.sets is not None:
        print()
        print(format_table(SETS, list(pipedream(args.sets, args.time_limit))))


def profiled(make: Any, mode: str, max_time_s: float) -> Problem:
    """Return the model's graph, in which layers are whole and stages in order."""
    import torch

    from talos_opt.frameworks.torch.loading import make_arguments
    from talos_opt.frameworks.torch.profile import profile_module

    torch.set_num_threads(1)
    profile = profile_module(
        make(),
        make_arguments(SPECS),
        mode=mode,
        devices=("2xcpu",),
        threads=1,
        processes=True,
        max_time_s=max_time_s,
        name="gpt2",
    )
    problem = profile.problem("bottleneck")
    problem = problem.with_stages({"rule": "ordered", "use_all": True})
    return by_module(problem, no_split=["transformer.h.*"])


def splits(problem: Problem, time_limit: float) -> Iterator[tuple[str, Schedule]]:
    """Yield the solver's split, and the best one with few layers in the first stage."""
    count = 1 + max(found for op in problem.ops if (found := layer_of(op)) is not None)
    few = max(1, round(FEW * count))
    for name, asked in (("solved", problem), ("lopsided", pinned(problem, few))):
        schedule = solve(asked, time_limit=time_limit).schedule
        assert schedule is not None
        yield name, schedule


def layer_of(op: Any) -> int | None:
    """Return the layer that an op belongs to, if it is one of a layer."""
    found = _LAYER.match(module_of(op))
    return int(found[1]) if found else None


def pinned(problem: Problem, few: int) -> Problem:
    """Return the problem with the first few layers on the first device, the others on the next."""
    first, second = problem.device_ids

    def pin(op: Any) -> Any:
        layer = layer_of(op)
        if layer is None or not op.memory.weights:
            return op  # what it is bound to decides
        return dataclasses.replace(op, devices=(first if layer < few else second,))

    models = tuple(
        dataclasses.replace(model, ops=tuple(map(pin, model.ops))) for model in problem.graph.models
    )
    return dataclasses.replace(problem, graph=dataclasses.replace(problem.graph, models=models))


def run(
    make: Any,
    problem: Problem,
    schedule: Schedule,
    name: str,
    mode: str,
    order: str,
    count: int,
    args: Any,
) -> dict[str, Any]:
    """Run one pipeline and return its row."""
    from talos_opt.frameworks.torch.loading import make_arguments
    from talos_opt.frameworks.torch.pipeline_run import run_pipeline

    report = run_pipeline(
        make,
        make_arguments(SPECS),
        problem,
        schedule,
        order=order,
        microbatches=count,
        mode=mode,
        repeats=args.repeats,
    )
    took = sum(block.end - block.start for block in report.blocks)
    # A step's length in the graph's unit, microseconds.
    planned = float(report.predicted.busy.sum()) / 1e6
    computed = report.computed_s or 0.0
    layers = [
        {
            layer_of(op)
            for op, d in zip(problem.ops, schedule.device, strict=True)
            if d == k and op.memory.weights
        }
        - {None}
        for k in range(2)
    ]
    return {
        "mode": mode,
        "split": name,
        "layers": " / ".join(str(len(here)) for here in layers),
        "schedule": order,
        "M": count,
        "predicted ms": report.predicted_s * 1e3,
        "measured ms": report.measured_s * 1e3,
        "error %": 100 * (report.measured_s / report.predicted_s - 1),
        "spread %": 100 * report.spread,
        "one process ms": report.single_process_s * 1e3,
        "blocks": computed / planned,
        "core %": 100 * computed / took,
        "others": report.others,
        "equal": "yes" if report.equal else "DIFFERS",
        "stages": [
            {
                phase: dataclasses.asdict(getattr(stage, phase))
                for phase in ("forward", "backward", "update", "handover")
            }
            for stage in report.stages
        ],
    }


def summary(rows: Sequence[Row]) -> dict[str, str]:
    """Return median and worst error, and for how many pairs of splits the better one is known."""
    errors = [abs(number(row["error %"])) for row in rows]
    pairs: dict[tuple[Cell, ...], list[Row]] = {}
    for row in rows:
        pairs.setdefault((row["mode"], row["schedule"], row["M"]), []).append(row)
    right = sum(
        (number(a["predicted ms"]) < number(b["predicted ms"]))
        == (number(a["measured ms"]) < number(b["measured ms"]))
        for a, b in pairs.values()
    )
    return {
        "|error|": f"{statistics.median(errors):.1f} % (median), {max(errors):.1f} % (worst)",
        "better split predicted": f"{right} of {len(pairs)}",
    }


def number(cell: Cell) -> float:
    """Return a cell as a number."""
    assert isinstance(cell, (int, float))
    return float(cell)


def pipedream(folder: Path, time_limit: float) -> Iterator[Row]:
    """Yield a row for each of PipeDream's profiles: forward and backward pass are one op there."""
    for file in sorted(folder.rglob("pipedream_*.json")):
        problem = talos_opt.read(file).with_objective("bottleneck")
        problem = problem.with_stages({"rule": "acyclic"})
        progress(file.stem)
        found = solve(problem, time_limit=time_limit)
        assert found.schedule is not None
        pipeline = Pipeline(problem, found.schedule.device)
        steps = {count: pipeline.run("gpipe", count) for count in COUNTS}
        yield {
            "profile": file.stem.removeprefix("pipedream_"),
            "layers": problem.arrays.op_count,
            "stages": len(steps[1].stages),
            "status": str(found.status),
            "bottleneck ms": found.value,
            **{f"M={count} ms": step.time for count, step in steps.items()},
            "bubble at 32 %": 100 * steps[32].bubble,
        }


if __name__ == "__main__":
    main()
