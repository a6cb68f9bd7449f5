"""Example inputs: what their texts mean, and what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.inputs import DTYPES, InputSpec


def draw(text: str, seed: int = 0) -> np.ndarray:
    return InputSpec.parse(text).draw(np.random.default_rng(seed))


def test_input_specs() -> None:
    assert InputSpec.parse("2x3") == InputSpec((2, 3))
    assert InputSpec.parse("4:int64:0-9") == InputSpec((4,), "int64", 0, 9)
    assert InputSpec.parse("4:float16:-1.5--0.5") == InputSpec((4,), "float16", -1.5, -0.5)
    assert InputSpec.parse("scalar").shape == ()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", ["scalar", "3x5"])
def test_what_is_drawn_has_its_shape_and_type(dtype: str, shape: str) -> None:
    found = draw(f"{shape}:{dtype}:0-1")
    assert isinstance(found, np.ndarray)
    assert found.shape == (() if shape == "scalar" else (3, 5))
    assert found.dtype == ("float32" if dtype == "bfloat16" else dtype)
    assert ((found >= 0) & (found <= 1)).all()


def test_both_ends_of_a_range_are_drawn() -> None:
    assert sorted(set(draw("2000:int64:-2-3").tolist())) == [-2, -1, 0, 1, 2, 3]
    assert set(draw("100:uint8:255-255").tolist()) == {255}
    assert 0 < draw("100:bool").sum() < 100
    floats = draw("2000:float64:-1.5--0.5")
    assert -1.5 <= floats.min() < -1.45
    assert -0.55 < floats.max() <= -0.5


def test_floats_without_a_range_are_normally_distributed() -> None:
    found = draw("10000")
    assert abs(found.mean()) < 0.05
    assert found.std() == pytest.approx(1, abs=0.05)


@given(st.lists(st.integers(1, 4), max_size=4), st.sampled_from(DTYPES), st.integers(0, 99))
def test_values_depend_on_the_seed_alone(shape: list[int], dtype: str, seed: int) -> None:
    text = f"{'x'.join(map(str, shape)) or 'scalar'}:{dtype}:0-1"
    assert np.array_equal(draw(text, seed), draw(text, seed))
    assert not np.array_equal(draw("3x3", seed), draw("3x3", seed + 1))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("axb", "SHAPE"),
        ("", "SHAPE"),
        ("2x-3", "SHAPE"),
        ("2x0", "no elements"),
        ("2:int64", "needs a range"),
        ("2:quad", "dtype 'quad' is unknown"),
        ("2:int64:9", "not a range"),
        ("2:int64:9-1", "ends below its start"),
        ("2:int64:0-1.5", "is not a value of int64"),
        ("2:int8:0-200", "is not a value of int8"),
        ("2:bool:0-2", "is not a value of bool"),
        ("2:int64:0-1e300", "is not a value of int64"),
        ("2:int64:0-1:3", "SHAPE"),
    ],
)
def test_inputs_that_are_not_clear(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        InputSpec.parse(text)
