"""Pages that are made when the site is built, and what is taken from outside ``docs/``."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import yaml

import talos_opt

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

#: Pages of the repository that are pages of the site too -> their address there.
TAKEN = {
    "CHANGELOG.md": "release-notes.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CODE_OF_CONDUCT.md": "project/conduct.md",
    "SECURITY.md": "project/security.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "examples/README.md": "how-to/examples.md",
    "models/README.md": "project/models.md",
}
#: Modules of the API besides `talos_opt` itself: address, title and what the page says first.
MODULES = {
    "talos_opt.testing": (
        "api/testing.md",
        "Is a solver right?",
        "`talos_opt.testing`: random problems, their optima by brute force, and a judge of answers."
        " [Plug-ins](../plugins.md#is-it-right) shows how to use it.",
    ),
    "talos_opt.plugins": (
        "api/plugins.md",
        "What plug-ins are made of",
        "`talos_opt.plugins`: what solvers of other packages subclass, return and call. "
        "[Plug-ins](../plugins.md) has an example, and describes file formats and exports.",
    ),
}


def api_pages() -> dict[str, str]:
    """Return the reference of the Python API: address -> Markdown with a directive per name."""
    functions: list[str] = []
    classes: list[str] = []
    errors: list[str] = []
    for name in talos_opt.__all__:
        value: Any = getattr(talos_opt, name)
        if inspect.isclass(value) and issubclass(value, BaseException):
            errors.append(name)
        else:
            (classes if inspect.isclass(value) else functions).append(name)
    pages = {
        "api/functions.md": _page(
            "Functions",
            "What `talos_opt` does. [The Python guide](../python.md) shows how they work together.",
            [f"talos_opt.{name}" for name in functions],
        ),
        "api/classes.md": _page(
            "Classes",
            "What problems, schedules and results are made of.",
            [f"talos_opt.{name}" for name in classes],
        ),
        "api/errors.md": _page(
            "Errors",
            "Every exception that is raised on purpose is a `TalosError`; "
            "[Errors](../python.md#errors) says when.",
            [f"talos_opt.{name}" for name in errors],
        ),
    }
    for module, (address, title, said) in MODULES.items():
        names = importlib.import_module(module).__all__
        pages[address] = _page(title, said, [f"{module}.{name}" for name in names])
    return pages


def _page(title: str, said: str, names: list[str]) -> str:
    return "\n\n".join([f"# {title}", said, *(f"::: {name}" for name in names)]) + "\n"


def citation_page() -> str:
    """Return how to cite the package, from CITATION.cff."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    about = yaml.safe_load(text)
    authors = " and ".join(_author(author) for author in about["authors"])
    bibtex = (
        "@software{talos_opt,\n"
        f"  title   = {{{about['title']}}},\n"
        f"  author  = {{{authors}}},\n"
        f"  version = {{{about['version']}}},\n"
        f"  license = {{{about['license']}}},\n"
        "}\n"
    )
    references = "".join(
        f'- "{item["title"]}", {item["conference"]["name"]}, {item["year"]}\n'
        for item in about.get("references", ())
    )
    return (
        f"# How to cite\n{about['message']}\n\n```bibtex\n{bibtex}```\n\n"
        f"The paper:\n\n{references}\n"
        "[Records](records.md) and [results](results.md) name the version and the date of every "
        "measurement; `talos-opt --version` prints yours, and a schedule file records the one that "
        f"made it.\n\n## CITATION.cff\n```yaml\n{text}```\n"
    )


def _author(author: dict[str, str]) -> str:
    names = (author.get("given-names"), author.get("family-names"))
    return " ".join(filter(None, names)) or f"{{{author['name']}}}"


def made_pages() -> dict[str, str]:
    """Return all pages that have no file under ``docs/``: address -> Markdown."""
    taken = {
        address: (ROOT / name).read_text(encoding="utf-8")
        for name, address in TAKEN.items()
        if (ROOT / name).exists()
    }
    return {**taken, **api_pages(), "cite.md": citation_page()}
