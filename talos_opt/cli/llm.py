"""``talos-opt profile llm``, and what `fit` shares with it: a model's files, cards, a workload."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.reports.texts.tables import quantity, table, visible

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.frameworks.llm.calibrating import Calibration
    from talos_opt.frameworks.llm.graph import Room
    from talos_opt.frameworks.llm.workload import Workload
    from talos_opt.tasks.languages import Setting

NAME = "llm"
_MILLI = 1e-3
#: What a language model has, with the values that stand for "not given".
UNSET: dict[str, Any] = {
    "context": None, "batch": 1, "phase": "decode", "prompt": None, "generate": None,
    "kv_type": "f16", "chunk": None, "buffer": None, "tied": None, "expert_groups": 1,
    "cluster": None, "calibrate": None,
}  # fmt: skip


def add_workload(parser: argparse.ArgumentParser) -> None:
    """Add what a language model is run with."""
    group = parser.add_argument_group(
        "language models", "For FRAMEWORK llm: what the model of the files runs with."
    )
    group.add_argument(
        "--context",
        type=arguments.count,
        metavar="TOKENS",
        help="tokens that each sequence keeps at most: memory is counted for them",
    )
    group.add_argument(
        "--batch", type=arguments.count, default=1, metavar="N", help="sequences (default: 1)"
    )
    group.add_argument(
        "--phase",
        choices=("decode", "prefill", "both"),
        default="decode",
        help="what times are of: a token at the whole context (default), a prompt, or both",
    )
    group.add_argument(
        "--prompt", type=arguments.count, metavar="TOKENS", help="tokens of a prompt"
    )
    group.add_argument(
        "--generate", type=arguments.count, metavar="TOKENS", help="tokens generated after it"
    )
    group.add_argument(
        "--kv-type", default="f16", metavar="TYPE", help="of the KV cache, such as q8_0 "
        "(default: f16)",
    )  # fmt: skip
    group.add_argument(
        "--chunk",
        type=arguments.count,
        metavar="TOKENS",
        help="tokens of a prompt that go through together (default: 512)",
    )
    group.add_argument(
        "--buffer",
        type=arguments.amounts,
        metavar="BYTES",
        help="what the runtime needs for computing on each device in use, such as 512MiB; also of "
        "single devices: gpu0=1GiB,512MiB (default: estimated from the chunk)",
    )
    group.add_argument(
        "--tied",
        choices=("once", "twice"),
        help="a tied embedding is held once, with the head on its device, or by the head again "
        "(default: twice for GGUF, as llama.cpp does)",
    )
    group.add_argument(
        "--expert-groups",
        type=arguments.count,
        default=1,
        metavar="N",
        help="parts that the experts of a layer are split into (default: 1)",
    )
    group.add_argument(
        "--cluster",
        metavar="FILE",
        help="cluster file with the devices, their memory and links; --devices then says what "
        "each is: gpu0=rtx-3090 (default: devices and links as the catalogue has them)",
    )
    group.add_argument(
        "--calibrate",
        metavar="FILE",
        help="file of tokens per second that were measured with known splits: each device's share "
        "of its bandwidth and peak is fitted to them",
    )


def require(args: argparse.Namespace, others: dict[str, Any]) -> None:
    """Refuse what is missing, and what other ways to a graph read.

    Raises
    ------
    InputError
    """
    from talos_opt.core.errors import InputError

    if args.target is None:
        raise InputError("expected the path of a model: a GGUF file, a config.json or a folder")
    for name, unset in others.items():
        if getattr(args, name) != unset:
            raise InputError(f"--{name.replace('_', '-')} is of no use with llm")


def refuse(args: argparse.Namespace) -> None:
    """Refuse what only language models have.

    Raises
    ------
    InputError
    """
    from talos_opt.core.errors import InputError

    given = [name for name, unset in UNSET.items() if getattr(args, name) != unset]
    if given:
        raise InputError(f"--{given[0].replace('_', '-')} is of language models: it needs llm")
    if set(args.reserve) != {""}:
        raise InputError("--reserve of single devices is of language models: it needs llm")


def load_setting(args: argparse.Namespace) -> Setting:
    """Read the model and the devices that the arguments name."""
    from talos_opt.core.errors import InputError
    from talos_opt.frameworks.llm.devices import FORM
    from talos_opt.frameworks.llm.workload import CHUNK
    from talos_opt.tasks.languages import open_setting

    if not args.devices and args.cluster is None:
        raise InputError(f"--devices is missing, expected devices of the form {FORM}")
    return open_setting(
        args.target, args.devices or (), cluster=args.cluster, expert_groups=args.expert_groups,
        measured=args.calibrate, kv_type=args.kv_type, chunk=args.chunk or CHUNK,
    )  # fmt: skip


def room_of(args: argparse.Namespace) -> Room:
    """Return what of each device's memory may be filled."""
    from talos_opt.frameworks.llm.graph import Room

    single = {name: size for name, size in args.reserve.items() if name}
    return Room(args.memory_fraction, args.reserve.get("", 0), single)


