"""From a JSON path to a line."""

from __future__ import annotations

import json

import pytest

from talos_opt.formats.locate import find_line

from .samples import FULL

LINES = [
    ("schema", 1),
    ("cluster", 6),
    ("cluster.devices", 9),
    ("cluster.devices[1].memory", 11),
    ("cluster.links[2]", 16),
    ("models[0].ops[0].time.gpu", 22),
    ("models[0].ops[2].inputs[0].bytes", 26),
    ("models[0].ops[2].attrs.shape[1]", 30),
    ("models[1].ops[0].time.cpu", 33),
    ("known.source", 35),
    # what is not there: the nearest value around it
    ("models[0].ops[1].tiem", 23),
    ("models[0].ops[2].memory.weights", 24),
    ("models[9].ops[2]", 17),
    ("models[1].ops[1].inputs[3]", 34),
    ("nothing", None),
    ("nothing.at[3].all", None),
]


@pytest.mark.parametrize(("path", "line"), LINES)
def test_lines(path: str, line: int | None) -> None:
    assert find_line(FULL, path) == line


def test_a_prefix_of_a_name_is_not_the_name() -> None:
    assert find_line("op: 1\nop1: {a: 2}\nop1x:\n  b: 3\n", "op1x.b") == 4


def test_names_with_dots_and_brackets() -> None:
    text = "a:\n  b.c: 1\n  b:\n    c: 2\n  'd[0]': 3\n  7: 4\n"
    assert find_line(text, "a.b.c") == 2
    assert find_line(text, "a.d[0]") == 5
    assert find_line(text, "a.7") == 6


def test_json_text() -> None:
    text = json.dumps({"a": {"b": [1, {"c": 2}]}}, indent=1)
    assert find_line(text, "a.b[1].c") == 6


def test_behind_an_alias_is_the_alias() -> None:
    assert find_line("x: &x\n  k: 1\ny: *x\nz: {<<: *x}\n", "y.k") == 3
    assert find_line("x: &x\n  k: 1\ny: *x\nz: {<<: *x}\n", "z.k") == 4


def test_text_that_is_no_yaml_has_no_lines() -> None:
    assert find_line("a: [1,\nb: }", "c") is None
    assert find_line('{"x": "\\ud83d\\ude00", "c": 1}', "c") is None


def test_keys_that_are_no_text() -> None:
    assert find_line("? [1, 2]\n: 3\nb: 4\n", "b") is None
    assert find_line("a: &a x\n*a : 3\nb: 4\n", "b") == 3
