"""Bytes: files, gzip, standard input, and what is no text."""

from __future__ import annotations

import contextlib
import gc
import gzip
import io
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from talos_opt.core.errors import FormatError, GraphError
from talos_opt.formats import source as module
from talos_opt.formats import text as text_module
from talos_opt.formats import yaml_text
from talos_opt.formats.source import open_source, paused_collector, split_suffix


def put(tmp_path: Path, data: bytes, name: str = "graph.yaml") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def complaint(path: Path | str) -> str:
    with pytest.raises(FormatError) as caught:
        _ = open_source(path).text
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("a.yaml", "a", ".yaml"),
        ("a.b.YAML.GZ", "a.b", ".yaml"),
        ("a.json.gz", "a", ".json"),
        ("a", "a", ""),
        (".yaml", ".yaml", ""),
        ("a.gz", "a", ""),
    ],
)
def test_suffixes(name: str, stem: str, suffix: str) -> None:
    assert split_suffix(name) == (stem, suffix)


def test_text_of_a_file(tmp_path: Path) -> None:
    source = open_source(put(tmp_path, "\ufeffa: é\r\n".encode()))
    assert source.text == "a: é\r\n"
    assert (source.stem, source.suffix, source.folder) == ("graph", ".yaml", tmp_path)


def test_gzip_is_unpacked_whatever_the_name(tmp_path: Path) -> None:
    data = gzip.compress(b"a: 1\n")
    for name in ("a.yaml.gz", "a.yaml"):
        assert open_source(put(tmp_path, data, name)).text == "a: 1\n"


def test_missing(tmp_path: Path) -> None:
    assert "does not exist" in complaint(tmp_path / "nothing.yaml")
    assert "cannot be read" in complaint(put(tmp_path, b"a: 1") / "inside.yaml")


def test_directory(tmp_path: Path) -> None:
    assert "is a directory, expected a file" in complaint(tmp_path)


def test_a_name_that_no_file_has() -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        open_source("a\0b")
    assert "cannot be read" in complaint("x" * 5000)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_unreadable(tmp_path: Path) -> None:
    path = put(tmp_path, b"a: 1")
    path.chmod(0)
    assert "Permission denied" in complaint(path)


@pytest.mark.parametrize("data", [b"", b" \n\t\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_empty(tmp_path: Path, data: bytes) -> None:
    assert "is empty, expected" in complaint(put(tmp_path, data))


def test_binary(tmp_path: Path) -> None:
    assert "binary (byte 3 is NUL)" in complaint(put(tmp_path, b"\x89PN\0\r\n"))
    text = complaint(put(tmp_path, b"a: 1\nb: \xff\n"))
    assert "graph.yaml:2: byte 8 (0xff) is not UTF-8 text" in text
    assert "NUL" in complaint(put(tmp_path, "a: 1".encode("utf-16")))


def test_broken_gzip(tmp_path: Path) -> None:
    data = gzip.compress(b"a: 1\n" * 1000)
    assert "ends too early" in complaint(put(tmp_path, data[:-12], "a.yaml.gz"))
    assert "ends too early" in complaint(put(tmp_path, data[:5], "a.yaml.gz"))
    assert "is not gzip data" in complaint(put(tmp_path, b"a: 1", "a.yaml.gz"))
    spoiled = data[:20] + b"\xff\xff\xff" + data[23:]
    assert "broken gzip data" in complaint(put(tmp_path, spoiled, "a.yaml.gz"))
    assert "broken gzip data" in complaint(put(tmp_path, data + b"rest", "a.yaml.gz"))


def test_gzip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TEXT", 1000)
    assert "holds too much, expected at most 1000 bytes" in complaint(
        put(tmp_path, gzip.compress(b" " * 1001))
    )


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"a: 1", gzip.compress(b"a: 1")):
        stdin(monkeypatch, data)
        source = open_source("-")
        assert (source.name, source.stem, source.text) == ("<stdin>", "stdin", "a: 1")
        assert source.folder == Path()


def test_standard_input_that_is_no_stream_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a: é"))
    assert open_source("-").text == "a: é"


def test_standard_input_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(FormatError, match="<stdin>: cannot be read"):
        open_source("-")
    closed = io.TextIOWrapper(io.BytesIO(b"a"))
    closed.close()
    monkeypatch.setattr(sys, "stdin", closed)
    with pytest.raises(FormatError, match="<stdin>: cannot be read"):
        open_source("-")


def test_standard_input_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"")
    with pytest.raises(FormatError, match="<stdin>: is empty"):
        _ = open_source("-").text


