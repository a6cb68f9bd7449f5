"""Inputs by name, from files and callables; signatures that cannot be served are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs talos-opt[tensorflow]")

from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.tensorflow.capture import capture  # noqa: E402
from talos_opt.frameworks.tensorflow.loading import example_inputs, load_model  # noqa: E402
from talos_opt.frameworks.tensorflow.models import Model, as_model  # noqa: E402
from tests.frameworks.tensorflow import nets  # noqa: E402


def saved(folder: Path, signature: str) -> Model:
    module = nets.Lookup()
    tf.saved_model.save(module, str(folder), signatures=getattr(module, signature))
    return load_model(str(folder))


@pytest.fixture(scope="module")
def power(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return saved(tmp_path_factory.mktemp("power"), "power")


def test_a_keras_model_of_dicts() -> None:
    keras = nets.by_name()
    model = as_model(keras)
    assert model.names == ("age", "words")
    inputs = example_inputs(model, ["words=2x4", "age=2x3"])
    assert [value.shape for value in inputs] == [(2, 3), (2, 4)]
    plain = keras({"age": inputs[0], "words": inputs[1]})
    found = capture(model, inputs).reference(inputs)
    assert np.allclose(found[0], plain["kind"], atol=1e-6)
    assert np.allclose(found[1], plain["score"], atol=1e-6)


def test_a_keras_model_without_specs() -> None:
    assert [v.shape for v in example_inputs(as_model(nets.by_name()), [])] == [(1, 3), (1, 4)]


def test_inputs_of_a_signature_are_in_the_order_of_their_names(power: Model) -> None:
    assert power.takes() == "a: float32[?], x: float32[?]"
    for specs in (["x=3:float32:2-2", "a=3:float32:1-1"], ["3:float32:1-1", "x=3:float32:2-2"]):
        inputs = example_inputs(power, specs)
        assert capture(power, inputs).reference(inputs)[0].tolist() == [5.0] * 3


def test_inputs_from_a_file_or_a_callable(power: Model, tmp_path: Path) -> None:
    x, a = np.full(3, 2.0, "float32"), np.ones(3, "float32")
    np.savez(tmp_path / "named.npz", x=x, a=a)
    np.savez(tmp_path / "placed.npz", a, x)
    (tmp_path / "given.py").write_text(
        "import numpy as np\n"
        "def make():\n"
        "    return {'x': np.full(3, 2.0, 'float32'), 'a': np.ones(3, 'float32')}\n"
    )
    for source in ("named.npz", "placed.npz", "given.py:make"):
        found = example_inputs(power, [], source=str(tmp_path / source))
        assert [value.tolist() for value in found] == [a.tolist(), x.tolist()]


@pytest.mark.parametrize(
    ("specs", "complaint"),
    [
        (["3"], "inputs given: 1; the model takes 2: a: float32"),
        (["x=3"], r"input a is missing; the model takes a: float32\[\?\], x: float32\[\?\]"),
        (["y=3"], "the model has no input 'y'; it takes a: float32"),
        (["3", "a=3"], "input a is given twice"),
        (["a=3", "a=3"], "input a is given twice"),
    ],
)
def test_inputs_that_do_not_fit(power: Model, specs: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        capture(power, example_inputs(power, specs))


def test_other_complaints(power: Model, tmp_path: Path) -> None:
    nameless = as_model(nets.twice)
    for model, arguments, complaint in (
        (power, {"specs": ["3"], "source": "x.npz"}, "cannot be combined"),
        (power, {"specs": [], "source": str(tmp_path / "no.npz")}, "there is no file"),
        (nameless, {"specs": ["x=3"]}, "does not tell the names of its inputs"),
    ):
        given: Any = arguments
        with pytest.raises(InputError, match=complaint):
            example_inputs(model, **given)


def test_a_signature_of_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"takes text, .*: text: string\[\?\]; give the part"):
        example_inputs(saved(tmp_path, "words"), ["3:int32:0-3"])


def test_a_table_is_told_with_the_signature(tmp_path: Path) -> None:
    model = saved(tmp_path, "numbers")
    complaint = r"LookupTableFindV2: reads a resource that .*it takes ids: int32\[\?\]"
    with pytest.raises(InputError, match=complaint):
        capture(model, example_inputs(model, ["3:int32:0-3"]))
