"""Writing: whole or not at all."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from talos_opt.core.errors import FormatError
from talos_opt.formats.npz import write_members
from talos_opt.formats.target import write_lines
from tests.cli.process import FIG1


def failing() -> Iterator[str]:
    yield "a"
    raise KeyboardInterrupt


def test_writes_text_and_gzip(tmp_path: Path) -> None:
    write_lines(["é", "b"], tmp_path / "x.yaml")
    assert (tmp_path / "x.yaml").read_bytes() == "é\nb\n".encode()
    for name in ("x.gz", "y.gz"):
        write_lines(["é", "b"], str(tmp_path / name))
    packed = (tmp_path / "x.gz").read_bytes()
    assert gzip.decompress(packed) == "é\nb\n".encode()
    assert packed == (tmp_path / "y.gz").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["x.gz", "x.yaml", "y.gz"]


@pytest.mark.parametrize("name", ["x.yaml", "x.yaml.gz"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for old in (False, True):
        if old:
            path.write_text("old")
        with pytest.raises(KeyboardInterrupt):
            write_lines(failing(), path)
        with pytest.raises(FormatError, match="cannot be written as UTF-8"):
            write_lines(["\ud800"], path)
        assert os.listdir(tmp_path) == ([name] if old else [])
    assert path.read_text() == "old"


def test_permissions(tmp_path: Path) -> None:
    path = tmp_path / "x"
    mask = os.umask(0o027)
    try:
        write_lines(["a"], path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    write_lines(["b"], path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert path.read_text() == "b\n"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_lines(["new"], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new\n"


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="no /dev/null here")
def test_a_device_is_written_to_not_replaced() -> None:
    write_lines(["a"], "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for target, words in [
        (tmp_path, "is a directory"),
        (tmp_path / "no" / "x.yaml", "its folder does not exist"),
        (tmp_path / "file" / "x.yaml", "its folder does not exist"),
        (tmp_path / ("x" * 300), "cannot be written"),
    ]:
        with pytest.raises(FormatError, match=words) as caught:
            write_lines(["a"], target)
        assert str(target) in str(caught.value)
    with pytest.raises(FormatError, match="NUL"):
        write_lines(["a"], "a\0b")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_protected_targets(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(FormatError, match="Permission denied"):
        write_lines(["a"], path)
    tmp_path.chmod(0o555)
    with pytest.raises(FormatError, match="Permission denied"):
        write_lines(["a"], tmp_path / "y")
    tmp_path.chmod(0o755)


def test_standard_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    print("before")
    write_lines(["é", "b"], "-")
    assert capsysbinary.readouterr().out == "before\né\nb\n".encode()


def test_standard_output_that_takes_text_only(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    write_lines(["é"], "-")
    assert out.getvalue() == "é\n"


class Broken(io.RawIOBase):
    def __init__(self, error: OSError) -> None:
        self.error = error

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (OSError(28, "No space left on device"), FormatError, "<stdout>: cannot be written: .*No"),
        (BrokenPipeError(32, "Broken pipe"), BrokenPipeError, "Broken pipe"),
    ],
)
def test_standard_output_is_broken(
    monkeypatch: pytest.MonkeyPatch, error: OSError, raised: type[Exception], words: str
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(Broken(error)))  # type: ignore[type-var]
    with pytest.raises(raised, match=words):
        write_lines(["a"], "-")


# ---- full disks ---------------------------------------------------------------------------------


class Full(io.BytesIO):
    """A file on a disk that is full, which shows when what is buffered is written."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, data: object) -> int:
        if self.tell() > self.room:
            self.flush()
        return super().write(data)  # type: ignore[arg-type]

    def close(self) -> None:
        if not self.closed:
            try:
                self.flush()
            finally:
                super().close()


@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "x.npz"])
@pytest.mark.parametrize("room", [0, 100, 10**9])
@pytest.mark.parametrize("old", [b"", b"old"])
def test_a_full_disk_keeps_the_old_file_and_no_rest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, room: int, old: bytes
) -> None:
    path, plain = tmp_path / name, Path.open
    if old:
        path.write_bytes(old)

    def full(self: Path, mode: str = "r", *rest: object) -> object:
        if mode != "xb":
            return plain(self, mode, *rest)  # type: ignore[call-overload]
        self.touch()
        return Full(room)

    monkeypatch.setattr(Path, "open", full)

    def write() -> None:
        if name.endswith(".npz"):
            write_members({"a": 1}, {"b": np.zeros(1000)}, path)
        else:
            write_lines(["a" * 50] * 50, path)

    with pytest.raises(FormatError, match="No space left on device"):
        write()
    assert os.listdir(tmp_path) == ([name] if old else [])
    assert not old or path.read_bytes() == old


LIMITED = """
import os, resource, sys
from talos_opt.cli.main import main

graph, folder = sys.argv[1:]
os.chdir(folder)
assert main(["solve", graph, "-o", "s.json"]) == 0
before = os.listdir(".")
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for command in (
    ["solve", graph, "-o", "s.json"],
    ["solve", graph, "-o", "t.json.gz"],
    ["solve", graph, "-o", "t.npz"],
    ["solve", graph, "-o", "t.yaml"],
    ["compare", graph, "--solvers", "heft", "-o", "c.json"],
    ["convert", graph, "-o", "g.npz"],
    ["convert", graph, "-o", "g.yaml"],
    ["trace", graph, "s.json", "-o", "t.json"],
    ["report", graph, "s.json", "-o", "r.html"],
    ["plot", "s.json", "-o", "p.html"],
    ["plot", "s.json", "-o", "p.svg"],
    ["simulate", graph, "s.json", "--samples", "5", "-o", "n.json"],
    ["simulate", graph, "s.json", "--samples", "5", "--plot", "n.png"],
    ["explain", graph, "s.json", "m1/op1", "--move", "cpu0", "-o", "e.json"],
):
    code = main(command)
    assert code == 2, (command, code)
    assert os.listdir(".") == before, (command, os.listdir("."))
"""


def test_no_writer_leaves_anything_where_it_cannot_write(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(FIG1), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be written: File too large") == 14, done.stderr
    assert json.loads((tmp_path / "s.json").read_text())["schema"] == "talos-schedule/1"
