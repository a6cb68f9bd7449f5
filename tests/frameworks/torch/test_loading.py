"""Modules and inputs from the words on a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs talos-opt[torch]")

from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.common.inputs import InputSpec  # noqa: E402
from talos_opt.frameworks.torch.loading import (  # noqa: E402
    load_callable,
    make_arguments,
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


def test_inputs_have_the_types_that_they_are_asked_for() -> None:
    flags, halves, whole = make_inputs(["100:bool", "2x3:bfloat16:1-2", "scalar:uint8:3-3"])
    assert flags.dtype == torch.bool
    assert 0 < int(flags.sum()) < 100
    assert (halves.dtype, halves.shape) == (torch.bfloat16, (2, 3))
    assert bool(((halves >= 1) & (halves <= 2)).all())
    assert (whole.dtype, whole.shape, int(whole)) == (torch.uint8, (), 3)
    assert torch.equal(make_inputs([InputSpec((3,))])[0], make_inputs(["3"])[0])


def test_inputs_depend_on_the_seed_alone() -> None:
    one, same, other = (make_inputs(["3x3", "4:int32:0-99"], seed=s) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])


def test_inputs_on_the_meta_device_have_no_values() -> None:
    (found,) = make_inputs(["3x3:int32:0-9"], "meta")
    assert (found.device.type, found.dtype, found.shape) == ("meta", torch.int32, (3, 3))


def test_arguments_by_position_by_name_and_nested() -> None:
    found = make_arguments(["2", "b.x=3:int64:4-4", "b.y.0=4", "b.y.1=5", "mask=1"])
    args, kwargs = found.nested()
    assert [tuple(a.shape) for a in args] == [(2,)]
    assert kwargs["b"]["x"].tolist() == [4, 4, 4]
    assert [tuple(t.shape) for t in kwargs["b"]["y"]] == [(4,), (5,)]
    assert found.names == ("0", "b['x']", "b['y'][0]", "b['y'][1]", "mask")
    assert found.describe().startswith("2:float32, b['x']=3:int64, ")
    assert found.redraw is not None
    other = found.redraw()
    assert [t.shape for t in other] == [t.shape for t in found.tensors]
    assert not torch.equal(other[0], found.tensors[0])


@pytest.mark.parametrize(
    ("specs", "complaint"),
    [
        (["x=2", "x=3"], "input x is given twice"),
        (["x=2", "x.y=3"], "input x.y: x is an input itself, and holds none"),
        (["x.y=2", "x=3"], "input x is given twice"),
        (["s.1=2"], "inputs in s are called 1: those of a tuple count from 0"),
        (["1x=2"], "not of the form"),
    ],
)
def test_names_that_do_not_fit(specs: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make_arguments(specs)


SAVED = [
    (torch.ones(3), 1, ()),
    ([torch.ones(3), torch.ones(2)], 2, ()),
    ({"x": torch.ones(3), "flag": True}, 0, ("x", "flag")),
    (((torch.ones(3), None), {"y": [torch.ones(2)]}), 2, ("y",)),
]


@pytest.mark.parametrize(("made", "count", "names"), SAVED)
def test_inputs_from_a_file(
    made: object, count: int, names: tuple[str, ...], tmp_path: Path
) -> None:
    torch.save(made, tmp_path / "inputs.pt")
    args, kwargs = make_arguments(source=str(tmp_path / "inputs.pt")).nested()
    assert (len(args), tuple(kwargs)) == (count, names)


def test_inputs_from_a_callable() -> None:
    found = make_arguments(source="tests.frameworks.torch.kinds:given", device="meta")
    assert {tensor.device.type for tensor in found.tensors} == {"meta"}
    assert found.names == ("0['x']", "0['states'][0]", "0['states'][1]", "shift")


def test_inputs_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_text("no tensors")
    torch.save({"x": 3}, tmp_path / "none.pt")
    for source, complaint in (
        ("missing.pt", "there is no file missing.pt"),
        (str(tmp_path / "bad.pt"), "not a file of tensors as torch.save writes it"),
        ("x.npz", r"x\.npz: PyTorch's inputs are a \.pt file of torch\.save or MODULE:CALLABLE"),
        (str(tmp_path / "none.pt"), "there is no tensor among the inputs"),
        (f"{NETS}:number", "the inputs are a int, expected a tensor, a tuple"),
    ):
        with pytest.raises(InputError, match=complaint):
            make_arguments(source=source)
    with pytest.raises(InputError, match="cannot be combined"):
        make_arguments(["3"], source=f"{NETS}:number")
