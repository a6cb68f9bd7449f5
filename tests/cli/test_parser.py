"""Every command and option has help, is documented, and a mistyped one is one clear line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from talos_opt.cli import arguments
from talos_opt.cli.main import main
from talos_opt.cli.parser import build_parser
from talos_opt.core.problem import MemoryRule, Objective
from website.options import describe

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(action.choices)


def options() -> Iterator[tuple[str, argparse.Action]]:
    for name, parser in commands().items():
        for action in parser._actions:
            yield name, action


def test_the_commands_are_those_of_the_contract() -> None:
    names = (
        "solve compare sweep online check explain simulate analyze convert plot report profile run "
        "export fit trace speedups whatif pipeline solvers "
        "schema warmup"
    )
    assert " ".join(commands()) == names


def test_every_command_has_help() -> None:
    (action,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    told = {choice.dest: choice.help for choice in action._choices_actions}
    for name, parser in commands().items():
        assert told[name], name
        assert parser.description, name


@pytest.mark.parametrize(("command", "action"), list(options()), ids=lambda item: str(item)[:40])
def test_every_option_has_help(command: str, action: argparse.Action) -> None:
    assert action.help, f"{command} {action.option_strings or action.metavar}"


@pytest.mark.parametrize("command", commands())
def test_every_command_answers_programs_too(command: str) -> None:
    assert "--json" in commands()[command]._option_string_actions


def sections() -> dict[str, str]:
    """Text of docs/cli.md under each command's heading."""
    parts = re.split(r"^## `?talos-opt (\w+).*$", DOCS.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_docs_have_a_section_for_each_command_and_no_other() -> None:
    assert list(sections()) == list(commands())


@pytest.mark.parametrize("command", commands())
def test_docs_have_a_table_of_every_option_and_name_no_other(command: str) -> None:
    text = sections()[command]
    assert text.count(f"<!-- options: {command} -->") == 1
    shown = describe(command)
    known = {name for action in commands()[command]._actions for name in action.option_strings}
    known -= {"-h", "--help"}
    hidden = {
        name
        for action in commands()[command]._actions
        if action.help == argparse.SUPPRESS
        for name in action.option_strings
    }
    option = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
    assert known - hidden - set(option.findall(" ".join(re.findall("`.*?`", shown)))) == set()
    named = set(option.findall(" ".join(re.findall("`.*?`", text))))
    assert {name for name in named if name.startswith("--")} - known == set()
    for action in commands()[command]._actions:
        if not action.option_strings:
            assert f"`{action.metavar}" in shown


def test_the_choices_are_those_of_the_core() -> None:
    assert tuple(Objective) == arguments.OBJECTIVES
    assert tuple(MemoryRule) == arguments.MEMORY_RULES


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "COMMAND"),
        (["solv"], "invalid choice: 'solv'"),
        (["solve"], "GRAPH"),
        (["solve", "g.yaml", "--time"], "unrecognized arguments: --time"),
        (["solve", "g.yaml", "--time-limit", "0"], "'0' is not a number of seconds above 0"),
        (["solve", "g.yaml", "--time-limit", "nan"], "'nan' is not a number of seconds"),
        (["solve", "g.yaml", "--time-limit", "inf"], "'inf' is not a number of seconds"),
        (["solve", "g.yaml", "--seed", "-1"], "'-1' is not a whole number of at least 0"),
        (["solve", "g.yaml", "--workers", "0"], "'0' is not a whole number of at least 1"),
        (["solve", "g.yaml", "--objective", "speed"], "invalid choice: 'speed'"),
        (["solve", "g.yaml", "--option", "talos.batch"], "SOLVER.OPTION=VALUE"),
        (["solve", "g.yaml", "--option", "batch=4"], "SOLVER.OPTION=VALUE"),
        (["compare", "g.yaml", "--solvers", "heft,,etf"], "not a list of names"),
        (["check", "g.yaml"], "SCHEDULE"),
        (["convert", "g.yaml"], "-o/--output"),
    ],
)
def test_a_mistyped_command_is_one_line(
    capsys: pytest.CaptureFixture[str], argv: list[str], complaint: str
) -> None:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert complaint in captured.err


@pytest.mark.parametrize("command", [[], *([name] for name in commands())])
def test_help_says_what_it_is_for(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert main([*command, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("usage: talos-opt")
    assert captured.err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"talos-opt \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_one_name_for_a_time_limit() -> None:
    argv = ["profile", "torch", "m:f"]
    for given, limit in (([], 120), (["--time-limit", "3"], 3), (["--max-time", "3"], 3)):
        assert build_parser().parse_args([*argv, *given]).time_limit == limit


def test_option_values_become_numbers_and_booleans() -> None:
    texts = ["talos.batch=4", "talos.tv=0.5", "ilp.presolve=true", "ilp.backend=cbc", "x.y=a=b"]
    assert arguments.options_by_solver([arguments.option(text) for text in texts]) == {
        "talos": {"batch": 4, "tv": 0.5},
        "ilp": {"presolve": True, "backend": "cbc"},
        "x": {"y": "a=b"},
    }
