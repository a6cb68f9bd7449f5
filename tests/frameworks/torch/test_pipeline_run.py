"""A model as a pipeline of processes, and what can go wrong with them."""

from __future__ import annotations

import itertools
import json
import socket
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from talos_opt import formats  # noqa: E402
from talos_opt.cli.main import main  # noqa: E402
from talos_opt.core.columns import BACKWARD, FORWARD, UPDATE  # noqa: E402
from talos_opt.core.errors import InputError, SolverError  # noqa: E402
from talos_opt.core.module_paths import module_of  # noqa: E402
from talos_opt.core.pipelining.step import Pipeline  # noqa: E402
from talos_opt.core.problem import Problem  # noqa: E402
from talos_opt.core.result import Result, Status  # noqa: E402
from talos_opt.core.schedule import Schedule  # noqa: E402
from talos_opt.core.simulator import simulate  # noqa: E402
from talos_opt.formats.chrome_trace import write_schedule_trace  # noqa: E402
from talos_opt.frameworks.common.pipelined import measured_blocks  # noqa: E402
from talos_opt.frameworks.torch.loading import load_callable, make_arguments  # noqa: E402
from talos_opt.frameworks.torch.peers import wire_of  # noqa: E402
from talos_opt.frameworks.torch.pipeline_run import run_pipeline  # noqa: E402
from talos_opt.frameworks.torch.profile import profile_module  # noqa: E402
from tests.frameworks.torch import staged  # noqa: E402

SPECS = ["ids=6:int64:0-19", "labels=6:int64:0-4"]
FILE = str(Path(staged.__file__))
MAP = {"a100-0": "cpu", "a100-1": "cpu"}
SECOND = ("layers.2", "head")


def problem_of(mode: str) -> Problem:
    profile = profile_module(
        staged.labelled(), make_arguments(SPECS), mode=mode, devices=["2xestimate:a100"]
    )
    return profile.problem()


def split(problem: Problem, second: tuple[str, ...] = SECOND) -> Schedule:
    """Place some modules, and what follows them, on the second device."""
    there = [module_of(op).startswith(second) or module_of(op) == "" for op in problem.ops]
    device = np.array(there, dtype=np.int64)
    return simulate(problem, device, np.arange(len(device)))


@pytest.fixture(scope="module")
def training() -> Problem:
    return problem_of("training")


@pytest.fixture(scope="module")
def inference() -> Problem:
    return problem_of("inference")


@pytest.fixture
def files(inference: Problem, tmp_path: Path) -> list[str]:
    """Arguments that name the graph and a schedule of it."""
    graph, target = tmp_path / "graph.yaml", tmp_path / "schedule.json"
    formats.write_problem(inference, graph)
    result = Result(inference, Status.FEASIBLE, split(inference), 0.0, "by hand")
    formats.write_schedule(result.to_dict(), target)
    inputs = [part for spec in SPECS for part in ("--input", spec)]
    places = ",".join(f"{name}={device}" for name, device in MAP.items())
    return ["--graph", str(graph), "--schedule", str(target), "--map", places, *inputs]


def test_tensors_travel_between_gpus_or_by_the_host() -> None:
    cpu, first, second = map(torch.device, ("cpu", "cuda:0", "cuda:1"))
    assert wire_of([first, second], 1) == second
    for devices in ([cpu, cpu], [cpu, first], [first, cpu, second], [first, first]):
        assert {wire_of(devices, k) for k in range(len(devices))} == {cpu}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("places", [("cpu", "cuda:0"), ("cuda:0", "cpu"), ("cuda:0", "cuda:0")])
def test_stages_on_a_cpu_and_a_gpu(
    training: Problem, inference: Problem, places: tuple[str, str]
) -> None:
    for problem, mode in ((training, "training"), (inference, "inference")):
        report = run_pipeline(
            partial(load_callable, f"{FILE}:labelled"),
            make_arguments(SPECS),
            problem,
            split(problem),
            order="1f1b" if mode == "training" else "gpipe",
            microbatches=3,
            mode=mode,
            device_map=dict(zip(MAP, places, strict=True)),
            repeats=2,
        )
        assert report.outputs_equal
        assert report.gradients_equal is (True if mode == "training" else None)
        assert [stage.where for stage in report.stages] == list(places)


