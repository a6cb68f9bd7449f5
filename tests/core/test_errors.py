"""The exception tree: places in messages, and the way between processes."""

from __future__ import annotations

import pickle

import pytest

from talos_opt.core import errors
from talos_opt.core.errors import (
    FormatError,
    GraphError,
    InfeasibleScheduleError,
    InputError,
    TalosError,
    UnsupportedError,
)

ALL = [item for item in vars(errors).values() if isinstance(item, type)]


@pytest.mark.parametrize("kind", ALL)
def test_everything_is_a_talos_error_and_documented(kind: type[Exception]) -> None:
    assert issubclass(kind, TalosError) or kind is errors.Interrupted
    assert kind.__doc__
    assert kind.__name__ in (errors.__doc__ or "")


def test_bad_input_is_a_value_error() -> None:
    assert issubclass(UnsupportedError, errors.ConfigError)
    assert issubclass(GraphError, ValueError)
    assert not issubclass(errors.SolverError, InputError)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "found 1, expected 2"),
        ({"path": "a.b"}, "a.b: found 1, expected 2"),
        ({"source": "f.yaml"}, "f.yaml: found 1, expected 2"),
        ({"line": 3}, "line 3: found 1, expected 2"),
        ({"source": "f.yaml", "line": 3, "path": "a.b"}, "f.yaml:3: a.b: found 1, expected 2"),
    ],
)
def test_the_message_names_the_place(place: dict[str, object], text: str) -> None:
    error = FormatError("found 1, expected 2", **place)  # type: ignore[arg-type]
    assert str(error) == text
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is FormatError
    assert str(copy) == text
    assert (copy.path, copy.line) == (place.get("path"), place.get("line"))


def test_a_place_is_filled_in_once() -> None:
    error = GraphError("wrong", path="x").located(source="f.yaml", line=2)
    assert type(error) is GraphError
    assert str(error) == "f.yaml:2: x: wrong"
    assert str(error.located(source="g.yaml", line=9)) == "f.yaml:2: x: wrong"


def test_an_infeasible_schedule_names_the_first_rules_it_breaks() -> None:
    error = InfeasibleScheduleError([f"rule {k}" for k in range(5)])
    assert str(error) == "rule 0; rule 1; rule 2; and 2 more"
    assert str(InfeasibleScheduleError(["rule 0"])) == "rule 0"
    copy = pickle.loads(pickle.dumps(error))
    assert copy.violations == error.violations