def workload_of(args: argparse.Namespace, context: int, batch: int | None = None) -> Workload:
    """Return the workload that the arguments ask for."""
    from talos_opt.core.errors import InputError
    from talos_opt.frameworks.llm.workload import CHUNK, Workload

    for name, phases in (("prompt", ("prefill", "both")), ("generate", ("both",))):
        if getattr(args, name) and args.phase not in phases:
            raise InputError(f"--{name} is of no use with --phase {args.phase}")
    buffers = args.buffer or {}
    return Workload(
        context, batch or args.batch, args.phase, args.prompt or 0, args.generate or 0,
        args.kv_type, args.chunk or CHUNK, buffers.get(""),
        {name: size for name, size in buffers.items() if name},
    )  # fmt: skip


def profile(args: argparse.Namespace) -> int:
    """Write the graph of a language model, print what it holds, and return the exit code."""
    from talos_opt import formats
    from talos_opt.core.errors import InputError
    from talos_opt.formats.source import STREAM

    if args.context is None:
        raise InputError("--context is missing, expected the tokens to make room for")
    setting = load_setting(args)
    load = workload_of(args, args.context)
    problem = setting.problem(load, room_of(args), args.tied)
    if args.output:
        formats.write_problem(problem, args.output)
    if args.json:
        emit_json(json.dumps(figures(setting, problem), indent=1))
    elif args.output != STREAM:
        emit(describe(setting, load, problem, args.output))
    for note in setting.notes:
        complain(f"note: {note}")
    return exits.SOLVED


def figures(setting: Setting, problem: Problem) -> dict[str, Any]:
    """Return what ``--json`` prints; bytes, and times in seconds."""
    from talos_opt.core.units import PER_SECOND

    model, found = setting.model, setting.calibration
    second = PER_SECOND[problem.graph.time_unit]
    return {
        "model": model.name,
        "architecture": model.architecture.name,
        "layers": len(model.architecture.layers),
        "ops": len(problem.ops),
        "parameter_bytes": model.total_bytes,
        "kv_bytes": sum(op.attrs["kv"] for op in problem.ops),
        "devices": {
            device.id: {
                "kind": device.kind,
                "usable_memory": device.usable_memory,
                "sum_of_ops_s": sum(op.time[device.id] for op in problem.ops) / second,
            }
            for device in problem.cluster.devices
        },
        "calibration": found and calibration_figures(found),
    }


def calibration_figures(found: Calibration) -> dict[str, Any]:
    """Return what ``--json`` prints of a calibration."""
    return {
        "efficiencies": {name: pair._asdict() for name, pair in found.found.items()},
        "catalogue": {name: pair._asdict() for name, pair in found.before.items()},
        "predicted_s": list(found.seconds),
        "errors": list(found.errors),
    }


def describe_calibration(found: Calibration) -> str:
    """Return what was fitted, as text."""
    from talos_opt.frameworks.llm.calibrating import LEAST

    def share(now: float | None, before: float | None) -> str:
        if now is None:
            return "not measured"
        bound = ", the most" if now > 1 - 1e-9 else ", the least looked for" if now <= LEAST else ""
        return f"{now:.3g}{bound} (was {before or 0:.3g})"

    rows = [
        (name, share(pair.bandwidth, found.before[name].bandwidth),
         share(pair.compute, found.before[name].compute))
        for name, pair in found.found.items()
    ]  # fmt: skip
    errors = ", ".join(f"{round(100 * error, 1) + 0.0:+.1f}" for error in found.errors[:8])
    more = ", ..." if len(found.errors) > 8 else ""
    return (
        table(("device", "of its bandwidth", "of its peak"), rows, left=(0,))
        + f"\npredicted times are off by {errors}{more} %"
    )


def describe(setting: Setting, load: Workload, problem: Problem, output: str | None) -> str:
    """Return the text that ``profile llm`` prints."""
    from talos_opt.core.units import format_bytes

    model = setting.model
    kept = sum(op.attrs["kv"] for op in problem.ops)
    head = (
        f"{visible(model.name)}: {model.architecture.name}, {len(model.architecture.layers)} "
        f"layers, {len(problem.ops)} ops\n"
        f"{format_bytes(model.total_bytes)} of parameters ({model.total_bytes} bytes), "
        f"{format_bytes(kept)} of KV cache and states for {load.batch} x {load.context} tokens"
    )
    rows = []
    for device in problem.cluster.devices:
        total = sum(op.time[device.id] for op in problem.ops) * _MILLI
        memory = device.usable_memory
        room = "no limit" if memory is None else format_bytes(memory)
        rows.append((device.id, device.kind, room, quantity(total, "ms")))
    parts = [head, table(("device", "kind", "memory", "whole model"), rows, left=(0, 1))]
    if setting.calibration is not None:
        parts.append(describe_calibration(setting.calibration))
    if output:
        parts.append(f"graph: {output}")
    return "\n".join(parts)
