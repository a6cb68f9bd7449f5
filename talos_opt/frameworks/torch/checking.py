"""Whether a captured graph computes what its module does, on inputs that capturing never saw.

A tensor that was made into a constant (by NumPy, say, or ``float(x.max())``) looks right on the
inputs that it was made from, and on no others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import fx

from talos_opt.frameworks.common.loading import explain
from talos_opt.frameworks.torch.arguments import Arguments, is_meta, shape_text
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.comparing import compare_outputs, rounds_to_tf32
from talos_opt.frameworks.torch.lines import at
from talos_opt.frameworks.torch.signature import Output
from talos_opt.frameworks.torch.substitutes import callee

#: By how much other floats are smaller: what a largest or a mean value was baked into shows then.
_SHRINK = 0.75
_SEED = 0


class Differs(Exception):
    """The graph computes something else than the module."""


def check(captured: Captured) -> tuple[tuple[torch.Tensor, ...] | None, tuple[str, ...]]:
    """Compare a graph with its module on other inputs than those that it was captured with.

    Both begin with the same state of torch's random numbers.

    Parameters
    ----------
    captured : Captured

    Returns
    -------
    other : tuple of torch.Tensor, optional
        The inputs; None: the module runs on no others, or has no memory.
    notes : tuple of str

    Raises
    ------
    Differs
        If they do not agree, or the graph does not run.
    """
    if is_meta(captured.module, captured.arguments):
        return None, _independent(captured)
    random = drawing(captured)
    for other in others(captured.arguments):
        try:
            with seeded(other):
                expected = captured.reference(other)
        except Exception as error:
            failed = error
            continue
        try:
            with seeded(other):
                found = run_graph(captured, other)
        except Exception as error:
            raise Differs(f"its graph does not run on a second input: {explain(error)}") from error
        wrong = _wrong(captured, expected, found)
        if wrong is None:
            return other, _independent(captured)
        if random and captured.by != "fx":
            return other, (f"outputs were not compared: {why_random(random)}",)
        with seeded(other):
            again = captured.reference(other)
        raise Differs(_tell(captured, wrong, _wrong(captured, expected, again) is not None))
    return None, (
        "the graph was not compared with the model on a second input, on which the model does "
        f"not run: {explain(failed)}",
        *_independent(captured),
    )


def others(given: Arguments) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield other inputs of the same shapes and types, the most different ones first.

    Whole numbers and truth values are drawn from those that are there, so that they stay valid;
    floats are put into another order and made smaller.
    """
    if given.redraw is not None:
        yield tuple(given.redraw())
    yield tuple(varied(value, k) for k, value in enumerate(given.tensors))
    yield tuple(
        varied(value, k) if value.is_floating_point() else value.clone()
        for k, value in enumerate(given.tensors)
    )


def varied(value: torch.Tensor, seed: int) -> torch.Tensor:
    """Return another tensor of the same shape and type that a model should take: see `others`."""
    rng, count = torch.Generator().manual_seed(seed + 1), value.numel()
    if value.layout != torch.strided or value.is_quantized:
        return value.clone()
    if value.is_floating_point() or value.is_complex():
        picked = torch.randperm(count, generator=rng)
    else:
        picked = torch.randint(0, max(count, 1), (count,), generator=rng)
    made = value.detach().reshape(-1)[picked.to(value.device)].reshape(value.shape)
    if not (value.is_floating_point() or value.is_complex()):
        return made
    if value.element_size() == 1:  # nothing multiplies floats of 8 bits
        return (made.float() * _SHRINK).to(value.dtype)
    return made * _SHRINK


@contextlib.contextmanager
def seeded(values: Sequence[torch.Tensor]) -> Iterator[None]:
    """Let torch draw the same random numbers every time, and go on as before afterwards."""
    devices = {value.device for value in values if value.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(d.index or 0 for d in devices)):
        torch.manual_seed(_SEED)
        yield


