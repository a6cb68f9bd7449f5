"""TensorFlow's tests have processes of their own: after it, CP-SAT crashes or goes another way."""

from __future__ import annotations

from pathlib import Path

import pytest

_TENSORFLOW = Path(__file__).parent / "tensorflow"


def _asked_for(config: pytest.Config) -> bool:
    """Whether the command names the folder, or something in it."""
    root = Path(config.invocation_params.dir)
    named = [(root / argument.partition("::")[0]).resolve() for argument in config.args]
    return any(path == _TENSORFLOW or _TENSORFLOW in path.parents for path in named)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if collection_path == _TENSORFLOW and not _asked_for(config):
        return True
    return None


def pytest_report_header(config: pytest.Config) -> str | None:
    if _asked_for(config):
        return None
    return "left out unless named: tests/frameworks/tensorflow"


@pytest.fixture(autouse=True)
def _undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no note depend on what else the machine does."""

    class Nobody:
        def share(self) -> None:
            return None

    monkeypatch.setattr("talos_opt.frameworks.common.measuring.Others", Nobody)
