"""The documentation: links lead somewhere, and no solver, option, field or module is left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from talos_opt.core.metrics import Metrics
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import Feature

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "benchmarks" / "README.md"])
WRITTEN = [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "models" / "README.md"]
SOURCES = sorted((ROOT / "talos_opt").rglob("*.py"))

#: Phrases that docs/architecture.md, Style, has better ones for.
UNUSUAL = re.compile(
    r"(?<!there )\b(?:is|are) no (?!longer|more|less|worse|better|later|larger|smaller|earlier)\w+"
    r"|\btold\b|\bfound out\b|\bfor nothing\b|\bat once\b|\banew\b|\bjust if\b|\bso many\b",
    re.IGNORECASE,
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """Text without code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Anchors that the headings of a page have on GitHub."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if "://" in target or target.startswith("made/"):  # that is made with the site
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), target
        if anchor:
            assert anchor in anchors(other), target


def test_every_decision_is_in_the_list_of_decisions() -> None:
    listed = set(LINK.findall((DOCS / "decisions" / "README.md").read_text()))
    assert {page.name for page in (DOCS / "decisions").glob("0*.md")} == listed


def section(page: Path, title: str) -> str:
    """Return the text under a heading of the second level."""
    parts = re.split(r"^## (.*)$", page.read_text(), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert title in found, f"{page.name} has no section {title!r}"
    return found[title]


@pytest.mark.parametrize("name", registry.names())
def test_every_solver_is_described(name: str) -> None:
    page = DOCS / "solvers.md"
    assert f"`{name}`" in section(page, "Which one")
    headings = re.findall(r"^## (\w+)$", page.read_text(), re.MULTILINE)
    items = re.findall(r"^- ((?:`\w+`(?:, )?)+):", section(page, "Baselines"), re.MULTILINE)
    assert name in {*headings, *re.findall(r"`(\w+)`", " ".join(items))}


def option_rows(text: str) -> dict[str, list[str]]:
    """Options in the first column of a section's table, and their defaults in the second."""
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]*) \|", text, re.MULTILINE)
    return {
        option: shown.split(", ") if ", " in names else [shown]
        for names, shown in rows
        for option in re.findall(r"`(\w+)`", names)
    }


@pytest.mark.parametrize("name", registry.names())
def test_every_option_is_described_with_its_default(name: str) -> None:
    known = {item.name: item.default for item in fields(type(registry.create(name).options))}
    if not known:
        return
    rows = option_rows(section(DOCS / "solvers.md", name))
    assert set(rows) == set(known)
    for option, default in known.items():
        texts = (
            {str(default), str(default).lower(), f"{default:,}", f"{default:g}"}
            if (isinstance(default, (int, float)))
            else {f"`{default}`"}
        )
        assert texts & set(rows[option]), f"{option}: {rows[option]}, not {default!r}"


@pytest.mark.parametrize("info", registry.describe(), ids=lambda info: info.name)
def test_what_a_solver_does_not_cover_is_in_its_row(info: registry.SolverInfo) -> None:
    table = section(DOCS / "solvers.md", "Which one").split("| solver |")[1]
    (row,) = (
        line
        for line in table.splitlines()
        if line.startswith("|") and f"`{info.name}`" in line.split("|")[1]
    )
    words = {
        Feature.TOCT: "toct",
        Feature.MAKESPAN: "makespan",
        Feature.BOTTLENECK: "bottleneck",
        Feature.MEMORY: "`memory`",
        Feature.PEAK_MEMORY: "peak",
        Feature.SERIAL_LINKS: "serial",
        Feature.NO_COPY_ENGINE: "copy engine",
        Feature.SLOTS: "slots",
        Feature.VIA: "via",
        Feature.STAGES: "--stages",
    }
    cell = row.split("|")[3]
    # Sentences below the table say who covers steps, and what has started.
    steps = {Feature.STEP, Feature.PIPELINE_MEMORY}
    assert steps.isdisjoint(info.features) == (info.name not in ("auto", "pipeline"))
    assert {feature for feature, word in words.items() if word in cell} == (
        set(Feature) - info.features - steps - {Feature.FROZEN}
    )


def test_every_metric_is_explained() -> None:
    text = section(DOCS / "model.md", "Metrics") + section(DOCS / "model.md", "Objectives")
    words = text.lower()
    for item in fields(Metrics):
        assert any(form in words for form in (item.name, item.name.replace("_", " "))), item.name


def test_the_modules_named_in_the_architecture_exist() -> None:
    text = (DOCS / "architecture.md").read_text()
    named = set(re.findall(r"`(?:talos_opt/)?((?:core|formats|cli|solvers)/\w+\.py)`", text))
    assert named
    for name in named - {"solvers/mine.py", "formats/mine.py"}:
        assert (ROOT / "talos_opt" / name).exists(), name


def test_every_benchmark_is_described() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text()
    scripts = [p.stem for p in (ROOT / "benchmarks").glob("*.py") if "__main__" in p.read_text()]
    assert scripts
    for script in scripts:
        assert f"python -m benchmarks.{script}" in text


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_is_wrapped(page: Path) -> None:
    for line in prose(page).splitlines():
        assert len(line) <= 100 or line.startswith(("|", "    ")), line


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_is_plain_english(page: Path) -> None:
    quoted = re.sub(r'"[^"]*"|`[^`]*`', "", prose(page))
    assert UNUSUAL.findall(" ".join(quoted.split())) == []


def messages(source: Path) -> Iterator[str]:
    """Text in a module's code, such as its messages; not its docstrings."""
    nodes = list(ast.walk(ast.parse(source.read_text())))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


def test_messages_are_plain_english() -> None:
    found = [(source.name, text) for source in SOURCES for text in messages(source)]
    assert len(found) > 1000
    assert [(name, text) for name, text in found if UNUSUAL.search(text)] == []
