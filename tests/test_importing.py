"""Libraries are imported whole, whenever Ctrl-C comes."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from talos_opt.importing import import_whole

#: A package whose import takes a while, and whose second part needs what its `__init__` adds last.
PARTS = {
    "__init__.py": "from . import first\nfrom . import second\nready = True\n",
    "first.py": "import os, signal, time\n"
    "os.kill(os.getpid(), signal.SIGINT)\n"
    "time.sleep(0.2)\n"
    "x = 1\n",
    "second.py": "from . import first\ny = first.x\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a package that a Ctrl-C comes amid the import of."""
    name = f"interrupted_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name).mkdir()
    for part, text in PARTS.items():
        (tmp_path / name / part).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is not signal.default_int_handler, reason="SIGINT is taken"
)
def test_ctrl_c_interrupts_the_waiting_and_not_the_import(package: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        import_whole(package)
    found = import_whole(package)
    assert found.ready
    assert found.second.y == 1


def test_an_import_that_fails_says_so() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module_here"):
        import_whole("no_such_module_here")
    outcome: list[BaseException] = []

    def load() -> None:
        try:
            import_whole("no_such_module_here")
        except ImportError as error:
            outcome.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert isinstance(outcome[0], ModuleNotFoundError)
