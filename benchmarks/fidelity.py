"""Two CPU devices: does a placed model take as long as predicted?

Each model is profiled on two devices of this machine's CPU with a thread each, in torch and in
TensorFlow, solved for makespan, and run: all on one device, under the chosen schedule, half on
each, and at random. A prediction is the makespan, stretched where both devices compute by what the
profile says that this costs (`contention`). `alone` and `beside` are how many times as long as
predicted ops took, alone and while the other device computed. Another process on
the same cores makes both times wrong: the share that others took is in the table, and `--wait`
waits for a quiet moment.

    python -m benchmarks.fidelity [--small] [--framework torch|tensorflow] [--max-time S]
        [--time-limit S] [--repeats N] [--wait S] [--json FILE]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.gpu import halves, ms, ordered
from benchmarks.report import Column, Row, make_parser, progress, publish, solve
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result, Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.frameworks.common.contention import contended_schedule, stretched
from talos_opt.frameworks.common.disturbance import Others
from talos_opt.frameworks.common.profile import Profile
from talos_opt.frameworks.common.running import RunReport

FRAMEWORKS = ("torch", "tensorflow")
COLUMNS = [
    Column("framework"),
    Column("model"),
    Column("placement"),
    Column("ops"),
    Column("transfers"),
    Column("makespan ms", 3),
    Column("predicted ms", 3),
    Column("measured ms", 3),
    Column("spread %", 1),
    Column("ratio", 3),
    Column("alone", 2),
    Column("beside", 2),
    Column("others %", 0),
    Column("equal"),
]
#: Share of all cores that others may take, and seconds over which that is looked at.
QUIET, LOOK_S = 0.04, 1.0


@dataclass(frozen=True)
class Trial:
    """A model, ready to be profiled and run.

    Parameters
    ----------
    framework, name : str
    profile : callable
        Returns its profile; takes the seconds of measuring.
    run : callable
        Takes a schedule's document and repeats, returns the report.
    """

    framework: str
    name: str
    profile: Callable[[float], Profile]
    run: Callable[[Mapping[str, Any], int], RunReport]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--small", action="store_true", help="small models: tries the benchmark")
    parser.add_argument("--framework", choices=FRAMEWORKS, help="default: one after the other")
    parser.add_argument("--max-time", type=float, default=10.0, help="seconds of measuring each")
    parser.add_argument("--time-limit", type=float, default=5.0, help="seconds of solving each")
    parser.add_argument("--repeats", type=int, default=21, help="runs of each placement")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="seconds to wait for a quiet moment"
    )
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    for framework in FRAMEWORKS if args.framework is None else (args.framework,):
        found = torch_trials if framework == "torch" else keras_trials
        for trial in found(args.small):
            progress(f"{trial.framework}, {trial.name}")
            more, known = run_trial(trial, args)
            rows += more
            facts[f"{framework}, {trial.name}"] = known
    settings = {name: value for name, value in vars(args).items() if name != "target"}
    told = summary(rows)
    publish("fidelity", COLUMNS, rows, settings={**settings, **told, **facts}, target=args.target)
    for name, value in {**told, **facts}.items():
        print(f"{name}: {value}")


def run_trial(trial: Trial, args: Any) -> tuple[list[dict[str, Any]], str]:
    """Profile, solve and run one model; return a row for each placement, and what was measured."""
    wait(args.wait)
    others = Others()
    profile = trial.profile(args.max_time)
    share = others.share()
    problem = profile.problem()
    result = solve(problem, time_limit=args.time_limit)
    rows = []
    for name, schedule in placements(problem, result):
        wait(args.wait)
        rows.append(run_placement(trial, name, profile, problem, schedule, args.repeats))
        low, high = rows[-1]["predicted ms"], rows[-1]["measured ms"]
        progress(f"  {name}: {low:.3f} ms predicted, {high:.3f} measured")
    device, (link, *_) = profile.devices[0], profile.links
    slow = "not measured" if profile.contention is None else profile.contention.describe()
    known = (
        f"plain {ms(device.whole_s):.3f} ms, launch {device.launch_s * 1e6:.1f} us, factor "
        f"{device.factor:.3f}, link {link.latency_s * 1e6:.1f} us, {slow}, "
        f"others {100 * (share or 0.0):.0f} %"
    )
    return rows, known


def placements(problem: Problem, result: Result) -> Iterator[tuple[str, Schedule]]:
    """Yield all on one device, the chosen schedule, half on each device, and a random one."""
    assert result.schedule is not None
    count, group = problem.arrays.op_count, problem.arrays.group
    order = np.arange(count)
    yield "one", simulate(problem, np.zeros(count, dtype=np.int64), order)
    yield "chosen", result.schedule
    yield "halves", simulate(problem, halves(problem), order)
    drawn = np.random.default_rng(0).integers(0, len(problem.device_ids), group.max() + 1)
    yield "random", simulate(problem, drawn[group], order)


def run_placement(
    trial: Trial,
    name: str,
    profile: Profile,
    problem: Problem,
    schedule: Schedule,
    repeats: int,
) -> dict[str, Any]:
    """Run one placement and return its row."""
    document = Result(problem, Status.FEASIBLE, schedule, 0.0, name).to_dict()
    others = Others()
    report = trial.run(document, repeats)
    share = others.share()
    alone, beside = stretched(report)
    predicted = contended_schedule(schedule, problem.device_ids, profile.contention)
    return {
        "framework": trial.framework,
        "model": trial.name,
        "placement": name,
        "ops": len(report.ops),
        "transfers": report.transfers,
        "makespan ms": ms(report.predicted_s),
        "predicted ms": ms(predicted),
        "measured ms": ms(report.measured_s),
        "spread %": 100 * report.spread,
        "ratio": report.measured_s / predicted,
        "alone": alone,
        "beside": beside,
        "others %": None if share is None else 100 * share,
        "equal": "yes" if report.outputs_equal else "DIFFERS",
    }


def summary(rows: Iterable[Row]) -> dict[str, str]:
    """Return median and worst error, and how many pairs have their order, by framework."""
    found: dict[str, str] = {}
    by_framework: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        models = by_framework.setdefault(str(row["framework"]), {})
        models.setdefault(str(row["model"]), []).append(row)
    for framework, models in by_framework.items():
        off = {
            f"{model}, {row['placement']}": abs(float(row["ratio"] or 0.0) - 1)
            for model, its in models.items()
            for row in its
        }
        worst = max(off, key=lambda name: off[name])
        pairs = [ordered(its) for its in models.values()]
        right, count = (sum(numbers) for numbers in zip(*pairs, strict=True))
        found[framework] = (
            f"|error| {statistics.median(off.values()):.1%} (median), {off[worst]:.1%} (worst: "
            f"{worst}); pairs in order: {right} of {count}"
        )
    return found


def wait(seconds: float) -> None:
    """Wait until others leave the cores alone, but no longer than so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        others = Others()
        time.sleep(LOOK_S)
        if (others.share() or 0.0) < QUIET:
            return


