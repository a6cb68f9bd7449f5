"""Traces of arrivals, and policies on them, beside who knew everything."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

import talos_opt
from talos_opt import Problem
from talos_opt.cli.main import main
from talos_opt.core.feasibility import check
from talos_opt.online.compared import Online, compare_policies
from talos_opt.online.policies import POLICIES, NoScheduleError, Setting, live
from talos_opt.online.trace import Trace, make_trace, read_trace
from tests.strategies import costly, problems

Capture = pytest.CaptureFixture[str]
MODELS = Path("models").resolve()


def late_fig1() -> Problem:
    """Fig. 1, whose second model arrives one millisecond after the first."""
    problem = talos_opt.read("models/fig1.yaml")
    first, second = problem.graph.models
    models = (first, dataclasses.replace(second, release=1.0))
    return dataclasses.replace(problem, graph=dataclasses.replace(problem.graph, models=models))


@pytest.fixture(scope="module")
def compared() -> Online:
    found = compare_policies(make_trace(late_fig1()), setting=Setting(time_limit=5))
    assert found is not None
    return found


def test_every_policy_is_feasible_and_no_better_than_who_knows_all(compared: Online) -> None:
    assert [lived.policy for lived in compared.lived] == list(POLICIES)
    problem, best = compared.trace.problem, compared.clairvoyant
    assert best.status is talos_opt.Status.OPTIMAL
    assert best.value is not None
    for lived in compared.lived:
        assert check(problem, lived.schedule) == ()
        assert compared.value(lived) >= best.value - 1e-9


def test_what_policies_come_to_on_fig1(compared: Online) -> None:
    values = {lived.policy: compared.value(lived) for lived in compared.lived}
    assert compared.clairvoyant.value == 9.5
    assert values == {"resolve": 9.5, "keep": 9.5, "fifo": 13.5, "talos": 11}


def test_more_than_nothing_has_no_ratio() -> None:
    graph = talos_opt.Graph("g", (talos_opt.Model("m", (talos_opt.Op("a", {"cpu": 0}),)),))
    problem = Problem(graph, talos_opt.Cluster((talos_opt.Device("cpu0", "cpu"),)))
    found = compare_policies(make_trace(problem), ("keep",), Setting(time_limit=5))
    assert found is not None
    assert found.ratio(found.lived[0]) == 1
    schedule = found.lived[0].schedule
    late = dataclasses.replace(schedule, start=schedule.start + 1, end=schedule.end + 1)
    found = dataclasses.replace(found, lived=(dataclasses.replace(found.lived[0], schedule=late),))
    assert found.to_dict()["policies"][0]["ratio"] is None


@pytest.mark.reaches(0.1)
@costly
@given(
    problems(max_ops=5, objectives=("toct", "makespan"), tight=False, missing_routes=False),
    st.sampled_from(("keep", "fifo", "talos")),
)
def test_rules_that_append_keep_what_was_planned(problem: Problem, policy: str) -> None:
    trace = make_trace(problem)
    assume(len(trace.arrivals) > 1)
    try:
        lived = live(trace, policy, Setting(time_limit=10))
    except NoScheduleError:
        reject()
    assert lived is not None
    assert check(trace.problem, lived.schedule) == ()
    before = live(_first(trace, len(trace.arrivals) - 1), policy, Setting(time_limit=10))
    assert before is not None
    old = len(before.schedule.device)
    assert np.array_equal(lived.schedule.start[:old], before.schedule.start)
    assert np.array_equal(lived.schedule.device[:old], before.schedule.device)


def _first(trace: Trace, count: int) -> Trace:
    return Trace(trace.name, trace.arrived(count), trace.arrivals[:count])


def test_a_policy_that_finds_nothing_is_named() -> None:
    problem = late_fig1()
    devices = tuple(dataclasses.replace(d, memory=4) for d in problem.cluster.devices)
    models = [
        dataclasses.replace(
            model,
            ops=tuple(dataclasses.replace(op, memory=talos_opt.Memory(2)) for op in model.ops),
        )
        for model in problem.graph.models
    ]
    tight = Problem(
        dataclasses.replace(problem.graph, models=tuple(models)),
        dataclasses.replace(problem.cluster, devices=devices),
    )
    with pytest.raises(
        NoScheduleError, match="policy keep finds no schedule when m2 arrives at 1 ms"
    ):
        live(make_trace(tight), "keep", Setting(time_limit=5))


def test_what_is_through_when_cancelled_is_not_lost() -> None:
    cancel = threading.Event()

    def arrived(share: float, doing: str) -> None:
        if doing == "policy fifo":
            cancel.set()

    trace, setting = make_trace(late_fig1()), Setting(time_limit=5)
    found = compare_policies(trace, ["talos", "fifo"], setting, cancel=cancel, on_progress=arrived)
    assert found is not None
    assert [lived.policy for lived in found.lived] == ["talos"]
    assert found.clairvoyant.interrupted
    assert compare_policies(trace, ["fifo"], setting, cancel=cancel) is None


def test_where_nothing_fits_there_is_no_schedule(tmp_path: Path, capsys: Capture) -> None:
    ops = "[{id: a, time: {cpu: 1}, memory: 3}, {id: b, time: {cpu: 1}, memory: 3}]"
    cluster = "{devices: [{id: cpu0, kind: cpu, memory: 4}]}"
    (tmp_path / "two.yaml").write_text(
        f"schema: talos-graph/1\nname: two\ntime_unit: ms\nmodels: [{{id: m, ops: {ops}}}]\n"
        f"cluster: {cluster}\n"
    )
    path = write(tmp_path, "arrivals: [{graph: two.yaml}]")
    assert main(["online", str(path)]) == 1
    assert "no schedule of all models was found" in capsys.readouterr().err


# ---- the file ------------------------------------------------------------------------------


def write(folder: Path, text: str) -> Path:
    path = folder / "trace.yaml"
    path.write_text(text.replace("MODELS", str(MODELS)))
    return path


def test_a_trace_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        cluster: MODELS/clusters/cpu-gpu.yaml
        objective: makespan
        arrivals:
          - {graph: MODELS/squeezenet.yaml, at: 2ms, weight: 3}
          - {graph: MODELS/alexnet.yaml}
          - {graph: MODELS/alexnet.yaml, at: 2000, name: again}
          - {graph: MODELS/alexnet.yaml, at: 5000}
        """,
    )
    trace = read_trace(path)
    assert trace.name == "trace"
    assert trace.problem.objective == "makespan"
    assert [(a.at, a.models) for a in trace.arrivals] == [
        (0, ("alexnet",)),
        (2000, ("squeezenet", "again")),
        (5000, ("alexnet-2",)),
    ]
    assert trace.problem.arrays.release.tolist() == [0, 2000, 2000, 5000]
    assert trace.problem.arrays.model_weight.tolist() == [1, 3, 1, 1]
    assert read_trace(path, "toct").problem.objective == "toct"


