"""Whatever is in a file: a problem, or one of the package's own errors, soon."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from talos_opt.cli.main import main
from talos_opt.core.errors import InputError
from talos_opt.formats import read_problem, read_schedule
from talos_opt.formats.schedule import ScheduleFile
from talos_opt.formats.schedule_document import named_schedule

from .samples import FULL, MSR, SMALL, msr, small
from .test_chakra import calls, protobuf, work
from .test_schedule import document as schedule_document
from .test_stg import COSTS, PLAIN
from .test_wfformat import flow, older

JUNK: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 1.5, -0.0, 1e308, 5e-324, 2**53, 2**53 + 1, 2**63, 10**400),
    *(math.nan, math.inf, -math.inf, "", " ", "a", "cpu", "gpu0", "no", "1e9", "nan", "-1"),
    *("1GB", "1 parsec", "GB", "\0", "\n", "é" * 200, "/", "m1/a", "$ref", "../x", "\ud800"),
    *([], [[]], [None], ["a", "a"], {}, {"": ""}, {"id": "a"}, {"a": {"b": {"c": []}}}),
]

#: Places that are tried in one document.
MOST = 150

TOKENS = [
    *"{}[],:&*!|>'\"%@`#-?~\t\n\0\x85\x7f",
    *("<<", "&a", "*a", "!!map", "---", "...", "é", ".nan"),
]


def attempt(path: Path, data: bytes, read: Callable[[Path], object] = read_problem) -> None:
    """Read a file; any error but an `InputError` fails the test."""
    path.write_bytes(data)
    complaint = None
    try:
        read(path)
    except InputError as error:
        complaint = str(error)
    if complaint is not None:
        assert path.name in complaint
        assert len(complaint) < 2000


def dump(document: Any, *, ascii_only: bool = True) -> bytes:
    return json.dumps(document, ensure_ascii=ascii_only, indent=1).encode("utf-8", "surrogatepass")


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in a document."""
    found = [way] if way else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*way, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found += places(item, (*way, i))
    return found


def follow(document: Any, way: tuple[Any, ...]) -> Any:
    for step in way:
        document = document[step]
    return document


@pytest.mark.parametrize("make", [small, msr, flow, older, work, calls])
def test_junk_in_every_place(tmp_path: Path, make: Any) -> None:
    rng = random.Random(0)
    ways = places(make())
    for way in rng.sample(ways, min(len(ways), MOST)):
        for junk in rng.sample(JUNK, 12):
            document = make()
            follow(document, way[:-1])[way[-1]] = junk
            attempt(tmp_path / "g.json", dump(document))


@pytest.mark.parametrize("make", [small, msr, flow, older, work, calls])
def test_every_value_left_out_or_doubled(tmp_path: Path, make: Any) -> None:
    ways = places(make())
    for way in random.Random(0).sample(ways, min(len(ways), MOST)):
        document = make()
        del follow(document, way[:-1])[way[-1]]
        attempt(tmp_path / "g.json", dump(document))
        document = make()
        holder = follow(document, way[:-1])
        if isinstance(holder, list):
            holder.append(holder[way[-1]])
        else:
            holder[f"{way[-1]}x"] = holder[way[-1]]
        attempt(tmp_path / "g.json", dump(document))


@pytest.mark.parametrize("seed", range(4))
def test_broken_text(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    originals = [FULL.encode(), dump(SMALL), dump(MSR)]
    for _ in range(250):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.choice((1, 1, 2, 5))):
            spot = rng.randrange(len(data))
            match rng.randrange(6):
                case 0:
                    del data[spot]
                case 1:
                    del data[spot : spot + rng.randrange(1, 60)]
                case 2:
                    data[spot] = rng.randrange(256)
                case 3:
                    data[spot:spot] = rng.choice(TOKENS).encode()
                case 4:
                    lines = data.split(b"\n")
                    line = lines.pop(rng.randrange(len(lines)))
                    lines.insert(rng.randrange(len(lines) + 1), line * rng.choice((0, 1, 2)))
                    data = bytearray(b"\n".join(lines))
                case _:
                    del data[spot:]
            data = data or bytearray(b"x")
        attempt(tmp_path / rng.choice(("g.yaml", "g.json", "g")), bytes(data))


