"""Where the text and the pictures of an answer come from, for the answer's own methods.

The core imports nothing that shows anything. It knows by name who does, and loads it when somebody
looks at a result: `Result.summary`, ``print(result)`` and a cell of a notebook.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from talos_opt.core.gains import Gains
    from talos_opt.core.result import Result

_TEXT = "talos_opt.reports.texts.summary"
_PAGE = "talos_opt.reports.texts.notebook"
_BASELINES = "talos_opt.gain"


class _Summaries(Protocol):
    def summarise(
        self, result: Result, written: str | None = None, gained: Gains | None = None
    ) -> str: ...


class _Pages(Protocol):
    def to_html(self, result: Result) -> str: ...


class _Baselines(Protocol):
    def gains(self, result: Result, *, time_limit: float) -> Gains | None: ...


def text_of(result: Result, *, compared_for: float = 0.0) -> str:
    """Return the text of a result.

    Parameters
    ----------
    result : Result
    compared_for : float
        Seconds for which baselines may be solved to compare it with; 0: none are.
    """
    gained = None
    if compared_for > 0:
        baselines = cast(_Baselines, import_module(_BASELINES))
        gained = baselines.gains(result, time_limit=compared_for)
    text = cast(_Summaries, import_module(_TEXT)).summarise(result, gained=gained)
    # The command writes these to standard error.
    said = [f"note: {note}" for note in result.notes]
    if result.reason:
        said.append(f"{result.status}: {result.reason}")
    return "\n\n".join([text, "\n".join(said)]) if said else text


def html_of(result: Result) -> str:
    """Return a result as HTML for a notebook."""
    return cast(_Pages, import_module(_PAGE)).to_html(result)
