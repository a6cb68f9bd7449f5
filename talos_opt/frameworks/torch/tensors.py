"""Which tensors the ops of a graph make, and which of them each op reads.

An op with several results returns a tuple, and a pick (`operator.getitem`) takes one of them out
of it. A pick is no op, as it does nothing: it is the graph's way to name a tensor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import itemgetter
from typing import Any, NamedTuple

from torch import fx

from talos_opt.core.errors import InputError

#: Where in what a call returns a tensor is; empty: it is all that the call returns.
Path = tuple[int, ...]


class Made(NamedTuple):
    """A tensor of a graph.

    Parameters
    ----------
    node : torch.fx.Node
        The call that makes it, or the placeholder that it is.
    path : Path
    """

    node: fx.Node
    path: Path = ()


def is_pick(node: fx.Node) -> bool:
    """Whether a node takes one result out of several."""
    return node.op == "call_function" and node.target is operator.getitem


def made_by(node: fx.Node) -> Made:
    """Return the tensor that a node stands for: of a pick, the one that it picks."""
    path: list[int] = []
    while is_pick(node):
        node, position = node.args  # type: ignore[assignment]
        path.append(position)  # type: ignore[arg-type]
    return Made(node, tuple(reversed(path)))


def tensors_read(node: fx.Node) -> list[Made]:
    """Return the tensors that a node reads, placeholders included, each once."""
    return list(dict.fromkeys(map(made_by, node.all_input_nodes)))


def value_at(value: Any, path: Path) -> Any:
    """Return a part of what a call returns."""
    return reduce(operator.getitem, path, value)


def picker(path: Path) -> Callable[[Any], Any]:
    """Return what takes a part out of what a call returns."""
    return itemgetter(*path) if len(path) == 1 else lambda value: value_at(value, path)


class Tensors:
    """Names of the tensors that the ops of a graph make, as far as anything reads them.

    Parameters
    ----------
    graph : torch.fx.Graph

    Raises
    ------
    InputError
        If something reads all results of an op as one.
    """

    def __init__(self, graph: fx.Graph) -> None:
        read: dict[fx.Node, dict[Path, None]] = {}
        for reader in graph.nodes:
            if is_pick(reader):
                continue
            for source in reader.all_input_nodes:
                node, path = made_by(source)
                if isinstance(source.meta.get("val"), (tuple, list)):
                    raise InputError(
                        f"the model cannot be captured: {reader.name} reads all results of op "
                        f"{node.name} as one, expected a pick of each"
                    )
                read.setdefault(node, {}).setdefault(path)
        self._names = {node: _named(node, sorted(paths)) for node, paths in read.items()}

    def of(self, node: fx.Node) -> Mapping[Path, str]:
        """Return the tensors of an op, and their names; a single one has none."""
        several = isinstance(node.meta.get("val"), (tuple, list))
        return self._names.get(node) or ({} if several else {(): ""})

    def name(self, tensor: Made) -> str:
        """Return the name of a tensor among those of its op."""
        return self.of(tensor.node)[tensor.path]

    def outputs(self, node: fx.Node) -> tuple[str, ...]:
        """Return the names of an op's tensors, none where there is a single one."""
        return tuple(filter(None, self.of(node).values()))


def _named(node: fx.Node, paths: Sequence[Path]) -> dict[Path, str]:
    """Name tensors as the op's schema does, or by their position."""
    if len(paths) == 1:
        return {paths[0]: ""}
    returns = getattr(getattr(node.target, "_schema", None), "returns", ())
    known = {k: value.name for k, value in enumerate(returns) if value.name and len(returns) > 1}
    return {path: ".".join(_parts(path, known)) for path in paths}


def _parts(path: Path, known: Mapping[int, str]) -> Iterator[str]:
    yield known.get(path[0], str(path[0]))
    yield from map(str, path[1:])
