"""talos-columns/1: round trips, and files that are not what they say."""

from __future__ import annotations

import contextlib
import io
import json
import math
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from talos_opt.core.errors import FormatError, InputError
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.formats import read_problem, write_problem
from tests.cli.process import run

from ..builders import fig1
from ..strategies import large_problems, problems
from .samples import FULL

MODELS = Path(__file__).resolve().parents[2] / "models"
fixture_ok = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def survives(problem: Problem, path: Path) -> None:
    write_problem(problem, path)
    found = read_problem(path, objective=problem.objective)
    for item in fields(problem.arrays):
        if item.name == "division":  # of bundles, which no file's problem has
            continue
        ours, theirs = getattr(found.arrays, item.name), getattr(problem.arrays, item.name)
        assert np.array_equal(ours, theirs), item.name
        assert ours.dtype == theirs.dtype
    assert found.names == problem.names
    assert found == problem


@fixture_ok
@given(st.one_of(problems(stages=True), large_problems()))
def test_random_problems(tmp_path: Path, problem: Problem) -> None:
    survives(problem, tmp_path / "g.npz")


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_projects_own_models(tmp_path: Path, path: Path) -> None:
    survives(read_problem(path), tmp_path / "g.npz")


@pytest.mark.parametrize("suffix", [".npz", ".npz.gz", ".NPZ"])
def test_full_example(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "full.yaml").write_text(FULL)
    survives(read_problem(tmp_path / "full.yaml"), tmp_path / f"g{suffix}")


def test_names_and_attributes(tmp_path: Path) -> None:
    given = fig1()
    ops = (
        Op("ö/ß \n'\"", {"cpu": 1.0}, attrs={"shape": [1, 2], "deep": {"é": None}}),
        Op(" ", {"cpu": 0.1 + 0.2}, devices=("cpu",)),
    )
    graph = Graph("größe", (Model("m\t1", ops, 0.1, 0.3), Model("2", given.ops)), "s", {"x": 1})
    survives(Problem(graph, given.cluster), tmp_path / "g.npz")


