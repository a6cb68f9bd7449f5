"""Capture by torch.export; for training, its graph is traced with its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind

from talos_opt.frameworks.torch.arguments import Arguments
from talos_opt.frameworks.torch.control import fold_control_flow
from talos_opt.frameworks.torch.origins import Origins
from talos_opt.frameworks.torch.signature import Output, Placeholder
from talos_opt.frameworks.torch.tracing import OUT_SPEC, Call, Found, trace_call

_KINDS = {
    InputKind.PARAMETER: "parameter",
    InputKind.BUFFER: "buffer",
    InputKind.CONSTANT_TENSOR: "constant",
    InputKind.USER_INPUT: "input",
}


def export_inference(module: nn.Module, given: Arguments, *, strict: bool = False) -> Found:
    """Capture a module forwards; in-place ops become ops that return new values.

    Parameters
    ----------
    module : torch.nn.Module
    given : Arguments
    strict : bool
        Whether its bytecode is read, which knows NumPy and more, rather than run.
    """
    with torch.no_grad():
        program = _export(module, given, strict)
        # No op is taken apart that the module's author called as one; only mutations go.
        program = program.run_decompositions({})
    fold_control_flow(program.graph_module)
    program.graph_module.meta[OUT_SPEC] = program.call_spec.out_spec
    placeholders = _placeholders(program, module, given)
    outputs: list[Output] = []
    for spec in program.graph_signature.output_specs:
        if spec.kind == OutputKind.USER_OUTPUT:
            position = sum(output.kind == "user_output" for output in outputs)
            outputs.append(Output("user_output", position))
        else:
            outputs.append(Output("mutation", _mutated(spec, placeholders)))
    return program.graph_module, placeholders, tuple(outputs)


def _export(module: nn.Module, given: Arguments, strict: bool) -> ExportedProgram:
    args, kwargs = given.nested()
    return torch.export.export(module, args, kwargs, strict=strict)


def _mutated(spec: Any, placeholders: tuple[Placeholder, ...]) -> str | int:
    if spec.kind == OutputKind.USER_INPUT_MUTATION:
        return next(p.target for p in placeholders if p.name == spec.target)
    return str(spec.target)


def _placeholders(
    program: ExportedProgram, module: nn.Module, given: Arguments
) -> tuple[Placeholder, ...]:
    """Return what the graph is given; what is no tensor is part of it already, and goes."""
    own: dict[str, torch.Tensor] = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    nodes = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
    found: list[Placeholder] = []
    for spec in program.graph_signature.input_specs:
        kind = _KINDS.get(spec.kind)
        name = spec.arg.name
        if isinstance(spec.arg, ConstantArgument):
            program.graph.erase_node(nodes[name])
            continue
        if kind is None:
            raise TypeError(f"input {name} of the exported graph is a {spec.kind.name}")
        if kind == "input":
            position = sum(p.kind == "input" for p in found)
            found.append(Placeholder(name, kind, position, given.tensors[position]))
        else:
            target = str(spec.target)
            value = own[target] if target in own else program.constants[target]
            found.append(Placeholder(name, kind, target, value))
    return tuple(found)


def export_training(module: nn.Module, given: Arguments, *, strict: bool = False) -> Found:
    """Capture a module forwards and backwards, with the loss of `training.loss_of`.

    The exported forward graph is traced once more, together with its gradients.
    """
    program = _export(module, given, strict)
    placeholders = _placeholders(program, module, given)
    forward = program.graph_module
    out_spec = program.call_spec.out_spec
    fakes = [node.meta["val"] for node in forward.graph.find_nodes(op="placeholder")]
    copies = [
        fake.detach().requires_grad_(p.kind == "parameter" and fake.requires_grad)
        for fake, p in zip(fakes, placeholders, strict=True)
    ]

    # Node by node, so that modules and lines stay known.
    origins = Origins(forward)

    def run(*values: torch.Tensor) -> tuple[Sequence[Any], Any]:
        return list(origins.run(*values)), out_spec

    with fakes[0].fake_mode:
        call = Call(run, training=True, origins=origins.of)
        return trace_call(call, copies, placeholders)
