"""Which format reads and writes what."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from talos_opt import formats
from talos_opt.core.errors import ConfigError, FormatError
from talos_opt.formats import FORMATS, read_cluster, read_problem, write_problem

from .samples import FULL, MSR, SMALL

CLUSTER = {"devices": [{"id": "a", "kind": "cpu"}]}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_its_word(name: str) -> None:
    item = FORMATS[name]
    module = item.load()
    assert item.name == name
    assert item.summary
    assert callable(module.recognises)
    assert callable(module.read_problem)
    assert hasattr(module, "write_problem") == item.writes
    assert all(suffix.startswith(".") and suffix.islower() for suffix in item.suffixes)


def test_exported_names() -> None:
    assert all(hasattr(formats, name) for name in formats.__all__)


@pytest.mark.parametrize(
    ("name", "text", "graph"),
    [
        ("g.yaml", FULL, "example"),
        ("g.YML", FULL, "example"),
        ("g.json", json.dumps(SMALL), "small"),
        ("g.yaml", json.dumps(SMALL), "small"),
        ("g", FULL, "example"),
        ("g.txt", json.dumps(SMALL), "small"),
        ("g.json", json.dumps(MSR), "g"),
        ("g", json.dumps(MSR), "g"),
        ("g.yaml", json.dumps(MSR), "g"),
    ],
)
def test_by_suffix_and_content(tmp_path: Path, name: str, text: str, graph: str) -> None:
    for suffix, data in (("", text.encode()), (".gz", gzip.compress(text.encode()))):
        path = tmp_path / (name + suffix)
        path.write_bytes(data)
        assert read_problem(path).graph.name == graph


def test_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, name in ((FULL, "example"), (json.dumps(SMALL), "small"), (json.dumps(MSR), "stdin")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert read_problem("-").graph.name == name


def test_what_no_format_knows(tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    path.write_text('{"a": 1}')
    with pytest.raises(FormatError, match=r"g\.json: has no schema, expected 'schema: talos-graph"):
        read_problem(path)
    with pytest.raises(ConfigError, match="no format is called 'x', expected one of: "):
        read_problem(path, format="x")


def test_writing_by_suffix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "g.yaml"
    source.write_text(FULL)
    problem = read_problem(source)
    for name in ("a.yaml", "a.yml", "a.json", "a.json.gz", "A.YAML.GZ"):
        write_problem(problem, tmp_path / name)
        assert read_problem(tmp_path / name) == problem
    json.loads((tmp_path / "a.json").read_text())
    write_problem(problem, "-")
    assert capsys.readouterr().out == (tmp_path / "a.yaml").read_text()


def test_writing_that_cannot_be(tmp_path: Path) -> None:
    source = tmp_path / "g.yaml"
    source.write_text(FULL)
    problem = read_problem(source)
    for name in ("a.txt", "a", "a.gz"):
        with pytest.raises(ConfigError, match=r"expected one of: \.json, .*\.yaml, \.yml"):
            write_problem(problem, tmp_path / name)
    with pytest.raises(FormatError, match=r"suffix '\.txt' is unknown"):
        write_problem(problem, tmp_path / "a.txt", format="talos")
    with pytest.raises(ConfigError, match="'msr' can only be read, expected one of: "):
        write_problem(problem, tmp_path / "a.json", format="msr")
    assert [path.name for path in tmp_path.iterdir()] == ["g.yaml"]


def test_cluster_files(tmp_path: Path) -> None:
    for name in ("c.json", "c.yaml"):
        path = tmp_path / name
        path.write_text(json.dumps(CLUSTER | {"schema": "talos-cluster/1", "name": "x"}))
        assert read_cluster(path).devices[0].id == "a"


def test_importing_the_registry_loads_no_reader() -> None:
    """`talos-opt --help` must not pay for yaml and networkx."""
    code = (
        "import sys, talos_opt.formats; "
        "print([name for name in ('yaml', 'networkx', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
