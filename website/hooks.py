"""Hooks of MkDocs: examples are run, and what other files say is put into the pages."""

from __future__ import annotations

import logging
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # MkDocs loads hooks as files of no package

from website import examples, generated, options  # noqa: E402

log = logging.getLogger("mkdocs.plugins.website")

#: Where the pages' examples run; what they wrote is there afterwards.
SCRATCH = ROOT / "build" / "examples"
_LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^()\s]+)\)")
_MADE = re.compile(r"\]\(made/([^()\s#]+)")
_OPTIONS = re.compile(r"^<!-- options: (\w+) -->$", re.MULTILINE)
_IN_DOCSTRING = re.compile(r"\bdocs/([\w-]+)\.md\b")
_NO_DESCRIPTION = re.compile(r'\s+\u2013\s*<div class="doc-md-description">\s*</div>')
_PAGES = "<!-- pages of this folder -->"

_outcomes: dict[str, list[examples.Outcome]] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Make the pages that have no file, and run the examples of all that have."""
    for address, text in generated.made_pages().items():
        files.append(File.generated(config, address, content=text))
    pages = {
        Path(file.abs_src_path): file.src_uri
        for file in files.documentation_pages()
        if file.abs_src_path
    }
    try:
        found = examples.run_pages(list(pages), SCRATCH)
    except examples.ExampleError as error:
        raise PluginError(f"examples of the documentation failed:\n{error}") from None
    for path, address in pages.items():
        _outcomes[address] = found[path]
        for outcome in found[path]:
            if outcome.skipped:
                log.info(f"{address}:{outcome.line}: not run, needs {outcome.skipped}")
        for name in sorted(set(_MADE.findall(path.read_text(encoding="utf-8")))):
            made = SCRATCH / examples.scratch_name(path) / name
            if made.is_file():
                target = _made_address(address, name)
                files.append(File.generated(config, target, abs_src_path=str(made)))
            else:
                log.warning(f"{address}: no example of the page makes {name}")
    for name in _linked_files(pages):
        source = File.generated(config, f"files/{name}", abs_src_path=str(ROOT / name))
        files.append(source)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill a page in: outputs, tables of options, lists of pages, links out of ``docs/``."""
    address = page.file.src_uri
    if address.startswith("how-to/"):
        page.meta.setdefault("search", {"boost": 2})
    text = _with_outputs(markdown, _outcomes.get(address, []))
    text = _OPTIONS.sub(lambda found: options.describe(found[1]), text)
    if _PAGES in text:
        text = text.replace(_PAGES, _list_of_pages(address, files))
    return _with_links(text, address)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mend what docstrings become: links to pages, and no dash where nothing follows."""
    if not page.file.src_uri.startswith("api/"):
        return html

    def link(found: re.Match[str]) -> str:
        target = files.get_file_from_path(f"{found[1]}.md")
        if target is None:
            return found[0]
        address = posixpath.relpath(target.url, posixpath.dirname(page.file.url))
        return f'<a href="{address}">{_title(found[0])}</a>'

    return _IN_DOCSTRING.sub(link, _NO_DESCRIPTION.sub("", html))


def _made_address(address: str, name: str) -> str:
    return f"made/{address.removesuffix('.md')}/{name}"


def _with_outputs(markdown: str, outcomes: list[examples.Outcome]) -> str:
    lines = markdown.splitlines()
    for outcome in reversed(outcomes):  # from below, so that lines above stay where they are
        end = lines.index("```", outcome.line)
        lines[outcome.line : end] = outcome.text.splitlines()
    return "\n".join(lines) + "\n"


def _list_of_pages(address: str, files: Files) -> str:
    folder = posixpath.dirname(address)
    rows = []
    for file in files.documentation_pages():
        if posixpath.dirname(file.src_uri) == folder and file.src_uri != address:
            found = re.match(r"# (.+)\n+((?:[^\n#>`<].*\n)+)?", file.content_string)
            if found:
                said = " ".join((found[2] or "").split())
                first = re.split(r"(?<=[.?!]) (?=[A-Z`])", said)[0]
                rows.append(f"- [{found[1]}]({posixpath.basename(file.src_uri)}): {first}")
    return "\n".join(sorted(rows))


def _title(path: str) -> str:
    """Return the heading of a Markdown file of the repository."""
    text = (ROOT / path).read_text(encoding="utf-8")
    heading = re.match(r"# (.+)", text)
    return heading[1] if heading else path


def _source_of(address: str) -> str:
    """Return the path in the repository of what a page is made from."""
    taken = {made: name for name, made in generated.TAKEN.items()}
    return taken.get(address, f"docs/{address}")


def _resolve(target: str, source: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _is_local(target: str) -> bool:
    return "://" not in target and not target.startswith(("#", "mailto:", "made/"))


def _linked_files(pages: dict[Path, str]) -> list[str]:
    """Return the files outside ``docs/`` that pages link to and that are no pages themselves."""
    sources = [*(str(path.relative_to(ROOT)) for path in pages), *generated.TAKEN]
    found = set()
    for source in sources:
        text = (ROOT / source).read_text(encoding="utf-8")
        for _, target in _LINK.findall(text):
            name = _resolve(target.partition("#")[0], source) if _is_local(target) else ""
            taken = name.startswith("docs/") or name in generated.TAKEN
            if name and not taken and (ROOT / name).is_file():
                found.add(name)
    return sorted(found)


def _with_links(markdown: str, address: str) -> str:
    """Let links lead to where things are on the site; what is not there stays as text."""
    source = _source_of(address)
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if number % 2 else _LINK.sub(lambda found: _relinked(found, source, address), part)
        for number, part in enumerate(parts)
    )


def _relinked(found: re.Match[str], source: str, address: str) -> str:
    text, target = found.groups()
    folder = posixpath.dirname(address)
    if target.startswith("made/"):
        name, _, anchor = target.removeprefix("made/").partition("#")
        made = posixpath.relpath(_made_address(address, name), folder or ".")
        return f"{text}({made}{'#' + anchor if anchor else ''})"
    if not _is_local(target):
        return found[0]
    name, _, anchor = target.partition("#")
    path = _resolve(name, source)
    if path.startswith("docs/"):
        new = path.removeprefix("docs/")
    elif path in generated.TAKEN:
        new = generated.TAKEN[path]
    elif (ROOT / path).is_file():
        new = f"files/{path}"
    elif (ROOT / path).is_dir():
        return f"`{path}/`" if text.strip("[]`") == path else text.strip("[]")
    else:
        return found[0]  # MkDocs says that it leads nowhere
    if (generated.DOCS / new).is_dir():
        index = "index.md" if (generated.DOCS / new / "index.md").exists() else "README.md"
        new = f"{new}/{index}"
    if re.fullmatch(r"\[(?:[\w-]+/)*[\w-]+\.md\]", text):  # files have titles here
        text = f"[{_title(path)}]"
    return f"{text}({posixpath.relpath(new, folder or '.')}{'#' + anchor if anchor else ''})"


def on_post_build(config: MkDocsConfig, **_: Any) -> None:
    """Say where the site is."""
    log.info(f"the site is in {os.path.relpath(config.site_dir)}: open index.html")
