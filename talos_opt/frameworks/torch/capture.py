"""From a module to a flat graph of calls: by torch.export, and by tracing where that fails."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.loading import explain, user_line
from talos_opt.frameworks.torch.arguments import Arguments, arguments, is_meta
from talos_opt.frameworks.torch.captured import Captured, Inputs
from talos_opt.frameworks.torch.checking import Differs, check
from talos_opt.frameworks.torch.experts import without_loops
from talos_opt.frameworks.torch.exporting import export_inference, export_training
from talos_opt.frameworks.torch.faking import on_cpu
from talos_opt.frameworks.torch.lines import at
from talos_opt.frameworks.torch.masks import answered
from talos_opt.frameworks.torch.reasons import plain_module, reason
from talos_opt.frameworks.torch.signature import Output, Placeholder
from talos_opt.frameworks.torch.tracing import SEED, Found, trace
from talos_opt.frameworks.torch.training import own_backward, restored, set_mode

__all__ = ["MODES", "Captured", "Output", "Placeholder", "capture"]

MODES = ("inference", "training")
#: Arguments that an error lists at most.
_LISTED = 8


def capture(
    module: nn.Module,
    inputs: Inputs,
    mode: str = "inference",
    *,
    kwargs: Mapping[str, Any] | None = None,
) -> Captured:
    """Capture a module, on the device that it and the inputs are on (`meta` is one).

    Three ways are tried in turn: torch.export by running the module on tensors without values
    (`export`), torch.export by reading its bytecode (`strict export`), and tracing real tensors
    (`fx`). The first counts whose graph agrees with the module on a second, different input.
    Models without memory have no values to compare, nor any that could be taken for constants.

    Parameters
    ----------
    module : torch.nn.Module
        Is left in the mode that it was captured in: see `training.set_mode`. Of a compiled one
        the module inside is captured.
    inputs : sequence, mapping or Arguments
        Example inputs: a sequence by position, a mapping by name. Each may nest tensors in
        tuples, lists and dicts; what is no tensor is fixed, as shapes are.
    mode : {'inference', 'training'}
        Training: forwards, backwards, and a step of plain gradient descent, in one graph. What
        is minimised: see `training.loss_of`.
    kwargs : mapping of str to Any, optional
        Further inputs, by name.

    Returns
    -------
    Captured

    Raises
    ------
    InputError
        If the module does not run on the inputs, or cannot be captured: with op and line.
    """
    if mode not in MODES:
        raise InputError(f"mode {mode!r} is unknown, expected one of {', '.join(MODES)}")
    given = arguments(inputs, kwargs)
    module = plain_module(module)
    set_mode(module, mode)
    failures: list[Exception] = []
    ways = ["export", "strict export", "fx"]
    if mode == "training" and is_meta(module, given):
        with _quiet(), on_cpu(module, given) as (fakes, _):
            own = own_backward(module, fakes)
        if own:  # export leaves its backward out, which no comparison would tell here
            failures.append(Differs(f"torch.export leaves out the backward of {own}"))
            ways = ["fx"]
    for by in ways:
        if by == "strict export" and _is_hopeless(failures[-1]):
            continue
        try:
            with _quiet():
                with (
                    without_loops(module),
                    answered(module, given),
                    on_cpu(module, given) as (fakes, back),
                ):
                    found = back(_find(module, fakes, mode, by))
                captured = _assemble(found, module, given, mode, by)
                other, notes = check(captured)
        except InputError:
            raise
        except Exception as error:
            if not failures:
                _try(module, given)
            failures.append(error)
            continue
        return dataclasses.replace(captured, other=other, notes=(*_taken(by, failures), *notes))
    raise InputError(_refusal(mode, failures)) from failures[0]


def _find(module: nn.Module, given: Arguments, mode: str, by: str) -> Found:
    """Capture in one way."""
    if by == "fx":
        return trace(module, given, mode)
    export = export_training if mode == "training" else export_inference
    return export(module, given, strict=True) if by == "strict export" else export(module, given)


def _assemble(found: Found, module: nn.Module, given: Arguments, mode: str, by: str) -> Captured:
    graph_module, placeholders, outputs = found
    _simplify(graph_module)
    _require_tensors(graph_module)
    tied = find_tied(module)
    return Captured(graph_module, placeholders, outputs, mode, module, tied, given, by)


def _is_hopeless(failed: Exception) -> bool:
    """Whether reading bytecode would not help: it goes the same way, or crashes."""
    return isinstance(failed, Differs) or "exported program constant" in str(failed)


def _taken(by: str, failures: Sequence[Exception]) -> tuple[str, ...]:
    if by != "fx":
        return ()
    why = _why(failures[0])
    return (f"captured by tracing the example input, since torch.export does not do: {why}",)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what torch prints and logs when it gives up: the error says it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _refusal(mode: str, failures: Sequence[Exception]) -> str:
    """Say why the first way failed, and the last one, unless that says the same."""
    first, last = failures[0], failures[-1]
    text = f"the model cannot be captured for {mode}: {_why(first)}"
    if isinstance(last, Differs) and last is not first:
        return f"{text}; traced without torch.export its graph is wrong: {last}"
    same = (user_line(first) and user_line(first) == user_line(last)) or _why(first) == _why(last)
    return text if same or last is first else f"{text}; tracing it fails as well: {_why(last)}"


def _why(failed: Exception) -> str:
    return str(failed) if isinstance(failed, Differs) else reason(failed)


def find_tied(module: nn.Module) -> tuple[frozenset[str], ...]:
    """Return the sets of parameters and buffers that are one tensor, or share its storage."""
    names: dict[object, set[str]] = defaultdict(set)
    named = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    for name, tensor in named:
        names[storage_key(tensor)].add(name)
    return tuple(frozenset(found) for found in names.values() if len(found) > 1)


def storage_key(tensor: torch.Tensor) -> object:
    """Return what is the same for two tensors just if they are in the same memory."""
    if tensor.device.type == "meta" or tensor.layout != torch.strided or tensor.numel() == 0:
        return id(tensor)
    return (tensor.device, tensor.untyped_storage().data_ptr())


def _try(module: nn.Module, given: Arguments) -> None:
    """Run the module as it is: what fails here is no matter of capturing.

    On the meta device modules fail for many a reason that export knows its way around.
    """
    if is_meta(module, given):
        return
    copied = given.replace([value.clone() for value in given.tensors])
    try:
        with torch.no_grad(), restored(module):
            copied.call(module)
    except Exception as error:
        raise InputError(
            f"the model does not run on inputs {given.describe(types=False)}: {explain(error)}"
            f"{_takes(module, given, error)}"
        ) from error


def _takes(module: nn.Module, given: Arguments, error: Exception) -> str:
    """Say what forward takes, where it seems to have been called wrongly."""
    if not isinstance(error, (AttributeError, TypeError, ValueError)):
        return ""
    with contextlib.suppress(TypeError, ValueError):
        taken = inspect.signature(module.forward).parameters.values()
        plain = [p.replace(annotation=inspect.Parameter.empty) for p in taken]
        if isinstance(error, TypeError) and "argument" in str(error):
            return f"; forward takes {inspect.Signature(plain)}"
        args, kwargs = given.nested()
        left = [p.name for p in plain[len(args) :] if p.name not in kwargs]
        if left:
            more = ", ..." if len(left) > _LISTED else ""
            return f"; forward also takes {', '.join(left[:_LISTED])}{more}"
    return ""


def _simplify(graph_module: fx.GraphModule) -> None:
    """Leave out calls that do nothing where no gradients are recorded and shapes are fixed."""
    aten = torch.ops.aten
    graph = graph_module.graph
    for node in list(graph.nodes):
        if node.target in (aten.detach.default, aten.alias.default) or _is_idle_dropout(node):
            if SEED in node.meta:
                node.args[0].meta[SEED] = True
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target is aten._assert_tensor_metadata.default:
            graph.erase_node(node)
    graph_module.recompile()


def _is_idle_dropout(node: fx.Node) -> bool:
    """Whether a copy stands for dropout in evaluation, which returns what it is given."""
    copies = node.target is torch.ops.aten.clone.default and not node.kwargs
    called = str((node.meta.get("torch_fn") or ("", ""))[1])
    return copies and called.endswith("dropout")


def _require_tensors(graph_module: fx.GraphModule) -> None:
    """Refuse graphs whose shapes depend on values: how long their ops take is not one number."""
    for node in graph_module.graph.nodes:
        if node.op not in ("placeholder", "call_function", "output"):
            reader = next(iter(node.users), node)
            raise InputError(
                f"the model cannot be captured: op {node.name} is a {node.op}, which "
                f"{reader.name} reads{at(reader)}"
            )
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and any(
            isinstance(size, torch.SymInt) for size in value.shape
        ):
            raise InputError(
                f"the model cannot be captured: the shape of op {node.name} ({node.target}) "
                f"depends on values{at(node)}: keep shapes fixed, with torch.where or a product "
                "with the mask in place of picking by one, say"
            )
