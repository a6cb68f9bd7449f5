"""Which line of the user's code a node of a captured graph comes from.

TensorFlow keeps the Python frames that made an op with the graph that it was made in, in this
process: a SavedModel has none. A node that was inlined from a function says what it was called
there, and in which function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from talos_opt.frameworks.common.lines import short
from talos_opt.frameworks.common.loading import is_users

#: What traces the model: what called it is not the model's code.
_CAPTURE = "talos_opt/frameworks/tensorflow/capture.py"
_TAPE = "gradient_tape/"
#: A gradient that a function computes for one of its ops.
_GRADIENT = re.compile(r"gradients/(.+?)_grad/.*")
_FORWARD = "__forward_"


class Lines:
    """Finds the line of nodes.

    Parameters
    ----------
    function : tf.types.experimental.ConcreteFunction
        What was captured.
    """

    def __init__(self, function: Any) -> None:
        self._graph = function.graph
        self._ops: dict[str, dict[str, Any]] = {}

    def of(self, node: Any) -> str:
        """Return ``file:line`` of a node of the flat graph; empty if unknown.

        A gradient has the line of the op that it is the gradient of, if its name says which.
        """
        info = node.experimental_debug_info
        made = list(zip(info.original_node_names, info.original_func_names, strict=False))
        for name, function in made or [(node.name, "")]:
            for origin in self._of_gradient(name, function):
                if origin:
                    return origin
            line = self._found(name, function)
            if line:
                return line
        return ""

    def _of_gradient(self, name: str, function: str) -> Iterator[str]:
        """Yield the lines of the ops that a node may be the gradient of, the likeliest first."""
        if name.startswith(_TAPE):
            parts = name.removeprefix(_TAPE).split("/")
            yield from (
                self._found("/".join(parts[:k]), function) for k in range(len(parts), 0, -1)
            )
        match = _GRADIENT.fullmatch(name)
        if match:  # several functions may have an op of that name
            forward = [item for item in self._functions() if item.startswith(_FORWARD)]
            lines = {self._found(match[1], item) for item in forward} - {""}
            yield lines.pop() if len(lines) == 1 else ""

    def _found(self, name: str, function: str) -> str:
        op = self._in(function).get(name)
        return "" if op is None else _line(op)

    def _functions(self) -> list[str]:
        return list(getattr(self._graph, "_functions", ()))

    def _in(self, function: str) -> dict[str, Any]:
        """Return the ops of a function, by name; of the captured graph for no function."""
        if function not in self._ops:
            graph = self._graph
            if function:
                find = getattr(graph, "_get_function", None)
                graph = getattr(find(function) if find else None, "graph", None)
            known = {} if graph is None else {op.name: op for op in graph.get_operations()}
            self._ops[function] = known
        return self._ops[function]


def _line(op: Any) -> str:
    """Return the innermost line of the user's code among the frames that made an op."""
    for frame in reversed(list(op.traceback or ())):
        if frame.filename.replace("\\", "/").endswith(_CAPTURE):
            return ""
        if is_users(frame.filename):
            return f"{short(frame.filename)}:{frame.lineno}"
    return ""