def torch_trials(small: bool) -> Iterator[Trial]:
    """Yield torch's models, captured one at a time."""
    import torch

    from benchmarks import fidelity_nets
    from talos_opt.frameworks.torch.capture import capture
    from talos_opt.frameworks.torch.profile import profile_module
    from talos_opt.frameworks.torch.run import run_schedule

    torch.set_num_threads(1)
    for trial in fidelity_nets.small() if small else fidelity_nets.full():
        module, inputs, mode = trial.case.make(), trial.case.inputs(), trial.mode
        captured = capture(module, inputs, mode)

        def profile(
            max_time_s: float, module: Any = module, inputs: Any = inputs, mode: str = mode
        ) -> Profile:
            return profile_module(
                module,
                inputs,
                mode=mode,
                devices=("cpu0=cpu", "cpu1=cpu"),
                threads=1,
                max_time_s=max_time_s,
            )

        def run(
            document: Any, repeats: int, captured: Any = captured, inputs: Any = inputs
        ) -> RunReport:
            return run_schedule(captured, inputs, document, repeats=repeats, warmup=3, threads=1)

        yield Trial("torch", _title(trial.case.name, mode), profile, run)


def keras_trials(small: bool) -> Iterator[Trial]:
    """Yield TensorFlow's models, captured one at a time."""
    from benchmarks.logical_devices import branches, encoder, inception
    from talos_opt.frameworks.tensorflow.backend import tf
    from talos_opt.frameworks.tensorflow.capture import capture
    from talos_opt.frameworks.tensorflow.models import as_model
    from talos_opt.frameworks.tensorflow.profile import profile_model
    from talos_opt.frameworks.tensorflow.run import run_schedule

    cases: list[tuple[str, Callable[[], Any], tuple[int, ...], str]] = [
        ("branches", branches, (64, 1024), "inference"),
        ("branches", branches, (64, 1024), "training"),
        ("encoder", lambda: encoder(2, 128), (2, 128, 128), "inference"),
        ("inception", inception, (1, 150, 150, 3), "inference"),
    ]
    if small:
        cases = [("branches", lambda: branches(2, 1, 8), (2, 8), "training")]
    for name, make, shape, mode in cases:
        tf.keras.backend.clear_session()
        tf.keras.utils.set_random_seed(0)
        model = as_model(make(), name)
        inputs = (np.random.default_rng(0).random(shape, dtype=np.float32),)
        captured = capture(model, inputs, mode)

        def profile(
            max_time_s: float, model: Any = model, inputs: Any = inputs, mode: str = mode
        ) -> Profile:
            return profile_model(
                model, inputs, mode=mode, logical_devices=2, threads=1, max_time_s=max_time_s
            )

        def run(
            document: Any, repeats: int, captured: Any = captured, inputs: Any = inputs
        ) -> RunReport:
            return run_schedule(
                captured, inputs, document, logical_devices=2, threads=1, repeats=repeats
            )

        yield Trial("tensorflow", _title(name, mode), profile, run)


def _title(name: str, mode: str) -> str:
    return name if mode == "inference" else f"{name}, {mode}"


if __name__ == "__main__":
    main()
