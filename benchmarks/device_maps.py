"""Device maps of ours against those of accelerate's infer_auto_device_map.

Models are made from their configs on the meta device. Both maps of a case are evaluated by the
same function (`talos_opt.frameworks.torch.planning.evaluate_device_map`); times are predicted by
a roofline, not measured. `memory` says what counts against the limits: weights alone, as
accelerate counts, or the KV cache and activations as well. Where accelerate's map then does not
fit, it is asked again with limits lowered by 5 % steps, as one would by hand.

    python -m benchmarks.device_maps [--time-limit S] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.report import Column, Row, make_parser, progress, publish
from talos_opt.frameworks.torch.machines import CPU, Target
from talos_opt.frameworks.torch.planning import Evaluation
from tests.frameworks.torch.device_map_cases import (
    Outcome,
    cases,
    compare,
)

GIB = 2**30
COLUMNS = [
    Column("case"),
    Column("memory"),
    Column("map"),
    Column("fits"),
    Column("step ms", 2),
    Column("on GPUs %", 1),
    Column("streamed MiB", 0),
    Column("devices"),
    Column("seconds", 1),
]


def rows_of(outcome: Outcome) -> Iterator[Row]:
    """Yield a row for each map."""
    counted = "weights, KV, activations" if outcome.case.activations else "weights"
    maps: list[tuple[str, Evaluation, float | None]] = [
        ("accelerate", outcome.their_evaluation, outcome.seconds["theirs"])
    ]
    if outcome.lowered is not None:
        percent, evaluation = outcome.lowered
        maps.append((f"accelerate at {percent} %", evaluation, None))
    maps.append(("talos_opt", outcome.ours.evaluation, outcome.seconds["ours"]))
    for name, evaluation, seconds in maps:
        total = sum(evaluation.memory.values())
        on_gpus = sum(size for t, size in evaluation.memory.items() if t != CPU)
        used = [str(t) for t, size in evaluation.memory.items() if size]
        yield {
            "case": outcome.case.name,
            "memory": counted,
            "map": name,
            "fits": "yes" if evaluation.fits else f"no, {_mib(evaluation.over)} MiB over",
            "step ms": evaluation.step_s * 1e3,
            "on GPUs %": 100 * on_gpus / total,
            "streamed MiB": evaluation.streamed_bytes / 2**20,
            "devices": " ".join(used),
            "seconds": seconds,
        }


def _mib(sizes: Mapping[Target, int]) -> int:
    return round(sum(sizes.values()) / 2**20)


def main() -> None:
    """Compare the maps of all cases."""
    parser = make_parser(__doc__)
    parser.add_argument("--time-limit", type=float, default=5.0, help="seconds for each solve")
    args = parser.parse_args()
    rows: list[Row] = []
    for case in cases():
        progress(case.name)
        outcome = compare(case, args.time_limit)
        slower = outcome.ours.evaluation.step_s > outcome.their_evaluation.step_s * (1 + 1e-9)
        if slower and outcome.their_evaluation.fits:
            raise AssertionError(f"{case.name}: accelerate's map is better")
        rows += rows_of(outcome)
    publish(
        "device_maps", COLUMNS, rows, settings={"time_limit": args.time_limit}, target=args.target
    )


if __name__ == "__main__":
    main()