def test_equal_problems_make_equal_files(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_problem(fig1(), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_half_of_a_character_is_refused(tmp_path: Path) -> None:
    graph = Graph("g", (Model("m", (Op("\ud800", {"cpu": 1.0}),)),))
    with pytest.raises(FormatError, match=r"g\.npz: cannot be written as UTF-8"):
        write_problem(Problem(graph, fig1().cluster), tmp_path / "g.npz")
    assert list(tmp_path.iterdir()) == []


def test_conversion_there_and_back(tmp_path: Path) -> None:
    source, columns, back = (tmp_path / name for name in ("a.yaml", "b.npz", "c.yaml"))
    source.write_text(FULL)
    for args in ((source, columns), (columns, back)):
        done = run("convert", args[0], "-o", args[1])
        assert done.returncode == 0, done.stderr
    assert read_problem(back) == read_problem(source)


# ---- files made by others ----------------------------------------------------------------------

HEADER: dict[str, Any] = {
    "schema": "talos-columns/1",
    "models": [{"id": "m", "ops": 3}],
    "time_keys": ["cpu"],
    "cluster": {"devices": [{"id": "c0", "kind": "cpu"}]},
}


def columns(**change: Any) -> dict[str, Any]:
    plain = {
        "header": HEADER,
        "time": np.array([[1.0], [2.0], [math.nan]]) * 0 + 1.0,
        "input_ptr": np.array([0, 0, 1, 3], dtype=np.int32),
        "input_op": np.array([0, 0, 1], dtype=np.uint16),
    }
    merged = plain | change
    return {name: value for name, value in merged.items() if value is not None}


def save(path: Path, values: dict[str, Any], *, packed: bool = False) -> None:
    arrays = {
        name: np.frombuffer(json.dumps(value).encode(), np.uint8)
        if isinstance(value, (dict, list))
        else value
        for name, value in values.items()
    }
    (np.savez_compressed if packed else np.savez)(path, **arrays)


@pytest.mark.parametrize("packed", [False, True])
def test_the_least_that_a_file_needs(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "tiny.npz"
    save(path, columns(time=np.ones((3, 1), dtype=np.float32, order="F")), packed=packed)
    found = read_problem(path)
    assert found.graph == Graph(
        "tiny",
        (
            Model(
                "m",
                (
                    Op("0", {"cpu": 1.0}),
                    Op("1", {"cpu": 1.0}, inputs=(Input("0"),)),
                    Op("2", {"cpu": 1.0}, inputs=(Input("0"), Input("1"))),
                ),
            ),
        ),
    )


def head(**change: Any) -> dict[str, Any]:
    merged = HEADER | change
    return {"header": {key: value for key, value in merged.items() if value is not None}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": None}, "has no column 'header', expected bytes"),
        ({"header": np.frombuffer(b"{", np.uint8)}, "column 'header' is not JSON"),
        ({"header": np.frombuffer(b"\xff", np.uint8)}, "'header' is not UTF-8 text at byte 0"),
        ({"header": [1]}, "column 'header' is a list, expected a mapping"),
        (head(schema="talos-graph/1"), "schema: schema is 'talos-graph/1', expected 'talos-col"),
        (head(extra=1), "extra: unknown key 'extra'"),
        (head(models=None), "the header has no 'models'"),
        (head(models=[]), "models: the graph has no models"),
        (head(models=[{"id": "m", "ops": -1}]), r"models\[0\].ops: ops is -1, expected the number"),
        (head(models=[{"id": "m", "ops": True}]), r"models\[0\].ops: ops is True"),
        (head(models=[{"id": "m", "ops": 3, "w": 1}]), r"models\[0\].w: unknown key"),
        (head(models=[{"id": "m", "ops": 2}]), r"'time' holds .* shape \(3, 1\), expected numbers"),
        (head(models=[{"id": "m", "ops": 2}, {"id": "m", "ops": 1}]), "id: model id 'm' is used"),
        (head(time_keys=["cpu", "cpu"]), "time_keys names something twice"),
        (head(pins=[[]]), r"pins\[0\]: pins is an empty list"),
        (head(time_unit="h"), "time_unit is 'h'"),
        (head(memory_rule="no"), "memory_rule is 'no'"),
        (head(cluster=None), "the graph has no cluster"),
        (head(cluster={"devices": []}), "the cluster has no devices"),
        ({"time": None}, "has no column 'time', expected numbers"),
        ({"time": np.ones(3)}, r"'time' holds float64 of shape \(3,\), expected .* \(3, 1\)"),
        ({"time": np.ones((3, 1), dtype=bool)}, "'time' holds bool"),
        ({"time": np.array([[1], ["x"], [2]])}, "'time' holds <U"),
        ({"time": np.array([[1], [None], [2]])}, "'time' holds Python objects"),
        ({"time": np.full((3, 1), np.nan)}, r"models\[0\].ops\[0\].time: op m/0 can run on no dev"),
        ({"time": np.full((3, 1), -1.0)}, r"models\[0\].ops\[0\].time.cpu: .* is -1.0"),
        ({"weights": np.ones(2, dtype=int)}, r"'weights' holds int64 of shape \(2,\)"),
        ({"weights": np.ones(3)}, "'weights' holds float64 .* expected whole numbers"),
        ({"weights": np.full(3, 2**64 - 1, np.uint64)}, "too large for 64 bits"),
        ({"weights": np.full(3, -1)}, r"models\[0\].ops\[0\].memory.weights: .* is -1"),
        ({"input_ptr": np.array([0, 0, 1])}, r"'input_ptr' holds int64 of shape \(3,\)"),
        ({"input_ptr": np.array([0, 2, 1, 3])}, "'input_ptr' goes from 0 to 3, expected .* rise"),
        ({"input_ptr": np.array([0, 0, 1, 2])}, "goes from 0 to 2, expected .* from 0 to 3"),
        (
            {"input_op": np.array([0, 0, 3])},
            r"models\[0\].ops\[2\].inputs\[1\]: .* reads op number 3",
        ),
        ({"input_op": np.array([2, 0, 1])}, r"'m' has a cycle: [0-2 >-]+, expected a DAG"),
        ({"input_op": np.array([0, 1, 1])}, "lists input '1' twice"),
        ({"op_id": np.frombuffer(b"aab", np.uint8)}, "has no column 'op_id_ptr'"),
        (
            {"op_id": np.frombuffer(b"aab", np.uint8), "op_id_ptr": np.arange(4)},
            r"models\[0\].ops\[1\].id: op id 'a' is used twice",
        ),
        ({"group": np.zeros(3, dtype=int)}, r"colocate: .* number 0, expected one from -1 to -1"),
        ({"other": np.zeros(3)}, "has an unknown column 'other'"),
        ({"attrs": np.frombuffer(b"[", np.uint8)}, "column 'attrs' is not JSON"),
        (
            {"attrs": [{}], "attrs_op": np.array([3])},
            "different numbers below 3",
        ),
        ({"attrs": [1], "attrs_op": np.array([0])}, r"attrs\[0\]: attrs is 1, expected a mapping"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "g.npz"
    save(path, columns(**change))
    with pytest.raises(InputError, match=message) as caught:
        read_problem(path)
    assert str(caught.value).startswith(str(path))


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("unpickled",))

    path = tmp_path / "g.npz"
    save(path, columns(header=np.array([Trap()], dtype=object)))
    with pytest.raises(FormatError, match="'header' holds Python objects"):
        read_problem(path)


def test_files_that_are_cut_off_or_changed(tmp_path: Path) -> None:
    path, broken = tmp_path / "g.npz", tmp_path / "b.npz"
    write_problem(fig1(), path)
    whole = path.read_bytes()
    for length in (10, len(whole) // 2, len(whole) - 5):
        broken.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"b\.npz: is not an npz file, or is cut off"):
            read_problem(broken)
    at = whole.index(b"op1op2")
    broken.write_bytes(whole[:at] + b"x" + whole[at + 1 :])
    with pytest.raises(FormatError, match="column 'op_id' is broken: Bad CRC-32"):
        read_problem(broken)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_byte_gives_one_error_or_a_problem(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "g.npz"
    write_problem(fig1(), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        assert read_problem(path).graph.op_count > 0


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)
    return file.getvalue()


def npy(header: str, content: bytes) -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.txt": b""}, "holds 'a.txt', expected arrays NAME.npy"),
        ({"header.npy": b"no array"}, "column 'header' is not an array"),
        (
            {
                "header.npy": npy(
                    "{'descr': '|u1', 'fortran_order': False, 'shape': (9,), }\n", b"a"
                )
            },
            r"'header' has 1 bytes, expected 9 for shape \(9,\) of uint8",
        ),
        (
            {
                "header.npy": npy(
                    "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }\n", b""
                )
            },
            "column 'header' has",
        ),
        (
            {
                "header.npy": npy(
                    "{'descr': '<f8', 'fortran_order': False, 'shape': (2**60,), }\n", b""
                )
            },
            "column 'header' is not an array",
        ),
    ],
)
def test_archives_that_hold_something_else(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    path = tmp_path / "g.npz"
    path.write_bytes(archive(members))
    with pytest.raises(FormatError, match=message):
        read_problem(path)


def test_an_archive_that_unzips_to_too_much(tmp_path: Path, monkeypatch: Any) -> None:
    from talos_opt.formats import npz

    path = tmp_path / "g.npz"
    write_problem(fig1(), path)
    monkeypatch.setattr(npz, "MAX_UNZIPPED", 1000)
    with pytest.raises(FormatError, match="expected at most 1000"):
        read_problem(path)