@pytest.mark.parametrize(
    ("name", "data"),
    [("g.stg", PLAIN.encode()), ("g.stg", COSTS.encode()), ("g.et", protobuf())],
    ids=["plain", "costs", "protobuf"],
)
def test_broken_bytes(tmp_path: Path, name: str, data: bytes) -> None:
    rng = random.Random(0)
    for _ in range(400):
        broken = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            spot = rng.randrange(len(broken))
            match rng.randrange(4):
                case 0:
                    del broken[spot : spot + rng.choice((1, 1, 9))]
                case 1:
                    broken[spot] = rng.randrange(256)
                case 2:
                    broken[spot:spot] = rng.choice((b"9", b" ", b"\n", b"-", b"\xff" * 9))
                case _:
                    del broken[spot:]
            broken = broken or bytearray(b"x")
        attempt(tmp_path / name, bytes(broken))


def test_junk_in_a_schedule(tmp_path: Path) -> None:
    (tmp_path / "g.json").write_bytes(dump(SMALL))
    problem = read_problem(tmp_path / "g.json")
    rng = random.Random(0)
    for way in places(schedule_document()):
        for junk in rng.sample(JUNK, 12):
            document = schedule_document()
            follow(document, way[:-1])[way[-1]] = junk
            attempt(tmp_path / "s.json", dump(document), partial(read_schedule, problem=problem))


def test_junk_in_a_schedule_that_is_shown(tmp_path: Path) -> None:
    """The reader for pictures without a graph, and what is said beside the rows."""

    def read(path: Path) -> None:
        file = ScheduleFile(path)
        try:
            named_schedule(file.document)
        except InputError as error:
            raise error.located(source=file.name) from None

    original = schedule_document() | {
        "objective": "toct",
        "value": 1.0,
        "metrics": {"idle_time": {"cpu0": 0.0}},
        "history": [{"time_s": 0.1, "value": 1.0, "lower_bound": 0.0, "solver": "x"}],
        "made": {
            "memory_rule": "peak",
            "granularity": "module",
            "no_split": ["a.*"],
            "fingerprint": "ops-edges-1:0",
            "cluster": {"devices": [{"id": "cpu0", "kind": "cpu", "memory": 5}], "links": []},
        },
    }
    for way in places(original):
        for junk in JUNK:
            document = json.loads(json.dumps(original))
            follow(document, way[:-1])[way[-1]] = junk
            attempt(tmp_path / "s.json", dump(document), read)


@pytest.mark.parametrize("command", ["check", "report", "plot", "simulate", "trace", "run"])
def test_no_schedule_is_a_bug_to_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    graph, answer, page = tmp_path / "g.json", tmp_path / "s.json", tmp_path / "p.html"
    graph.write_bytes(dump(small()))
    assert main(["solve", str(graph), "--solver", "heft", "-o", str(answer)]) == 0
    original = json.loads(answer.read_text())
    argv: dict[str, list[object]] = {
        "check": ["check", graph, answer],
        "report": ["report", graph, answer, "-o", page],
        "plot": ["plot", answer, "-o", page],
        "simulate": ["simulate", graph, answer, "--samples", 2],
        "trace": ["trace", graph, answer, "-o", tmp_path / "t.json"],
        "run": ["run", "torch", "nowhere:make", "--schedule", answer],
    }
    rng = random.Random(command)
    for way in rng.sample(places(original), 25):
        document = json.loads(json.dumps(original))
        follow(document, way[:-1])[way[-1]] = rng.choice(JUNK)
        answer.write_bytes(dump(document))
        assert main(list(map(str, argv[command]))) in (0, 1, 2), (way, capsys.readouterr().err)
