"""Every exception that leaves the package, readable at a glance.

TalosError
├── InputError                  what the user gave is wrong (command line: exit 2)
│   ├── FormatError             a file that cannot be read: names file, place, found, expected
│   ├── GraphError              a graph, cluster or problem that contradicts itself
│   ├── ScheduleError           a schedule that does not belong to its problem
│   └── ConfigError             a solver, option or configuration that does not exist
│       └── UnsupportedError    a solver was asked for something it declares it cannot do
├── DependencyError             a library is missing, or its version is known to break (exit 2)
├── SolverError                 a backend failed and left nothing to return (exit 3)
└── InternalError               a bug, here or in a backend; carries the best answer (exit 70)
    ├── InfeasibleScheduleError a schedule that breaks the model was about to leave the package
    └── RefutedProofError       a bound or a proof that a schedule contradicts

`Interrupted` is the KeyboardInterrupt that a solve ends with; it carries the best result too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from talos_opt.core.result import Comparison, Result


class TalosError(Exception):
    """Base of all exceptions that talos_opt raises on purpose."""


class InputError(TalosError, ValueError):
    """What the user gave cannot be used; the message names the place and what was expected.

    Parameters
    ----------
    message : str
        What was found and what was expected.
    path : str, optional
        JSON path of the offending value, e.g. ``models[0].ops[2].time.cpu``.
    source : str, optional
        File (or ``<stdin>``) that the value came from.
    line : int, optional
        One-based line in `source`.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        source: str | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(message, path, source, line)
        self.message = message
        self.path = path
        self.source = source
        self.line = line

    def __str__(self) -> str:
        place = self.source or ""
        if self.line is not None:
            place = f"{place}:{self.line}" if place else f"line {self.line}"
        parts = [part for part in (place, self.path) if part]
        return f"{': '.join(parts)}: {self.message}" if parts else self.message

    def located(self, *, source: str | None = None, line: int | None = None) -> InputError:
        """Return the same error with the file and line filled in where they were unknown."""
        return type(self)(
            self.message,
            path=self.path,
            source=self.source or source,
            line=self.line if self.line is not None else line,
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and errors cross processes.
        return (_rebuild, (type(self), self.message, self.path, self.source, self.line))


def _rebuild(
    kind: type[InputError],
    message: str,
    path: str | None,
    source: str | None,
    line: int | None,
) -> InputError:
    return kind(message, path=path, source=source, line=line)


class FormatError(InputError):
    """A file that cannot be read as what it claims to be."""


class GraphError(InputError):
    """A graph, cluster or problem that contradicts itself."""


class ScheduleError(InputError):
    """A schedule that does not belong to the problem it is held against."""


class ConfigError(InputError):
    """A solver, an option or a configuration that does not exist."""


class UnsupportedError(ConfigError):
    """A solver was asked for a feature that it declares it does not cover."""


class DependencyError(TalosError):
    """A library is missing, or installed in a version known to break."""


class SolverError(TalosError):
    """A backend failed and there is no schedule to return."""


class InternalError(TalosError):
    """A bug in talos_opt or in a backend ended a solve.

    Attributes
    ----------
    result : Result or None
        The best checked answer until then; its bound is one that is not in doubt.
    comparison : Comparison or None
        If it ended a `compare`, the rows until then.
    """

    result: Result | None = None
    comparison: Comparison | None = None


class RefutedProofError(InternalError):
    """A bound above the value of a checked schedule, or "infeasible" where there is one."""


class InfeasibleScheduleError(InternalError):
    """A schedule breaks the model; raised instead of handing it out.

    Parameters
    ----------
    violations : sequence of str
        One sentence for each broken rule.
    """

    def __init__(self, violations: list[str]) -> None:
        super().__init__(violations)
        self.violations = list(violations)

    def __str__(self) -> str:
        shown = "; ".join(self.violations[:3])
        rest = len(self.violations) - 3
        return shown + (f"; and {rest} more" if rest > 0 else "")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a solve.

    Attributes
    ----------
    result : Result or None
        The best answer until then.
    comparison : Comparison or None
        If it ended a `compare`, the rows until then.
    """

    result: Result | None = None
    comparison: Comparison | None = None
