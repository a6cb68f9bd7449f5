"""The README and the Python guide: their examples run, their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from talos_opt.cli.parser import build_parser
from talos_opt.core.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", DOCS / "cli.md", DOCS / "python.md", DOCS / "plugins.md"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def shell_lines(page: Path) -> list[str]:
    """Command lines of talos-opt that a page shows."""
    return re.findall(r"^\$ (talos-opt .*?)(?: +#.*)?$", page.read_text(), re.MULTILINE)


@pytest.mark.notes(r"^times near .* can be written to")  # of problems at odd scales
@pytest.mark.parametrize("page", [PAGES[0], *PAGES[2:]], ids=lambda page: page.name)
def test_the_python_examples_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    examples = blocks(page, "python")
    assert examples
    names: dict[str, object] = {}
    for code in examples:  # later examples of a page go on from the earlier ones
        exec(compile(code, str(page), "exec"), names)


def test_the_graph_of_the_readme_can_be_solved(tmp_path: Path) -> None:
    import talos_opt

    (text,) = blocks(PAGES[0], "yaml")
    path = tmp_path / "example.yaml"
    path.write_text(text)
    result = talos_opt.solve(talos_opt.read(path))
    assert result.placement["ranker/embed"] == "cpu0"


def test_the_configuration_of_the_guide_can_be_read(tmp_path: Path) -> None:
    from talos_opt.core.config import load_config

    (text,) = blocks(PAGES[1], "yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert load_config(path).solver == "talos"
    path.write_text(text + "more: 1\n")
    with pytest.raises(InputError):
        load_config(path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_commands_of_the_readme_can_be_parsed() -> None:
    shown = shell_lines(PAGES[0])
    assert {line.split()[1] for line in shown} >= {"solve", "compare", "check"}
    made: set[str] = set()  # by a command further up
    for line in shown:
        args = build_parser().parse_args(line.split("|")[0].split()[1:])
        for graph in getattr(args, "graphs", [getattr(args, "graph", None)]):
            assert graph is None or graph in made or (ROOT / graph).exists(), line
        made.add(getattr(args, "output", None) or "")
