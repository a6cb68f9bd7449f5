"""Guards against library versions that are known to break (docs/decisions/0002)."""

from __future__ import annotations

from importlib import metadata

from talos_opt.core.errors import DependencyError

#: The only release that does not share a process with OR-Tools.
_STRANGE_HIGHSPY = "1.15"


def require_compatible_highspy() -> None:
    """Refuse highspy 1.15, which cannot share a process with OR-Tools.

    Both export the symbols of HiGHS: whichever is imported second fails, and ``import pulp`` itself
    imports highspy. Only package metadata is read, nothing is imported.

    Raises
    ------
    DependencyError
    """
    found = _version("highspy")
    if found.split(".")[:2] == _STRANGE_HIGHSPY.split("."):
        raise DependencyError(
            f"highspy {found} cannot share a process with OR-Tools, expected 1.12, 1.13 or 1.16; "
            "run: pip install --upgrade 'highspy!=1.14.*,!=1.15.*'"
        )


def require_compatible_pulp() -> None:
    """Refuse PuLP 4, which builds rows in another way.

    Raises
    ------
    DependencyError
    """
    found = _version("pulp")
    if found.split(".")[0] not in ("", "3"):
        raise DependencyError(
            f"PuLP {found} is not supported, expected 3.3 or newer, below 4; "
            "run: pip install 'pulp>=3.3,<4'"
        )


def _version(package: str) -> str:
    """Return the installed version of a package, empty without one."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
