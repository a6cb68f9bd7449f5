"""Names, labels and quantities as Kubernetes takes them."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from talos_opt.core.errors import InputError

#: Most characters of a label of RFC 1123, of which the names of Jobs are, and of a label's value.
MOST = 63
#: Characters of a digest that tells names apart that are alike once they are legal.
_DIGEST = 8

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_OTHER = re.compile(r"[^a-z0-9]+")

#: Binary suffixes of quantities, the largest first.
_SUFFIXES = (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))


def legal_name(*parts: str) -> str:
    """Return a label of RFC 1123 for a name in parts, which are joined by ``-``.

    A name that is one already stays. Any other keeps what is legal of it, and ends in a digest of
    what it was: so do names that differ only in what is lost.
    """
    name = "-".join(parts)
    if len(name) <= MOST and _LABEL.fullmatch(name):
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    kept = _OTHER.sub("-", plain).strip("-")[: MOST - _DIGEST - 1].strip("-")
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{kept or 'model'}-{digest[:_DIGEST]}"


def unique_names(names: list[str]) -> list[str]:
    """Return legal names with a number where one is taken: a model may be called like a digest."""
    taken: set[str] = set()
    found = []
    for name in names:
        own, k = name, 1
        while own in taken:
            k += 1
            own = f"{name[: MOST - len(str(k)) - 1].rstrip('-')}-{k}"
        taken.add(own)
        found.append(own)
    return found


def require_label_value(value: str, what: str) -> None:
    """Refuse what cannot be the value of a label, such as the name of a node.

    Raises
    ------
    InputError
    """
    if len(value) > MOST or not _VALUE.fullmatch(value):
        raise InputError(
            f"{what} is {value!r}, expected at most {MOST} letters, digits, '-', '_' and '.', "
            "the first and last of them a letter or digit"
        )


def exact_quantity(size: int) -> str:
    """Write bytes, in the largest binary unit in which they are whole."""
    for suffix, unit in _SUFFIXES:
        if size and size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)
