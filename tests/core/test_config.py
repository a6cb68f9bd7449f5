"""Solver configurations: every mistake in one is named, and those that ship are sound."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from talos_opt.core.config import SolveConfig, config_names, load_config
from talos_opt.core.errors import ConfigError
from talos_opt.core.problem import Objective

SHIPPED = ("balanced", "exact", "fast", "talos-paper", "throughput")


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "solver: talos\n")) == SolveConfig(solver="talos")


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
        solver: talos
        time_limit: 1e1
        objective: makespan
        seed: 7
        workers: 3
        options: {talos: {batch: 4, tv: 0.5}}
        worth: 0.5%
        description: what it is for
    """
    assert load_config(write(tmp_path, text)) == SolveConfig(
        solver="talos",
        time_limit=10.0,
        objective=Objective.MAKESPAN,
        seed=7,
        workers=3,
        options={"talos": {"batch": 4, "tv": 0.5}},
        worth=0.005,
        description="what it is for",
    )


def test_json_is_yaml(tmp_path: Path) -> None:
    path = write(tmp_path, '{"solver": "cpsat", "seed": 3}', "mine.json")
    assert load_config(path) == SolveConfig(solver="cpsat", seed=3)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("solvr: auto", "unknown key 'solvr', expected one of: solver, time_limit"),
        ("1: auto", "unknown key 1"),
        ("solver: [auto]", "solver: solver is a list, expected text"),
        ("solver: ''", "solver is '', expected text"),
        ("solver: no", "solver is False, expected text"),
        ("time_limit: 0", "time_limit: time_limit is 0, expected a number above 0"),
        ("time_limit: -1", "time_limit is -1"),
        ("time_limit: .inf", "time_limit is inf, expected a finite number"),
        ("time_limit: .nan", "time_limit is nan"),
        ("time_limit: soon", "time_limit is 'soon', expected a number"),
        ("time_limit: yes", "time_limit is True, expected a number"),
        ("worth: -1", "worth: worth is -1, expected a number of at least 0, such as 0.005"),
        (
            "worth: half",
            "worth is 'half', expected a number, such as 0.005, or a text such as 0.5%",
        ),
        ("worth: 5 %%", "worth is '5 %', expected a number"),
        ("worth: yes", "worth is True"),
        ("seed: -1", "seed is -1, expected a whole number of at least 0"),
        ("seed: 1.5", "seed is 1.5"),
        ("workers: 0", "workers is 0, expected a whole number of at least 1"),
        ("workers: true", "workers is True"),
        ("objective: speed", "objective is 'speed', expected one of toct, makespan, bottleneck"),
        ("objective: [toct]", "objective is a list"),
        ("options: talos", "options is 'talos', expected a mapping"),
        ("options: {talos: 3}", "options of 'talos' are 3, expected a mapping"),
        ("options: {talos: {1: 2}}", "option 1 is not a name"),
        ("solver: auto\nsolver: talos", ":2: is not valid YAML: key 'solver' is given twice"),
        ("solver: [auto", "is not valid YAML"),
        ("{a: b}: c", "is not valid YAML"),
        ("", "holds empty, expected a mapping"),
        ("- auto", "holds a list, expected a mapping"),
        ("solver: !!python/name:os.system", "is not valid YAML"),
    ],
)
def test_mistakes_name_file_found_and_expected(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))
    assert complaint in str(caught.value)


def test_a_deep_or_huge_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not valid YAML"):
        load_config(write(tmp_path, "[" * 100_000))
    with pytest.raises(ConfigError, match="is larger than"):
        load_config(write(tmp_path, "# " + "x" * 2**20))
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\x93NUMPY\x01\x00\xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_a_missing_file_and_an_unknown_name_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read: No such file"):
        load_config(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="no configuration is called 'quick', expected one of"):
        load_config("quick")


def test_all_configurations_ship() -> None:
    assert config_names() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_configuration_can_be_used(name: str) -> None:
    from talos_opt.solvers.engine import registry

    config = load_config(name)
    assert config.description
    for solver, options in {config.solver: {}, **config.options}.items():
        registry.create(solver, options)  # raises on an unknown solver or option


def test_given_values_win_and_options_are_merged() -> None:
    base = SolveConfig("talos", time_limit=5, options={"talos": {"batch": 1, "tv": 2.0}})
    changed = base.override(seed=4, time_limit=None, options={"talos": {"tv": 0.0}, "ilp": {}})
    assert changed.seed == 4
    assert changed.time_limit == 5
    assert changed.options == {"talos": {"batch": 1, "tv": 0.0}, "ilp": {}}
    assert base.options == {"talos": {"batch": 1, "tv": 2.0}}


def test_a_configuration_crosses_processes() -> None:
    config = SolveConfig(objective="makespan", options={"talos": {"batch": 2}})
    assert pickle.loads(pickle.dumps(config)) == config
