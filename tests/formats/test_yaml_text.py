"""YAML to plain data: the traps of YAML 1.1, and what must be refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from talos_opt.core.errors import FormatError
from talos_opt.formats import yaml_text
from talos_opt.formats.yaml_text import parse_yaml, resolve
from tests.clocks import Stopwatch


@pytest.fixture(params=["libyaml", "python"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with both parsers of PyYAML."""
    if request.param == "python":
        monkeypatch.setattr(yaml_text, "LOADER", yaml.SafeLoader)
    elif not yaml.__with_libyaml__:
        pytest.skip("this PyYAML was built without libyaml")


SCALARS = [
    ("1e9", 1e9),
    ("1E+2", 100.0),
    ("-.5", -0.5),
    ("+12", 12),
    ("007", 7),
    ("0x1F", 31),
    ("0o17", 15),
    ("1.", 1.0),
    ("1.0e-07", 1e-7),
    ("-.inf", -math.inf),
    (".INF", math.inf),
    ("true", True),
    ("FALSE", False),
    ("~", None),
    ("", None),
    ("null", None),
    # text in YAML 1.2, something else in YAML 1.1
    ("no", "no"),
    ("yes", "yes"),
    ("on", "on"),
    ("off", "off"),
    ("y", "y"),
    ("12:30", "12:30"),
    ("1_000", "1_000"),
    ("0b11", "0b11"),
    ("2020-01-01", "2020-01-01"),
    ("=", "="),
    ("1e", "1e"),
    ("-", "-"),
    (".", "."),
    ("0x", "0x"),
    ("tRue", "tRue"),
    ("nan", "nan"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_nan_resolves() -> None:
    found = resolve(".nan")
    assert isinstance(found, float)
    assert math.isnan(found)


def test_numbers_of_any_length_resolve() -> None:
    assert resolve("9" * 300) == int("9" * 300)
    assert resolve("9" * 10_000) == math.inf
    assert resolve("0x" + "f" * 10_000) == "0x" + "f" * 10_000


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 'no'\nb: \"1\"\nc: |\n  5\n", {"a": "no", "b": "1", "c": "5\n"}),
        ("a: !!str 5\nb: ! 6\n", {"a": "5", "b": "6"}),
        ("[1, [], {}, {a: {}}]", [1, [], {}, {"a": {}}]),
        ("1: a\n0x10: b\n", {"1": "a", "16": "b"}),
        ("a: &x {k: [1]}\nb: *x\n", {"a": {"k": [1]}, "b": {"k": [1]}}),
        ("a: &x 5\nb: [*x, *x]\n", {"a": 5, "b": [5, 5]}),
        ("# note\n--- # one document\na: 1\n...\n", {"a": 1}),
        ("%YAML 1.2\n---\na: no\n", {"a": "no"}),
        ("no: 1\non: 2\n", {"no": 1, "on": 2}),
        ('{"a": [1, 2.5e3, true, null, "\\u00e9"]}', {"a": [1, 2500.0, True, None, "é"]}),
    ],
)
def test_documents(text: str, value: object) -> None:
    assert parse_yaml(text) == value


@pytest.mark.usefixtures("loader")
def test_merge_keys() -> None:
    text = """\
    base: &base {a: 1, b: 2}
    more: &more {b: 3, c: 4}
    one: {b: 5, <<: *base}
    two: {<<: [*base, *more], d: 6}
    inline: {<<: {a: 7}}
    plain: {"<<": 8}
    """
    found: Any = parse_yaml(text)
    assert found["one"] == {"a": 1, "b": 5}
    assert found["two"] == {"a": 1, "b": 2, "c": 4, "d": 6}
    assert found["inline"] == {"a": 7}
    assert found["plain"] == {"<<": 8}
    assert found["base"] == {"a": 1, "b": 2}


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' is given twice"),
        ("x: {b: 1, 'b': 2}\n", 1, "key 'b' is given twice"),
        ("x:\n  1: a\n  '1': b\n", 3, "key '1' is given twice"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]\n", 2, "python/object"),
        ("a: !custom 5\n", 1, "!custom"),
        ("a: !!int 5\n", 1, "tag"),
        ("a: 1\n---\nb: 2\n", 2, "second YAML document"),
        ("a: &x [1, *x]\n", 1, "stands inside itself"),
        ("a: &x\n  b: *x\n", 2, "stands inside itself"),
        ("a: 1\nb: *nothing\n", 2, "*nothing"),
        ("a: [1,\n2", 2, "expected ',' or ']'"),
        ("a: {b: 1", 1, "expected ',' or '}'"),
        ("a: 'x\n", 1, "quoted scalar"),
        ("a: b: c\n", 1, "mapping values"),
        ("a:\n\t- 1\n", 2, "cannot start any token"),
        ("? [1]\n: 2\n", 1, "a list is not text"),
        ("true: 1\n", 1, "key True is not text"),
        ("1.5: 1\n", 1, "key 1.5 is not text"),
        ("a: 1\n~: 2\n", 2, "key empty is not text"),
        ("<<: 5\n", 1, "<< takes"),
        ("a: &b [1]\nc: {<<: [*b]}\n", 2, "<< takes"),
        ("a: 1\nb: \x07\n", 2, "7 is not allowed"),
    ],
)
def test_refused(text: str, line: int, words: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_yaml(text)
    assert words in caught.value.message.replace("'\\x07'", "7")
    # The parsers differ by a line in where they see the end of a text that is cut off.
    assert caught.value.line in (line, line + 1)


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("text", ["# only a comment\n", "\n\n", "%YAML 1.2\n"])
def test_nothing_inside(text: str) -> None:
    with pytest.raises(FormatError):
        parse_yaml(text)


@pytest.mark.timing
def test_a_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    watch = Stopwatch()
    with pytest.raises(FormatError, match="aliases stand for more than 5000000 values") as caught:
        parse_yaml("\n".join(lines))
    watch.check(1)
    assert caught.value.line == 8


def test_a_bomb_of_merges_is_refused() -> None:
    lines = ["a0: &a0 {" + ", ".join(f"k{i}: 1" for i in range(1000)) + "}"]
    lines += [f"b{i}: {{<<: [{', '.join(['*a0'] * 100)}]}}" for i in range(60)]
    with pytest.raises(FormatError, match="aliases stand for more than"):
        parse_yaml("\n".join(lines))


def test_aliases_share_what_they_stand_for() -> None:
    text = "a: &a {cpu: 1}\nb: [" + ", ".join(["*a"] * 1000) + "]"
    found: Any = parse_yaml(text)
    assert all(item is found["a"] for item in found["b"])


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("unit", ["[", "{a: ", "- ", "? ", "a:\n", "&a [", "[a, ["])
def test_deep_nesting_is_refused(unit: str) -> None:
    text = unit * 100_000
    if unit == "a:\n":
        text = "".join(" " * i + "a:\n" for i in range(1000))
    with pytest.raises(FormatError):
        parse_yaml(text)
    if unit not in ("? ", "&a ["):
        with pytest.raises(FormatError, match="nested deeper than 64 levels"):
            parse_yaml(text)


def test_as_deep_as_allowed() -> None:
    assert parse_yaml("[" * 64 + "]" * 64) is not None
