"""Modules and inputs from the words on a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs talos-opt[torch]")

from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.torch.loading import (  # noqa: E402
    InputSpec,
    load_callable,
    make_inputs,
)

NETS = "tests.frameworks.torch.nets"
NETS_FILE = Path(__file__).with_name("nets.py")


def test_a_module_by_its_name_and_by_its_file() -> None:
    assert type(load_callable(f"{NETS}:branches")).__name__ == "Branches"
    assert type(load_callable(f"{NETS_FILE}:branches")).__name__ == "Branches"


def test_an_instance_is_taken_as_it_is() -> None:
    assert isinstance(load_callable(f"{NETS}:READY"), torch.nn.Sequential)


def test_a_file_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("SIZE = 3\n")
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "def make():\n"
        "    from beside_it import SIZE\n"
        "    return torch.nn.Linear(SIZE, 2)\n"
    )
    assert load_callable(f"{tmp_path / 'net.py'}:make").in_features == 3


def test_on_the_meta_device_no_memory_is_taken() -> None:
    module = load_callable(f"{NETS}:branches", "meta")
    assert {p.device.type for p in module.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("make", "not of the form MODULE:CALLABLE"),
        ("no_such_module:make", "there is no module no_such_module"),
        ("./no_such_file.py:make", "there is no file ./no_such_file.py"),
        (f"{NETS}:nope", f"{NETS} has no nope"),
        (f"{NETS}:number", "returned a int, expected a torch.nn.Module"),
        (f"{NETS}:broken", r"raised RuntimeError: no weights today \(.*nets.py:\d+"),
        ("math:pi", "pi is a float, expected a callable"),
    ],
)
def test_what_cannot_be_loaded(target: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_callable(target)


def test_a_file_that_fails_to_import(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import no_such_thing_at_all\n")
    with pytest.raises(InputError, match=r"importing .* raised ModuleNotFoundError.*bad\.py:1"):
        load_callable(f"{tmp_path / 'bad.py'}:make")


def test_input_specs() -> None:
    assert InputSpec.parse("2x3") == InputSpec((2, 3))
    assert InputSpec.parse("4:int64:0-9") == InputSpec((4,), torch.int64, 0, 9)
    assert InputSpec.parse("4:float16:-1.5--0.5") == InputSpec((4,), torch.float16, -1.5, -0.5)
    assert InputSpec.parse("scalar").shape == ()
    (drawn,) = make_inputs(["2000:int64:-2-3"])
    assert sorted(set(drawn.tolist())) == [-2, -1, 0, 1, 2, 3]
    (flags,) = make_inputs(["100:bool"])
    assert flags.dtype == torch.bool
    assert 0 < int(flags.sum()) < 100


def test_inputs_depend_on_the_seed_alone() -> None:
    one, same, other = (make_inputs(["3x3", "4:int32:0-99"], seed=s) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("axb", "SHAPE"),
        ("", "SHAPE"),
        ("2x-3", "SHAPE"),
        ("2x0", "no elements"),
        ("2:int64", "needs a range"),
        ("2:quad", "dtype 'quad' is unknown"),
        ("2:int64:9", "no range"),
        ("2:int64:9-1", "ends below its start"),
        ("2:int64:0-1.5", "is no int64"),
        ("2:int8:0-200", "is no int8"),
        ("2:bool:0-2", "is no bool"),
        ("2:int64:0-1:3", "SHAPE"),
    ],
)
def test_inputs_that_are_not_clear(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        InputSpec.parse(text)
