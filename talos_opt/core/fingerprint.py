"""A name for what a graph is made of, by which schedules and models find their graph again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

#: Before the digest, so that another way of making it would be told apart.
KIND = "ops-edges-1"


def fingerprint(names: Sequence[str], producer: Any, reader: Any) -> str:
    """Return a hash of the ops of a graph and of who reads whom.

    Parameters
    ----------
    names : sequence of str
        ``MODEL/OP`` of every op.
    producer, reader : (e,) int
        Ends of every edge, as positions in `names`; an edge that is named twice counts once.

    The same for the same ``MODEL/OP`` names and edges, in whatever order a file lists them, and
    on every platform and version. Times, sizes, weights, groups, pins and the cluster have no
    part in it: a graph that was profiled again keeps its fingerprint.

    Returns
    -------
    str
        ``ops-edges-1:`` and 64 hexadecimal digits: SHA-256 of the sorted names, joined by NUL in
        UTF-8; two NULs; and for each edge, sorted, the numbers of producer and reader among the
        sorted names, as 64-bit integers, lowest byte first.
    """
    ranked = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), dtype=np.int64)
    rank[ranked] = np.arange(len(names))
    producer, reader = rank[producer], rank[reader]
    by_names = np.lexsort((reader, producer))
    edges = np.column_stack((producer[by_names], reader[by_names])).astype("<i8")
    if len(edges):  # a reader of two outputs of one op
        edges = edges[np.append(True, (np.diff(edges, axis=0) != 0).any(axis=1))]
    digest = hashlib.sha256()
    # Half of a surrogate pair is not text, yet may be in a name that was made in Python.
    digest.update("\0".join(names[i] for i in ranked).encode("utf-8", "surrogatepass"))
    digest.update(b"\0\0")
    digest.update(np.ascontiguousarray(edges).tobytes())
    return f"{KIND}:{digest.hexdigest()}"
