"""The JSON Schemas accept what the readers accept, and know the same keys."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

import talos_opt  # noqa: E402
from talos_opt import InputError  # noqa: E402
from talos_opt.analysis.breakdown import break_down  # noqa: E402
from talos_opt.analysis.where import ModuleRow  # noqa: E402
from talos_opt.cli.main import main  # noqa: E402
from talos_opt.core.bundles import RULE_KEYS  # noqa: E402
from talos_opt.core.config import SolveConfig, load_config  # noqa: E402
from talos_opt.core.gains import Gains  # noqa: E402
from talos_opt.core.pipelining.settings import PIPELINE_KEYS  # noqa: E402
from talos_opt.core.plain import Keys  # noqa: E402
from talos_opt.core.records import INPUT_KEYS, MEMORY_KEYS, OP_KEYS  # noqa: E402
from talos_opt.core.stages import STAGES_KEYS  # noqa: E402
from talos_opt.formats.cluster_reader import CLUSTER_KEYS, DEVICE_KEYS, LINK_KEYS  # noqa: E402
from talos_opt.formats.graph_reader import GRAPH_KEYS, MODEL_KEYS  # noqa: E402
from talos_opt.formats.schedule_document import OP_KEYS as ROW_KEYS  # noqa: E402
from talos_opt.formats.schedule_document import TRANSFER_KEYS  # noqa: E402
from talos_opt.formats.source import open_source  # noqa: E402
from talos_opt.online.trace import ARRIVAL_KEYS  # noqa: E402
from talos_opt.online.trace import KEYS as TRACE_KEYS  # noqa: E402
from talos_opt.schemas import SCHEMAS, path_of, read_schema  # noqa: E402
from talos_opt.studies.study import KEYS as STUDY_KEYS  # noqa: E402
from talos_opt.testing.drawing import draw_problem  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "files.md").read_text()


def validator(name: str) -> Any:
    schema = read_schema(name)
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


def complaints(name: str, document: object) -> list[str]:
    return [error.message for error in validator(name).iter_errors(document)]


def parts() -> list[tuple[str, Any, Keys]]:
    graph, schedule, trace = read_schema("graph"), read_schema("schedule"), read_schema("trace")
    defs, op = graph["$defs"], graph["$defs"]["op"]["properties"]
    bundles = defs["cluster"]["properties"]["bundles"]["anyOf"][1]["additionalProperties"]
    return [
        ("graph", graph, GRAPH_KEYS),
        ("model", defs["model"], MODEL_KEYS),
        ("op", defs["op"], OP_KEYS),
        ("memory", op["memory"]["anyOf"][1], MEMORY_KEYS),
        ("input", op["inputs"]["items"]["anyOf"][1], INPUT_KEYS),
        ("stages", graph["properties"]["stages"]["anyOf"][1], STAGES_KEYS),
        ("pipeline", graph["properties"]["pipeline"], PIPELINE_KEYS),
        ("cluster", defs["cluster"], CLUSTER_KEYS),
        ("device", defs["device"], DEVICE_KEYS),
        ("link", defs["link"], LINK_KEYS),
        ("bundles", bundles, RULE_KEYS),
        ("row", schedule["properties"]["ops"]["items"], ROW_KEYS),
        ("transfer", schedule["properties"]["transfers"]["items"], TRANSFER_KEYS),
        ("study", read_schema("study"), STUDY_KEYS),
        ("trace", trace, TRACE_KEYS),
        ("arrival", trace["properties"]["arrivals"]["items"], ARRIVAL_KEYS),
    ]


@pytest.mark.parametrize(("name", "schema", "keys"), parts(), ids=lambda x: str(x)[:12])
def test_schema_and_reader_know_the_same_keys(name: str, schema: Any, keys: Keys) -> None:
    if keys.extra:
        assert keys.allowed <= set(schema["properties"]), name
    else:
        assert set(schema["properties"]) == keys.allowed, name
        assert schema["additionalProperties"] is False
    assert set(schema.get("required", [])) == set(keys.required), name


def test_a_cluster_alone_is_that_of_a_graph() -> None:
    graph, alone = read_schema("graph"), read_schema("cluster")
    defs = graph["$defs"]
    assert {key: alone[key] for key in defs["cluster"]} == defs["cluster"]
    assert alone["$defs"] == {key: defs[key] for key in alone["$defs"]}


def test_schema_and_breakdown_have_the_same_keys() -> None:
    problem = talos_opt.read(ROOT / "models" / "fig1.yaml")
    result = talos_opt.solve(problem, "heft")
    assert result.schedule is not None
    schema = read_schema("schedule")["properties"]["breakdown"]
    assert list(break_down(problem, result.schedule).to_dict()) == list(schema["properties"])
    assert schema["required"] == list(schema["properties"])


def test_schema_and_gains_have_the_same_keys() -> None:
    schema = read_schema("schedule")["properties"]["gains"]
    assert list(Gains(1.0, None, None, None).to_dict()) == list(schema["properties"])
    assert schema["required"] == list(schema["properties"])
    row = read_schema("schedule")["properties"]["modules"]["items"]
    assert [field.name for field in dataclasses.fields(ModuleRow)] == list(row["properties"])
    assert row["required"] == list(row["properties"])


def test_every_key_is_on_the_page() -> None:
    for name in SCHEMAS:
        for schema in _objects(read_schema(name)):
            for key, value in schema["properties"].items():
                row = f"| `{key}` |"
                assert row in PAGE, (name, key)
                assert value.get("description", "") in PAGE, (name, key)
    assert set(read_schema("config")["properties"]) == set(SolveConfig.__dataclass_fields__)


def _objects(value: Any) -> list[Any]:
    if isinstance(value, dict):
        own = [value] if isinstance(value.get("properties"), dict) else []
        return own + [found for item in value.values() for found in _objects(item)]
    if isinstance(value, list):
        return [found for item in value for found in _objects(item)]
    return []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "models").glob("**/*.yaml")), ids=lambda path: path.stem
)
def test_models_and_clusters_are_valid(path: Path) -> None:
    document = open_source(path).document
    assert isinstance(document, dict)
    assert complaints("graph" if "schema" in document else "cluster", document) == []


def test_configurations_are_valid() -> None:
    found = sorted((ROOT / "solver_configs").glob("*.yaml"))
    assert found
    for path in found:
        assert complaints("config", yaml.safe_load(path.read_text())) == []


def test_random_problems_and_their_schedules_are_valid(tmp_path: Path) -> None:
    rng = random.Random(3)
    statuses = set()
    for k in range(40):
        problem = draw_problem(rng, 4, stages=k % 2 == 0, pipelines=k % 4 == 0)
        if problem is None:
            continue
        talos_opt.write_problem(problem, tmp_path / "g.json")
        document = json.loads((tmp_path / "g.json").read_text())
        assert complaints("graph", document) == []
        assert complaints("cluster", document["cluster"]) == []
        result = talos_opt.solve(problem, time_limit=0.2)
        statuses.add(result.status.value)
        assert complaints("schedule", json.loads(json.dumps(result.to_dict()))) == []
    assert {"optimal", "infeasible"} <= statuses


GOOD: dict[str, Any] = {
    "schema": "talos-graph/1",
    "cluster": {
        "devices": [{"id": "cpu0", "kind": "cpu"}, {"id": "gpu0", "kind": "gpu", "memory": "1GiB"}],
        "links": [{"between": ["cpu", "gpu"], "latency": 1, "bandwidth": "12GB/s"}],
    },
    "models": [
        {
            "id": "m",
            "ops": [
                {"id": "a", "time": {"cpu": 2, "gpu": "1e0"}, "memory": {"output": "4 KiB"}},
                {"id": 7, "time": {"cpu": 1}, "inputs": ["a", {"op": "a", "bytes": 3}]},
            ],
        }
    ],
}
del GOOD["models"][0]["ops"][1]["inputs"][1]
Change = Callable[[Any], object]


def device(graph: Any) -> Any:
    return graph["cluster"]["devices"][0]


def op(graph: Any) -> Any:
    return graph["models"][0]["ops"][1]


BAD: dict[str, Change] = {
    "schema": lambda g: g.update(schema="talos-graph/2"),
    "no schema": lambda g: g.pop("schema"),
    "key": lambda g: g.update(clusters=1),
    "unit": lambda g: g.update(time_unit="h"),
    "rule": lambda g: g.update(memory_rule="some"),
    "no models": lambda g: g.pop("models"),
    "models and ops": lambda g: g.update(ops=g["models"][0]["ops"]),
    "stages": lambda g: g.update(stages="rising"),
    "microbatches": lambda g: g.update(pipeline={"microbatches": 0, "schedule": "gpipe"}),
    "device without a kind": lambda g: device(g).pop("kind"),
    "memory of a device": lambda g: device(g).update(memory="much"),
    "fraction": lambda g: device(g).update(memory_fraction=1.5),
    "slots": lambda g: device(g).update(slots=0),
    "copy engine": lambda g: device(g).update(copy_engine="yes"),
    "contention": lambda g: g["cluster"].update(contention="all"),
    "ends": lambda g: g["cluster"]["links"][0].update(between=["cpu"]),
    "both ways": lambda g: g["cluster"]["links"][0].update({"from": "cpu", "to": "gpu"}),
    "duplex": lambda g: g["cluster"]["links"][0].update(duplex="none"),
    "op without time": lambda g: op(g).pop("time"),
    "time": lambda g: op(g).update(time={"cpu": -1}),
    "time as text": lambda g: op(g).update(time={"cpu": "soon"}),
    "phase": lambda g: op(g).update(phase="middle"),
    "split": lambda g: op(g).update(split="no"),
    "bytes": lambda g: op(g).update(memory={"output": -4}),
    "part of memory": lambda g: op(g).update(memory={"outputs": 4}),
    "inputs": lambda g: op(g).update(inputs="a"),
    "input": lambda g: op(g).update(inputs=[{"bytes": 4}]),
    "id": lambda g: op(g).update(id=[1]),
    "pins": lambda g: op(g).update(devices=[]),
    "weight": lambda g: g["models"][0].update(weight=-1),
    "attrs": lambda g: op(g).update(attrs=[1]),
}


@pytest.mark.parametrize("name", BAD)
def test_schema_and_reader_refuse_the_same(name: str, tmp_path: Path) -> None:
    assert complaints("graph", GOOD) == []
    bad, path = copy.deepcopy(GOOD), tmp_path / "g.json"
    path.write_text(json.dumps(bad))
    talos_opt.read(path)
    BAD[name](bad)
    assert complaints("graph", bad)
    path.write_text(json.dumps(bad))
    with pytest.raises(InputError):
        talos_opt.read(path)


def test_configurations_that_are_refused(tmp_path: Path) -> None:
    wrong = ({"solvers": "auto"}, {"time_limit": 0}, {"seed": -1}, {"options": {"fast": 1}})
    for document in wrong:
        assert complaints("config", document)
        path = tmp_path / "c.yaml"
        path.write_text(json.dumps(document))
        with pytest.raises(InputError):
            load_config(path)


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "graph"]) == 0
    assert json.loads(capsys.readouterr().out) == read_schema("graph")
    assert main(["schema"]) == 0
    text = capsys.readouterr().out
    assert all(str(path_of(name)) in text for name in SCHEMAS)
    assert main(["schema", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["schemas"]
    assert {row["name"]: row["file"] for row in rows} == {n: str(path_of(n)) for n in SCHEMAS}
    assert main(["schema", "pictures"]) == 2
    assert "invalid choice: 'pictures'" in capsys.readouterr().err
