"""The runner of examples: what it runs, shows, skips and refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from website.examples import (
    ROOT,
    WIDTH,
    Block,
    ExampleError,
    Outcome,
    Runner,
    read_blocks,
    run_page,
)

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(autouse=True)
def _in_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(folder: Path, text: str) -> list[Outcome]:
    return Runner("page.md", folder).run(read_blocks(text))


def fenced(*blocks: str) -> str:
    return "\n\n".join(f"```{block}\n```" for block in blocks)


def test_output_of_commands_is_what_they_print(tmp_path: Path) -> None:
    (outcome,) = run(tmp_path, fenced("console\n$ echo one \\\n    two\nold\n$ echo three"))
    assert outcome.text == "$ echo one \\\n    two\none two\n$ echo three\nthree\n"


def test_long_sentences_are_wrapped_and_tables_are_not(tmp_path: Path) -> None:
    words, row = "word " * 40, "cell  " * 40
    Path(tmp_path / "out.txt").write_text(f"label  {words}\n{row}\n")
    (outcome,) = run(tmp_path, fenced("console\n$ cat out.txt"))
    _, first, second, *_, last = outcome.text.splitlines()
    assert len(first) <= WIDTH
    assert second.startswith("       word")
    assert last.split() == row.split()


def test_blocks_share_files_and_names(tmp_path: Path) -> None:
    page = fenced(
        'python title="deep/mine.py"\nVALUE = 3',
        "python\nfrom pathlib import Path\ntext = Path('deep/mine.py').read_text()",
        "python\nprint(text.strip())",
        "text\nold",
        "console\n$ cat deep/mine.py",
    )
    printed, shown = run(tmp_path, page)
    assert printed.text == "VALUE = 3\n"
    assert shown.text == "$ cat deep/mine.py\nVALUE = 3\n"


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("console\n$ exit 3", r"page.md:1: 'exit 3' ended with 3"),
        ("console\n$ false | true", "ended with 1"),
        ("console\n$ exit 3\n$ echo $?\n2", "the code was 3, the page says 2"),
        ("python\n\nassert 1 == 2", r"page.md:1: line 3: AssertionError"),
    ],
)
def test_an_example_that_fails_is_an_error(tmp_path: Path, block: str, complaint: str) -> None:
    with pytest.raises(ExampleError, match=complaint):
        run(tmp_path, fenced(block))


def test_a_command_may_fail_where_the_page_says_so(tmp_path: Path) -> None:
    (outcome,) = run(tmp_path, fenced("console\n$ exit 3\n$ echo $?\n3"))
    assert outcome.text == "$ exit 3\n$ echo $?\n3\n"


def test_what_is_absent_is_skipped_until_the_next_heading(tmp_path: Path) -> None:
    page = (
        "# Page\n## One\n> **Needs** a GPU.\n\n```console\n$ exit 1\n```\n"
        "## Two\n```console\n$ echo here\n```\n"
        "> **Needs** `no_such_module` and `pathlib`.\n\n```python\n1 / 0\n```\n"
        "## Three\n> **Needs** `pathlib`.\n\n```console\n$ echo there\n```\n"
    )
    first, second, third, fourth = run(tmp_path, page)
    assert (first.text, first.skipped) == ("$ exit 1\n", "a GPU.")
    assert (second.text, second.skipped) == ("$ echo here\nhere\n", "")
    assert third.skipped == "`no_such_module` and `pathlib`."
    assert fourth.text == "$ echo there\nthere\n"


def test_what_a_page_needs_holds_for_all_of_it() -> None:
    page = "# Page\n> **Needs** a GPU.\n\n## One\n```console\n$ exit 1\n```\n"
    assert [block.missing for block in read_blocks(page)] == ["a GPU."]


def test_commands_are_those_of_this_checkout(tmp_path: Path) -> None:
    page = ROOT / "build" / "page-of-a-test.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(fenced("console\n$ talos-opt --version\n$ ls models/fig1.yaml"))
    try:
        (outcome,) = run_page(page, tmp_path / "scratch")
    finally:
        page.unlink()
    assert re.search(r"^talos-opt \d+\.\d+\.\d+$", outcome.text, re.MULTILINE)
    assert not list((tmp_path / "scratch").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_where_they_run(page: Path) -> None:
    """Commands stand in console blocks: in no other, and not indented in the text."""
    text = page.read_text()
    blocks = read_blocks(text)

    def shows_commands(block: Block) -> bool:
        return bool(re.search(r"^\$ ", block.text, re.MULTILINE))

    if page.parent != ROOT:  # README and CONTRIBUTING are for people with a terminal as well
        assert [block.line for block in blocks if block.language in ("bash", "sh", "shell")] == []
        assert (
            re.findall(
                r"^    (?:\$ )?talos-opt .*$", re.sub(r"```.*?```", "", text, flags=re.S), re.M
            )
            == []
        )
    assert [b.line for b in blocks if b.language != "console" and shows_commands(b)] == []
    assert [b.line for b in blocks if b.language == "console" and not shows_commands(b)] == []
