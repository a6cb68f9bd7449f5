"""What of a schedule a picture shows, and how."""

from __future__ import annotations

from dataclasses import dataclass

from talos_opt.core.errors import InputError
from talos_opt.reports import style
from talos_opt.reports.colouring import COLOUR_BY
from talos_opt.reports.folding import Folded, fold
from talos_opt.reports.view import View

#: Width of a picture in inches.
WIDTH = 12.0


@dataclass(frozen=True)
class Options:
    """Choices for a picture of a schedule.

    Parameters
    ----------
    width : float
        Inches; the height follows from what there is to show.
    start, end : float, optional
        Only this stretch of time, in the schedule's unit; default: from 0 to the end.
    models : tuple of str, optional
        Models that have colours; ops of others are pale. Default: all.
    memory : bool
        Whether memory is drawn.
    colour_by : {'model', 'type', 'slack'}
        What the colours of ops stand for.
    fold : bool
        Whether kinds of devices have one lane each where there are many.
    theme : Theme
    """

    width: float = WIDTH
    start: float | None = None
    end: float | None = None
    models: tuple[str, ...] | None = None
    memory: bool = True
    theme: style.Theme = style.LIGHT
    colour_by: str = "model"
    fold: bool = True

    def __post_init__(self) -> None:
        if self.colour_by not in COLOUR_BY:
            raise InputError(
                f"colour_by is {self.colour_by!r}, expected one of {', '.join(COLOUR_BY)}"
            )

    def folded(self, view: View) -> Folded:
        """Return a view as it is drawn: its devices by kind, where they are many."""
        return fold(view) if self.fold else Folded(view, view, ())

    def window(self, view: View) -> tuple[float, float]:
        """Return the stretch of time that is drawn.

        Raises
        ------
        InputError
            If nothing of the schedule is in it.
        """
        horizon = view.horizon or 1.0
        start = 0.0 if self.start is None else self.start
        # A little air behind the last bar, however little of the schedule is drawn.
        end = horizon + 0.004 * (horizon - start) if self.end is None else self.end
        if not (start < end and start < horizon and end > 0):
            unit = f" {view.time_unit}" if view.time_unit else ""
            until = "" if self.end is None else f" to {end:g}"
            raise InputError(
                f"the time from {start:g}{until}{unit} has nothing of the schedule in it, "
                f"expected a stretch between 0 and {view.horizon:g}{unit}"
            )
        return start, end

    def coloured(self, view: View) -> list[int]:
        """Return the numbers of the models that have colours.

        Raises
        ------
        InputError
            If there is no model of a name.
        """
        if self.models is None:
            return list(range(len(view.models)))
        for name in self.models:
            if name not in view.models:
                raise InputError(
                    f"there is no model {name!r}, expected some of {_some(view.models)}"
                )
        return [j for j, name in enumerate(view.models) if name in self.models]


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"