def test_the_collector_is_paused_and_left_as_it_was() -> None:
    with paused_collector():
        assert not gc.isenabled()
        with paused_collector():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), paused_collector():
        raise KeyError
    assert gc.isenabled()
    gc.disable()
    try:
        with paused_collector():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_blame_names_the_file_and_the_line(tmp_path: Path) -> None:
    source = open_source(put(tmp_path, b"a: 1\nb:\n- 2\n"))
    with pytest.raises(GraphError) as caught, source.blamed():
        raise GraphError("is wrong", path="b[0]")
    assert str(caught.value) == f"{tmp_path / 'graph.yaml'}:3: b[0]: is wrong"


def test_blame_leaves_another_file_its_error(tmp_path: Path) -> None:
    source = open_source(put(tmp_path, b"a: 1\n"))
    with pytest.raises(GraphError, match=r"^other: a: is wrong$"), source.blamed():
        raise GraphError("is wrong", path="a", source="other")


# ---- what has no end, and what unfolds to too much ----------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero here")
def test_a_device_of_zeros_is_not_read_to_its_end() -> None:
    began = time.process_time()
    assert "is binary" in complaint("/dev/zero")
    assert len(open_source("/dev/zero").data) <= 2**20
    assert time.process_time() - began < 5


def test_text_without_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Endless(io.RawIOBase):
        read_so_far = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            view = memoryview(buffer)  # type: ignore[arg-type]
            view[:] = b"a" * len(view)
            self.read_so_far += len(view)
            return len(view)

    monkeypatch.setattr(module, "MAX_TEXT", 3 * 2**20)
    raw = Endless()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(raw)))
    with pytest.raises(FormatError, match=r"^<stdin>: holds too much, expected at most 3145728 b"):
        open_source("-")
    assert raw.read_so_far <= 6 * 2**20
    monkeypatch.setattr(sys, "stdin", io.StringIO("a" * 2**23))  # that takes text only
    with pytest.raises(FormatError, match=r"^<stdin>: holds too much"):
        open_source("-")
    with pytest.raises(FormatError, match=r"g\.json: holds too much.*\.npz files may hold more"):
        open_source(put(tmp_path, b"a" * (3 * 2**20 + 1), "g.json"))
    assert len(open_source(put(tmp_path, b"a" * (3 * 2**20), "g.json")).data) == 3 * 2**20


def test_a_pipe_is_read_to_the_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "MAX_TEXT", 2**21)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), pipe.open("wb", buffering=0) as file:
            while True:
                file.write(b"- a\n" * 2**14)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert "holds too much" in complaint(pipe)
    finally:
        writer.join(20)
    assert not writer.is_alive()


def test_a_short_gzip_of_millions_of_values(tmp_path: Path) -> None:
    many = b"0," * 50_000_000
    data = gzip.compress(b"[" + many + b"0]", compresslevel=9)
    assert len(data) < 200_000
    for name in ("g.json.gz", "g.yaml.gz"):
        assert "50000001 commas and brackets, expected at most 33554432" in refusal(
            put(tmp_path, data, name)
        )


def refusal(path: Path) -> str:
    with pytest.raises(FormatError) as caught:
        _ = open_source(path).document
    return str(caught.value)


def test_values_are_counted_as_they_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(yaml_text, "MAX_VALUES", 100)
    text = b"".join(b"- {a: 1, b: 2}\n" for _ in range(19))
    open_source(put(tmp_path, text)).document  # noqa: B018 - five values each, keys too
    assert ":20: holds more than 100 values" in refusal(put(tmp_path, text * 2))
    monkeypatch.setattr(text_module, "MAX_VALUES", 100)
    assert "commas and brackets" in refusal(put(tmp_path, b"{" + b'"a": [1, 2],' * 60 + b"}"))
