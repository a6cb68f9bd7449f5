"""How ``profile`` and ``run`` find their framework, without any being imported."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from talos_opt.cli.arguments import FRAMEWORKS, add_model
from talos_opt.cli.main import main
from talos_opt.core.errors import DependencyError, InputError
from talos_opt.core.extras import how_to_install
from talos_opt.frameworks import choosing
from talos_opt.frameworks.common.profile import DeviceProfile, OpProfile, Profile, Timing
from tests.cli.process import FIG1

ROW = {"model": "m", "op": "a", "device": "cpu0", "start": 0, "end": 1}

Capture = pytest.CaptureFixture[str]


def given(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_model(parser)
    return parser.parse_args(argv)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every library is there, as far as one can tell without importing it."""
    monkeypatch.setattr(choosing, "find_spec", lambda name: name)


def importing(
    monkeypatch: pytest.MonkeyPatch, error: ImportError | None = None
) -> Callable[[], list[str]]:
    asked: list[str] = []

    def pretend(name: str) -> Any:
        asked.append(name)
        if error is not None:
            raise error
        return SimpleNamespace(name=name)

    monkeypatch.setattr(choosing, "import_module", pretend)
    return lambda: asked


def test_the_arguments_of_a_model() -> None:
    args = given("tensorflow", "net:make", "--input", "2x3", "--input", "4", "--seed", "7")
    assert (args.framework, args.target, args.input) == ("tensorflow", "net:make", ["2x3", "4"])
    assert (args.mode, args.seed, args.logical_devices) == ("inference", 7, None)
    assert given("tensorflow", "saved", "--logical-devices", "2").logical_devices == 2


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.usefixtures("installed")
def test_a_framework_is_its_command_module(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = importing(monkeypatch)
    choosing.load(name)
    assert asked() == [f"talos_opt.frameworks.{name}.command"]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_library_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DependencyError) as caught:
        choosing.load(name)
    assert str(caught.value) == (f"{name} is not installed: {how_to_install(name)}")


@pytest.mark.usefixtures("installed")
def test_a_library_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    importing(monkeypatch, ImportError("libcudart.so.13: cannot open", name="torch._C"))
    with pytest.raises(DependencyError, match="torch is installed, but cannot be imported: libcud"):
        choosing.load("torch")


@pytest.mark.usefixtures("installed")
def test_a_mistake_of_our_own_is_no_broken_library(monkeypatch: pytest.MonkeyPatch) -> None:
    importing(monkeypatch, ImportError("cannot import name", name="talos_opt.core"))
    with pytest.raises(ImportError, match="cannot import name") as caught:
        choosing.load("torch")
    assert not isinstance(caught.value, DependencyError)


def test_only_tensorflow_splits_the_processor() -> None:
    asked = choosing.ModelArguments("a:b", logical_devices=2)
    choosing.require_arguments("tensorflow", asked)
    with pytest.raises(InputError, match="--logical-devices splits the CPU for tensorflow, not"):
        choosing.require_arguments("torch", asked)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"ops": [{"model": "m", "op": "a", "device": "cpu0"}]},
            ":4: ops[0]: an op has no 'start'",
        ),
        ({"ops": ["a"]}, ": ops[0]: an op is 'a', expected a mapping"),
        ({"time_unit": "min", "ops": []}, ": time_unit is 'min', expected one of us, ms, s"),
        ({"ops": [ROW], "transfers": None}, ": transfers: transfers is empty, expected a list"),
        ({"ops": []}, ": ops: the file holds no schedule"),
    ],
)
def test_a_broken_schedule_is_bad_input(
    document: dict[str, Any], message: str, capsys: Capture, tmp_path: Path
) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"schema": "talos-schedule/1", **document}, indent=0))
    assert main(["run", "torch", "a:b", "--schedule", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {path}:")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("torch", "a:b", "--logical-devices", "2"), "--logical-devices splits the CPU"),
        (("jax", "a:b"), "invalid choice: 'jax'"),
        (
            ("tensorflow", "a:b", "--logical-devices", "0"),
            "'0' is not a whole number",
        ),
    ],
)
def test_both_commands_refuse_the_same(
    argv: tuple[str, ...], message: str, capsys: Capture, tmp_path: Path
) -> None:
    schedule = tmp_path / "schedule.json"
    assert main(["solve", str(FIG1), "--solver", "heft", "-o", str(schedule)]) == 0
    capsys.readouterr()
    for command in (["profile"], ["run", "--schedule", str(schedule)]):
        assert main([*command, *argv]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.out == ""


@pytest.mark.parametrize(("given", "rule"), [((), "peak"), (("--memory-rule", "static"), "static")])
def test_a_profile_counts_memory_as_asked(
    given: tuple[str, ...], rule: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    op = OpProfile("a", "relu", timings={"cpu": Timing(1e-3, 1e-3)}, output=4)
    profile = Profile("net", "torch", "training", (op,), (DeviceProfile("cpu", "cpu", 100),))
    made = SimpleNamespace(profile=lambda *_: profile)
    monkeypatch.setattr(choosing, "load", lambda args: made)
    target = tmp_path / "g.json"
    assert main(["profile", "torch", "net:make", "-o", str(target), *given]) == 0
    assert json.loads(target.read_text())["memory_rule"] == rule
    assert profile.problem(memory_rule=rule).memory_rule == rule
