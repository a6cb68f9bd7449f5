"""The README: its examples run, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from talos_opt.core.errors import InputError
from website.examples import run_page

ROOT = Path(__file__).resolve().parents[1]
README, CLI = ROOT / "README.md", ROOT / "docs" / "cli.md"
#: Pages that are read where the repository is; `make docs` follows the links of all others.
LINKING = [README, ROOT / "CONTRIBUTING.md", ROOT / "models" / "README.md"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_readme_run(tmp_path: Path) -> None:
    """Those of all other pages run while the site is built: `make docs`."""
    outcomes = run_page(README, tmp_path / "readme")
    assert outcomes
    assert any(not outcome.skipped for outcome in outcomes)


def test_the_configuration_of_the_guide_can_be_read(tmp_path: Path) -> None:
    from talos_opt.core.config import load_config

    (text,) = blocks(CLI, "yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert load_config(path).solver == "talos"
    path.write_text(text + "more: 1\n")
    with pytest.raises(InputError):
        load_config(path)


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target and not target.startswith("made/"):  # that is an example's
            assert (page.parent / target).exists(), target
