"""What has to stay alive though nobody reads it: what views are of, and what a model returns.

A view has no bytes of its own, so who reads it has to keep the tensor that it is a view of. In a
graph it therefore reads no bytes of that tensor as well: on its device the tensor stays as long as
its views are read. What the model returns stays in the same way, until the last op that hangs on it
has run; where none does, until it is made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Place = TypeVar("Place", bound=Hashable)


def storage(tensor: tuple[Key, Place], bases: Mapping[Key, tuple[Key, Place]]) -> tuple[Key, Place]:
    """Return the tensor whose memory a tensor is in, over all views; itself if it is no view.

    Parameters
    ----------
    tensor : (op, place)
        Of an op's tensors, the one of this place.
    bases : mapping
        The tensor that a view is of, by the op that makes the view.
    """
    while tensor[0] in bases:
        tensor = bases[tensor[0]]
    return tensor


def kept_alive(
    reads: Mapping[Key, Sequence[tuple[Key, Place]]],
    bases: Mapping[Key, tuple[Key, Place]],
    returned: Iterable[tuple[Key, Place]],
) -> dict[Key, list[tuple[Key, Place]]]:
    """Return the tensors of ops that have to stay until an op has run, by the op.

    Not those that it reads itself. A view keeps nothing, for those who read it do.

    Parameters
    ----------
    reads : mapping
        What each op reads, producers before their readers; also of what is no op, such as inputs.
    bases : mapping
        See `storage`.
    returned : iterable
        Tensors that whoever runs the model keeps.
    """
    last = _last_to_hang_on(reads, bases)
    stays: dict[Key, list[tuple[Key, Place]]] = defaultdict(list)
    for tensor in returned:
        held = storage(tensor, bases)
        if held[0] in last:
            stays[last[held[0]]].append(held)
    kept = {}
    for op, read in reads.items():
        if op not in bases:
            roots = (storage(tensor, bases) for tensor in read)
            every = dict.fromkeys((*roots, *stays.get(op, ())))
            kept[op] = [tensor for tensor in every if tensor[0] in reads and tensor not in read]
    return kept


def _last_to_hang_on(
    reads: Mapping[Key, Sequence[tuple[Key, Place]]], views: Mapping[Key, object]
) -> dict[Key, Key]:
    """Return the last op that needs an op, over however many steps, if there is one."""
    ops = list(reads)
    place = {op: k for k, op in enumerate(ops)}
    last = [-1] * len(ops)
    for k, op in reversed(list(enumerate(ops))):
        latest = max(last[k], -1 if op in views else k)
        for source, _ in reads[op]:
            if source in place:
                last[place[source]] = max(last[place[source]], latest)
    return {op: ops[last[k]] for k, op in enumerate(ops) if last[k] >= 0}
