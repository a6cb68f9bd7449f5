"""Plain data to text."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.errors import FormatError
from talos_opt.formats.emit import json_lines, lines_of, yaml_lines
from talos_opt.formats.text import parse_json
from talos_opt.formats.yaml_text import parse_yaml

LAYOUT: Any = {"cluster": {"devices": []}, "models": [{"ops": []}], "metrics": {}}
DOCUMENT = {
    "name": "x y",
    "cluster": {"reference": "cpu", "devices": [{"id": "a"}, {"id": "b"}]},
    "models": [
        {"id": "m", "ops": [{"id": "o", "time": {"cpu": 1e-07}, "inputs": []}]},
        {"id": "e"},
    ],
    "metrics": {"idle": {"a": 0.5}, "none": None},
    "empty": [],
}


def test_yaml_layout() -> None:
    assert list(yaml_lines(DOCUMENT, LAYOUT)) == [
        'name: "x y"',
        "cluster:",
        "  reference: cpu",
        "  devices:",
        "    - {id: a}",
        "    - {id: b}",
        "models:",
        "  - id: m",
        "    ops:",
        "      - {id: o, time: {cpu: 1.0e-07}, inputs: []}",
        "  - id: e",
        "metrics:",
        "  idle: {a: 0.5}",
        "  none: null",
        "empty: []",
    ]


def test_json_layout() -> None:
    assert list(json_lines(DOCUMENT, LAYOUT)) == [
        "{",
        ' "name": "x y",',
        ' "cluster": {',
        '  "reference": "cpu",',
        '  "devices": [',
        '   {"id": "a"},',
        '   {"id": "b"}',
        "  ]",
        " },",
        ' "models": [',
        "  {",
        '   "id": "m",',
        '   "ops": [',
        '    {"id": "o", "time": {"cpu": 1e-07}, "inputs": []}',
        "   ]",
        "  },",
        "  {",
        '   "id": "e"',
        "  }",
        " ],",
        ' "metrics": {',
        '  "idle": {"a": 0.5},',
        '  "none": null',
        " },",
        ' "empty": []',
        "}",
    ]


def test_empty_parts_stay_on_their_line() -> None:
    document: dict[str, Any] = {"models": [], "cluster": {"devices": []}, "metrics": {}}
    assert parse_yaml("\n".join(yaml_lines(document, LAYOUT))) == document
    assert parse_json("\n".join(json_lines(document, LAYOUT))) == document


def test_unknown_suffix() -> None:
    with pytest.raises(FormatError, match=r"suffix '.txt' is unknown, expected .json"):
        lines_of({}, None, ".txt")


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.sampled_from(["no", "Yes", "~", "1e5", "12:30", ".5", "-", "a: b", "# x", "<<", "=", "n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


keys = texts | st.sampled_from(["cluster", "models", "metrics"])


@given(st.dictionaries(keys, plain, max_size=4))
def test_both_languages_give_back_what_was_written(document: dict[str, Any]) -> None:
    text = "\n".join(json_lines(document, LAYOUT))
    assert json.loads(text) == document
    text = "\n".join(yaml_lines(document, LAYOUT)) if document else "{}"
    found = parse_yaml(text)
    assert found == document
    assert repr(found) == repr(document)  # 1 and 1.0 and True are equal, and must stay apart


@given(plain)
def test_other_yaml_readers_understand_it(value: Any) -> None:
    text = "\n".join(yaml_lines({"a": value}, None))
    assert yaml.safe_load(text) == {"a": value}