HEAD = "cluster: MODELS/clusters/cpu-gpu.yaml\narrivals:\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.replace("arrivals:", "arrivals: []"), "arrivals is empty"),
        (HEAD + "- {at: 3}", "an arrival has no 'graph'"),
        (HEAD + "- {graph: MODELS/alexnet.yaml, at: soon}", "at is 'soon', expected a time"),
        (HEAD + "- {graph: MODELS/alexnet.yaml, att: 1}", "did you mean 'at'?"),
        (HEAD + "- {graph: MODELS/alexnet.yaml, model: x}", "has no model 'x'"),
        (HEAD + "- {graph: MODELS/nothing.yaml}", "nothing.yaml: does not exist"),
        (
            HEAD + "- {graph: MODELS/alexnet.yaml}\n- {graph: MODELS/fig1.yaml}",
            "fig1.yaml is in ms, the graphs before are in us",
        ),
        ("objective: memory\n" + HEAD + "- {graph: MODELS/alexnet.yaml}", "expected toct or"),
        ("memory_rule: pipeline\n" + HEAD + "- {graph: MODELS/alexnet.yaml}", "static or peak"),
        ("schema: talos-trace/2\n" + HEAD, "schema is 'talos-trace/2'"),
    ],
)
def test_what_is_wrong_with_a_trace_is_told(
    tmp_path: Path, capsys: Capture, text: str, message: str
) -> None:
    assert main(["online", str(write(tmp_path, text))]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("error:") == 1


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Both models of Fig. 1, one after the other."""
    return write(
        tmp_path,
        """
        name: fig1 late
        arrivals:
          - {graph: MODELS/fig1.yaml, model: m1}
          - {graph: MODELS/fig1.yaml, model: m2, at: 1ms}
        """,
    )


def test_table_and_json_say_the_same(small: Path, tmp_path: Path, capsys: Capture) -> None:
    picture = tmp_path / "policies.svg"
    assert main(["online", str(small), "--time-limit", "5", "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "fig1 late: 2 models arrive at 2 times; with all known beforehand optimal" in out
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("talos")] == [
        ["talos", "11", "ms"]
    ]
    assert "from arrival to completion (ms)" in picture.read_text()
    assert main(["online", str(small), "--policies", "talos", "--json", "--time-limit", "5"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "talos-online/1"
    assert document["clairvoyant"]["value"] == 9.5
    (row,) = document["policies"]
    assert (row["policy"], row["value"]) == ("talos", 11)
    assert sum(row["completion"].values()) == 11


def test_an_unknown_policy_is_refused(small: Path, capsys: Capture) -> None:
    assert main(["online", str(small), "--policies", "lifo"]) == 2
    assert "no policy is called 'lifo', expected resolve" in capsys.readouterr().err