def test_training_in_two_processes(training: Problem, tmp_path: Path) -> None:
    schedule = split(training)
    report = run_pipeline(
        partial(load_callable, f"{FILE}:labelled"),
        make_arguments(SPECS),
        training,
        schedule,
        MAP,
        order="1f1b",
        microbatches=3,
        mode="training",
        repeats=3,
    )
    assert report.outputs_equal
    assert report.gradients_equal
    step = Pipeline(training, schedule.device, adds_gradients=True).run("1f1b", 3)
    assert report.predicted_s == pytest.approx(step.time / 1e6)
    assert report.measured_s > 0
    rows = [[b for b in report.blocks if b.device == k] for k in range(2)]
    F, B, U = FORWARD, BACKWARD, UPDATE
    assert [b.phase for b in rows[0]] == [F, F, B, F, B, B, U]
    assert [b.phase for b in rows[1]] == [F, B, F, B, F, B, U]
    for blocks in rows:
        assert all(a.end <= b.start for a, b in itertools.pairwise(blocks))
    # One clock: a stage begins with a micro-batch after the one before it has ended with it.
    ends = {(b.device, b.phase, b.microbatch): b for b in report.blocks}
    assert all(ends[0, F, k].end <= ends[1, F, k].start for k in range(3))
    assert all(ends[1, B, k].end <= ends[0, B, k].start for k in range(3))
    target = tmp_path / "trace.json"
    write_schedule_trace(*measured_blocks(report, "net"), target)
    events = json.loads(target.read_text())["traceEvents"]
    bars = [event for event in events if "op" in event.get("cat", "").split(",")]
    assert {event["name"] for event in bars} >= {"forward 0 (a100-0)", "backward 2 (a100-1)"}
    assert len({event["pid"] for event in bars}) == 2


def test_inference_from_the_command_line(
    files: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace = tmp_path / "trace.json"
    command = ["run", "torch", f"{FILE}:labelled", "--pipeline", "--microbatches", "2", "--json"]
    assert main([*command, *files, "--repeats", "2", "--trace", str(trace)]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["outputs_equal"]
    assert report["gradients_equal"] is None
    assert [stage["device"] for stage in report["stages"]] == list(MAP)
    assert len(report["blocks"]) == 4
    assert trace.exists()


def test_a_process_that_is_killed(inference: Problem) -> None:
    with pytest.raises(SolverError, match=r"stage \d \(a100-\d\) failed: .*killed \(SIGKILL\)"):
        run_pipeline(
            partial(load_callable, f"{FILE}:killed"),
            make_arguments(SPECS),
            inference,
            split(inference),
            MAP,
        )


def test_a_port_in_use(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = ["run", "torch", f"{FILE}:labelled", "--pipeline", "--port", port]
        assert main([*command, *files]) == 2
    assert f"error: --port {port} is in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--microbatches", "2"], "--microbatches needs --pipeline"),
        (["--pipeline", "--microbatches", "0"], "not a whole number of at least 1"),
        (["--pipeline", "--port", "70000"], "not a port from 1 to 65535"),
        (["--pipeline", "zigzag"], "'zigzag' is not an order of blocks"),
        (["--pipeline", "--mode", "training"], "the graph is of inference"),
        (["--pipeline", "--map", "gpu=cpu"], "unknown device 'gpu'"),
    ],
)
def test_arguments_that_do_not_fit(
    files: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    options = files if "--pipeline" in arguments else files[2:]
    if "--map" in arguments:
        options = [option for option in options if option != "--map" and "a100-0=" not in option]
    assert main(["run", "torch", f"{FILE}:labelled", *options, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_graph_is_needed(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "torch", f"{FILE}:labelled", "--pipeline", *files[2:]]) == 2
    assert "--pipeline needs --graph" in capsys.readouterr().err
    assert main(["run", "tensorflow", f"{FILE}:labelled", "--pipeline", *files]) == 2
    assert "--pipeline runs models of torch" in capsys.readouterr().err


def test_placements_that_cannot_be_run(training: Problem, inference: Problem) -> None:
    def run(problem: Problem, schedule: Schedule, **more: Any) -> None:
        make = partial(load_callable, f"{FILE}:labelled")
        run_pipeline(make, make_arguments(SPECS), problem, schedule, **{"device_map": MAP, **more})

    with pytest.raises(InputError, match="solve with --stages acyclic"):
        run(inference, split(inference, ("layers.0", "head")))
    with pytest.raises(InputError, match="microbatches is 1, expected at least 2: torch"):
        run(training, split(training), order="1f1b", microbatches=1, mode="training")
    with pytest.raises(InputError, match="microbatches is 0, expected a whole number of 1"):
        run(inference, split(inference), microbatches=0)