def run_graph(captured: Captured, inputs: Sequence[torch.Tensor]) -> list[Any]:
    """Return what the graph computes on one device, in its own order."""
    with torch.no_grad():
        return list(_Runner(captured.graph_module).run(*captured.flat_values(inputs)))


class _Runner(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        """Run one node, as a run under a placement does."""
        if n.op != "call_function":
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return callee(n, "cpu")(*args, **kwargs)


def drawing(captured: Captured) -> list[fx.Node]:
    """Return the ops that draw random numbers."""
    return [node for node in captured.ops() if _draws(node)]


def why_random(nodes: Sequence[fx.Node]) -> str:
    """Say which ops draw random numbers."""
    more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return f"the model draws random numbers at op {nodes[0].name}{at(nodes[0])}{more}"


def _draws(node: fx.Node) -> bool:
    tags = getattr(node.target, "tags", ())
    if torch.Tag.nondeterministic_seeded not in tags:
        return False
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    names = [argument.name for argument in schema]
    given = {argument.name: argument.default_value for argument in schema}
    given |= {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    if given.get("train") is False or given.get("training") is False:
        return False
    shares = [given[name] for name in ("p", "dropout_p", "dropout") if name in given]
    return not shares or any(share != 0 for share in shares)


def _wrong(
    captured: Captured, expected: Sequence[Any], found: Sequence[Any]
) -> tuple[Output, float] | None:
    """Return the first output that differs, and by how much."""
    devices = {value.device for value in captured.arguments.tensors}
    tf32 = bool(rounds_to_tf32(devices))
    for spec, a, b in zip(captured.outputs, expected, found, strict=True):
        error, equal = compare_outputs([a], [b], tf32=tf32)
        if not equal:
            return spec, error
    return None


def _tell(captured: Captured, wrong: tuple[Output, float], restless: bool) -> str:
    spec, error = wrong
    if restless:
        return (
            "two runs of the model on one input differ, by random numbers that torch's seed does "
            "not fix, or by what the model keeps from run to run"
        )
    what = f"output {spec.target}" if spec.kind == "user_output" else f"{spec.kind} {spec.target}"
    what = "the loss" if spec.kind == "loss" else what
    parts = [f"on a second input {what} differs by {error:.3g} from the model's"]
    if spec.kind in ("gradient", "update"):
        parts[0] += ", as where the backward of a custom autograd.Function is left out"
    baked = [
        f"{p.name} ({shape_text(p.value)}{_first_reader(captured, p.name)})"
        for p in captured.placeholders
        if p.kind == "constant" and p.value is not None
    ]
    if baked:
        parts.append(f"constants that the graph holds: {', '.join(baked[:3])}")
    return "; ".join((*parts, *_independent(captured)))


def _first_reader(captured: Captured, name: str) -> str:
    for node in captured.graph_module.graph.find_nodes(op="placeholder"):
        if node.name == name and node.users:
            return at(next(iter(node.users)))
    return ""


def _independent(captured: Captured) -> tuple[str, ...]:
    """Name the outputs of the model that no input reaches."""
    graph = captured.graph_module.graph
    if not captured.arguments.tensors:
        return ()
    kinds = zip(graph.find_nodes(op="placeholder"), captured.placeholders, strict=True)
    reached = {node for node, placeholder in kinds if placeholder.kind == "input"}
    for node in graph.nodes:
        if any(source in reached for source in node.all_input_nodes):
            reached.add(node)
    returned = graph.output_node().args[0]
    assert isinstance(returned, (tuple, list))
    alone = [
        str(spec.target)
        for spec, node in zip(captured.outputs, returned, strict=True)
        if spec.kind == "user_output" and isinstance(node, fx.Node) and node not in reached
    ]
    if not alone:
        return ()
    which = (
        f"output {alone[0]} depends" if len(alone) == 1 else f"outputs {', '.join(alone)} depend"
    )
    return (f"{which} on no input",)
