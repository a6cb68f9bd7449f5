"""JSON to plain data, and the choice between JSON and YAML."""

from __future__ import annotations

import pytest

from talos_opt.core.errors import FormatError
from talos_opt.formats.text import parse, parse_json


def test_json_is_read_as_json() -> None:
    assert parse('{"a": [1, 2.5, null]}', json_only=True) == {"a": [1, 2.5, None]}
    assert parse('{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}  # no YAML parser takes that


def test_a_yaml_flow_mapping_looks_like_json_and_is_read_all_the_same() -> None:
    assert parse("{a: no, b: 1e3}") == {"a": "no", "b": 1000.0}


def test_a_json_file_holds_no_yaml() -> None:
    with pytest.raises(FormatError, match="is not valid JSON") as caught:
        parse("{a: 1}", json_only=True)
    assert caught.value.line == 1


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{"a": 1,\n "b": }', 2, "found '}'"),
        ('{"a": 1,\n "b": [1, 2', 2, "found the end of the text"),
        ('{"a": 1}\n{"b": 2}', 2, "Extra data"),
        ('{"a": 1,\n "b": {"c": 1,\n "c": 2}}', 3, "key 'c' is given twice"),
        ('{"a": 01}', 1, "found '1'"),
        ("{'a': 1}", 1, "double quotes"),
    ],
)
def test_refused_with_line(text: str, line: int, words: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_json(text)
    assert words in caught.value.message
    assert caught.value.line == line


def test_duplicate_key_where_no_line_can_be_told() -> None:
    with pytest.raises(FormatError, match="key 'a' is given twice") as caught:
        parse_json('{"x": "\\ud83d\\ude00", "a": 1, "a": 2}')
    assert caught.value.line is None


@pytest.mark.parametrize("unit", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_is_refused(unit: str) -> None:
    for text in (unit * 100_000, unit * 100_000 + "1"):
        with pytest.raises(FormatError, match="nested too deep"):
            parse_json(text)


def test_endless_digits_are_refused() -> None:
    with pytest.raises(FormatError, match="thousands of digits"):
        parse_json("[" + "9" * 5000 + "]")


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(FormatError, match="surrogate"):
        parse_json('{"a": "\\ud83d"}')
