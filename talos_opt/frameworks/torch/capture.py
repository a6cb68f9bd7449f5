"""From a module to a flat graph of calls: by torch.export, and by tracing where that fails."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import fx, nn

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.loading import explain, user_line
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.experts import without_loops
from talos_opt.frameworks.torch.exporting import export_inference, export_training
from talos_opt.frameworks.torch.signature import Output, Placeholder
from talos_opt.frameworks.torch.tracing import trace
from talos_opt.frameworks.torch.training import set_mode

__all__ = ["MODES", "Captured", "Output", "Placeholder", "capture"]

MODES = ("inference", "training")


def capture(module: nn.Module, inputs: Sequence[torch.Tensor], mode: str = "inference") -> Captured:
    """Capture a module, on the device that it and the inputs are on (`meta` is one).

    Parameters
    ----------
    module : torch.nn.Module
        Is left in the mode that it was captured in: see `training.set_mode`.
    inputs : sequence of torch.Tensor
        Example inputs, by position. Shapes are fixed by them.
    mode : {'inference', 'training'}
        Training: forwards, backwards, and a step of plain gradient descent, in one graph. What
        is minimised: see `training.loss_of`.

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
    given = tuple(inputs)
    set_mode(module, mode)
    by = "export"
    try:
        with _quiet(), without_loops(module):
            export = export_training if mode == "training" else export_inference
            found = export(module, given)
    except InputError:
        raise
    except Exception as failed:
        _try(module, given)
        by = "fx"
        try:
            with _quiet(), without_loops(module):
                found = trace(module, given, mode)
        except InputError:
            raise
        except Exception as error:
            raise InputError(_refusal(mode, failed, error)) from failed
    graph_module, placeholders, outputs = found
    _simplify(graph_module)
    _require_tensors(graph_module)
    return Captured(graph_module, placeholders, outputs, mode, module, find_tied(module), by)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what torch prints and logs when it gives up: the error says it."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
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


def _refusal(mode: str, failed: Exception, error: Exception) -> str:
    text = f"the model cannot be captured for {mode}: {explain(failed)}"
    same = user_line(failed) and user_line(failed) == user_line(error)
    return text if same else f"{text}; tracing it fails as well: {explain(error)}"


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


def _try(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Run the module as it is: what fails here is no matter of capturing.

    On the meta device modules fail for many a reason that export knows its way around.
    """
    if any(tensor.device.type == "meta" for tensor in (*inputs, *module.parameters())):
        return
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        with torch.no_grad():
            module(*(value.clone() for value in inputs))
            for name, buffer in module.named_buffers():
                buffer.copy_(buffers[name])
    except Exception as error:
        shapes = ", ".join("x".join(map(str, value.shape)) or "scalar" for value in inputs)
        raise InputError(f"the model does not run on inputs {shapes}: {explain(error)}") from error


def _simplify(graph_module: fx.GraphModule) -> None:
    """Leave out calls that do nothing where no gradients are recorded and shapes are fixed."""
    aten = torch.ops.aten
    graph = graph_module.graph
    for node in list(graph.nodes):
        if node.target in (aten.detach.default, aten.alias.default):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target is aten._assert_tensor_metadata.default:
            graph.erase_node(node)
    graph_module.recompile()


def _require_tensors(graph_module: fx.GraphModule) -> None:
    """Refuse graphs whose shapes depend on values: how long their ops take is not one number."""
    for node in graph_module.graph.nodes:
        if node.op not in ("placeholder", "call_function", "output"):
            raise InputError(f"the model cannot be captured: op {node.name} is a {node.op}")
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and any(
            isinstance(size, torch.SymInt) for size in value.shape
        ):
            raise InputError(
                f"the model cannot be captured: the shape of op {node.name} ({node.target}) "
                f"depends on values{_line(node)}"
            )


def _line(node: fx.Node) -> str:
    lines = str(node.meta.get("stack_trace") or "").strip().split("\n")
    places = [line.strip() for line in lines if line.strip().startswith("File ")]
    return f" ({places[-1]})" if places else ""
