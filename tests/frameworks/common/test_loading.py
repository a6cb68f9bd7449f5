"""What MODULE:CALLABLE names, and whose line is blamed for an error."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common import loading
from talos_opt.frameworks.common.loading import explain, resolve, user_line


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "lies_beside.py").write_text("SIZE = 3\n")
    target = tmp_path / "net.py"
    target.write_text(
        "class Made:\n"
        "    twice = staticmethod(lambda: 6)\n"
        "def size():\n"
        "    from lies_beside import SIZE\n"
        "    return SIZE\n"
        "def broken():\n"
        "    raise RuntimeError('no weights today' + chr(10) + 'nor later')\n"
        "def leaves():\n"
        "    raise SystemExit(3)\n"
        "NUMBER = 4\n"
    )
    return target


def test_by_module_by_file_and_by_a_dotted_name(net: Path) -> None:
    found = resolve("json:dumps")
    assert (found.place, found.name, found.value) == ("json", "dumps", json.dumps)
    assert resolve("os.path:join.__name__").value == "join"
    assert resolve(f"{net}:NUMBER").value == 4
    assert resolve(f"{net}:Made.twice").call() == 6


def test_a_file_may_import_what_lies_beside_it_when_it_is_called(net: Path) -> None:
    before = list(sys.path)
    assert resolve(f"{net}:size").call() == 3
    assert sys.path == before


def test_a_module_may_lie_in_the_working_folder(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net.rename(net.with_name("net_of_the_working_folder.py"))
    monkeypatch.chdir(net.parent)
    assert resolve("net_of_the_working_folder:size").call() == 3


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("make", "'make' is not of the form MODULE:CALLABLE"),
        (":make", "is not of the form MODULE:CALLABLE"),
        ("json:", "is not of the form MODULE:CALLABLE"),
        ("no_such_module:make", "no_such_module:make: there is no module no_such_module"),
        ("json.nope:make", "there is no module json.nope"),
        ("./no_such_file.py:make", "there is no file ./no_such_file.py"),
        ("json:nope", "json:nope: json has no nope"),
    ],
)
def test_what_is_not_there(target: str, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(target)
    assert complaint in str(caught.value)


def test_what_cannot_be_called(net: Path) -> None:
    with pytest.raises(InputError, match="NUMBER is a int, expected a callable"):
        resolve(f"{net}:NUMBER").call()
    line = rf"broken\(\) raised RuntimeError: no weights today \({net}:7: raise RuntimeError"
    with pytest.raises(InputError, match=line) as caught:
        resolve(f"{net}:broken").call()
    assert "nor later)" not in str(caught.value)
    with pytest.raises(InputError, match=r"leaves\(\) raised SystemExit: 3"):
        resolve(f"{net}:leaves").call()


def test_a_file_that_fails_to_import(tmp_path: Path) -> None:
    bad = tmp_path / "bad_net.py"
    bad.write_text("import no_such_thing_at_all\n")
    with pytest.raises(InputError, match=r"importing .* raised ModuleNotFoundError.*bad_net\.py:1"):
        resolve(f"{bad}:make")
    assert "_talos_opt_bad_net" not in sys.modules


def test_lines_of_libraries_are_not_the_users() -> None:
    with pytest.raises(InputError) as caught:
        resolve("json:nope")
    assert user_line(caught.value).startswith(f"{__file__}:")
    assert explain(caught.value).endswith(f"({user_line(caught.value)})")
    assert explain(ValueError()) == "ValueError"


def test_a_library_reached_through_a_link_is_no_code_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment that is a link to another."""
    (tmp_path / "real" / "linked_library").mkdir(parents=True)
    (tmp_path / "real" / "linked_library" / "__init__.py").write_text("def fail():\n    1 / 0\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.syspath_prepend(tmp_path / "link")
    monkeypatch.setattr(loading, "_LIBRARIES", ("linked_library",))
    with pytest.raises(ZeroDivisionError) as caught:
        importlib.import_module("linked_library").fail()
    assert user_line(caught.value).startswith(f"{__file__}:")
