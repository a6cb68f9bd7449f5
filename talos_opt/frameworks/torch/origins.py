"""Gradients belong where what they are the gradients of belongs: to its module, and to its line.

Autograd numbers the steps that it records. So while the forward graph runs, node by node, it is
known whose steps they are; and when a step runs backwards, what is traced then can be told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import fx

_autograd: Any = torch.autograd
_sequence_number: Callable[[], int] = _autograd._get_sequence_nr  # noqa: SLF001
#: What a node knows of where it comes from, and hands on.
_FIELDS = ("nn_module_stack", "stack_trace")


class Origins(fx.Interpreter):
    """Runs a graph and remembers which of its nodes recorded which steps of autograd.

    Attributes
    ----------
    of : dict of int to mapping
        By number of the step: what the node knows of where it comes from.
    """

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module)
        self.of: dict[int, Mapping[str, Any]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run a node."""
        first = _sequence_number()
        value = super().run_node(n)
        known = {key: n.meta[key] for key in _FIELDS if n.meta.get(key)}
        for number in range(first, _sequence_number()):
            self.of[number] = known
        return value


def follow(value: torch.Tensor, origins: Mapping[int, Mapping[str, Any]]) -> None:
    """Let the gradients of a value tell a tracer where they come from.

    Parameters
    ----------
    value : torch.Tensor
        Whose gradients are to be traced.
    origins : mapping of int to mapping
        See `Origins.of`.
    """
    for step in _steps(value.grad_fn):
        known = origins.get(step._sequence_nr())  # noqa: SLF001
        if known:
            step.register_prehook(_setter(known))
            step.register_hook(_clearer(known))


def _steps(last: Any) -> Iterator[Any]:
    """Yield the steps that a value comes from."""
    seen, waiting = {last}, deque([last])
    while waiting:
        step = waiting.popleft()
        if step is None:
            continue
        yield step
        for before, _ in step.next_functions:
            if before not in seen:
                seen.add(before)
                waiting.append(before)


def _setter(known: Mapping[str, Any]) -> Callable[[Any], None]:
    def begin(_: Any) -> None:
        fx.traceback.get_current_meta().update(known)

    return begin


def _clearer(known: Mapping[str, Any]) -> Callable[[Any, Any], None]:
    def end(*_: Any) -> None:
        for key in known:
            fx.traceback.get_current_meta().pop(key, None)

    return end
