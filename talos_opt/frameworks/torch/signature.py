"""What the ends of a captured graph stand for."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A tensor that the graph is given.

    Parameters
    ----------
    name : str
        Of its node.
    kind : {'parameter', 'buffer', 'input', 'constant'}
    target : str or int
        Qualified name in the module, or position among the inputs.
    value : torch.Tensor, optional
        The module's own tensor, the example input, or the constant.
    """

    name: str
    kind: str
    target: str | int
    value: torch.Tensor | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Output:
    """A value that the graph returns.

    Parameters
    ----------
    kind : {'user_output', 'loss', 'gradient', 'mutation', 'update'}
        `mutation`: a new value of a buffer or an input; `update`: one of a parameter after the
        optimiser's step.
    target : str or int
        Position among the module's outputs, or the parameter, buffer or input that it is of.
    """

    kind: str
    target: str | int
