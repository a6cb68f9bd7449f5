"""``talos-opt profile``: from a real model, or traces of one, to a graph that can be solved."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, llm
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.progress import ProgressBar
from talos_opt.cli.signals import Signals
from talos_opt.cli.traces import add_skip, notes
from talos_opt.reports.texts.tables import quantity, table, visible

if TYPE_CHECKING:
    from talos_opt.frameworks.common.profile import Profile

_MILLI = 1e3


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "profile",
        help="measure a model, or read traces of one, and write its graph",
        description="Capture a model, determine what its ops cost on devices of this machine "
        "and of the catalogue, and write the graph with its cluster: what solve needs. With "
        "--from-traces the times are those of profilers' traces, one for each device, and neither "
        "the model nor its framework is needed.",
        epilog="If interrupted, it writes the graph with what has been measured so far.",
        allow_abbrev=False,
    )
    arguments.add_model(parser, optional=True)
    parser.add_argument(
        "--devices",
        type=arguments.listed,
        metavar="DEVICE,DEVICE",
        help="cpu, cuda:0 (in tensorflow gpu:0), or estimate:NAME for one of the catalogue; "
        "several as 4xcpu; another id as gpu0=estimate:a100 (default: cpu). With --from-traces "
        "the id of each trace's device, and what the catalogue calls it: cpu0,gpu0=a100. For llm "
        "what the catalogue calls it and its free memory, 2x24GiB:rtx-3090,cpu, or how fast its "
        "memory is, 36GB:264.4GB/s",
    )
    _add_measuring(parser)
    _add_traces(parser)
    arguments.add_room(parser, share="0.9; llm: 1", single="for llm also")
    parser.add_argument(
        "--memory-rule",
        choices=arguments.MEMORY_RULES,
        help="how the graph counts memory: peak, what is alive at the same time, as frameworks "
        "free tensors after their last readers; static, all weights and outputs together "
        "(default: peak; llm: static)",
    )
    arguments.add_target(
        parser, "file to write the graph to; - writes YAML to standard output, alone"
    )
    parser.add_argument(
        "--trace", metavar="FILE", help="file to write the op times to, as a Chrome trace"
    )
    arguments.add_json(parser, "the figures")
    llm.add_workload(parser)
    arguments.add_log(parser)
    parser.set_defaults(run=run)


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads",
        type=arguments.threads,
        metavar="N",
        help="intra-op threads on the CPU; auto: the number with the shortest time per op "
        "(default: torch's own number; in tensorflow and onnx all cores, divided among the CPU's "
        "devices)",
    )
    parser.add_argument(
        "--processes",
        action="store_true",
        help="CPU devices are to be processes, as pipelines of run have them: links are measured "
        "between processes, and contention of threads is not (torch)",
    )
    limit: dict[str, Any] = {"type": arguments.seconds, "metavar": "SECONDS"}
    parser.add_argument(
        "--time-limit",
        **limit,
        default=120.0,
        help="time for measuring, on all devices together (default: 120)",
    )
    parser.add_argument(  # its older name
        "--max-time",
        **limit,
        dest="time_limit",
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )


def _add_traces(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "from traces",
        "Traces of one model, each from a run on one device: torch.profiler's, TensorFlow's or "
        "those of 'talos-opt trace'. Times are means over the steps that a trace marks.",
    )
    group.add_argument(
        "--from-traces",
        nargs="+",
        metavar="TRACE",
        help="traces to make the graph from, in the place of FRAMEWORK and MODULE:CALLABLE",
    )
    group.add_argument(
        "--flow",
        metavar="ET.json|sequence",
        help="which op reads which: an execution trace of the model (PyTorch's, or Chakra's), or "
        "sequence: each op the one before it (default: what TensorFlow's timelines say)",
    )
    group.add_argument(
        "--process",
        action="append",
        metavar="NAME",
        help="process to read of each trace, in their order; - for one that has ops of one only",
    )
    add_skip(group)
    group.add_argument(
        "--bandwidth",
        type=arguments.bandwidth,
        metavar="RATE",
        help="of copies between the host and other devices, such as 12GB/s (default: from copies "
        "in the traces, else from the catalogue)",
    )
    group.add_argument(
        "--latency",
        type=arguments.seconds,
        metavar="SECONDS",
        help="of such a copy before the first byte (default: likewise)",
    )


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Profile a model, write its graph, print the figures, and return the exit code."""
    from talos_opt import formats
    from talos_opt.cli import files
    from talos_opt.formats.source import STREAM

    _require_source(args)
    files.require_target(args, (*files.SUFFIXES, ".npz"))
    files.require_writable(args.trace, (".json",))
    if args.framework == llm.NAME:
        return llm.profile(args)
    room = (args.memory_fraction or 0.9, args.reserve[""])
    if args.from_traces:
        profile = _from_traces(args).with_room(*room)
    else:
        profile = _measured(args, signals, *room)
    if args.output:
        problem = profile.problem(memory_rule=args.memory_rule or "peak")
        formats.write_problem(problem, args.output)
    if args.trace:
        from talos_opt.formats.chrome_trace import write_schedule_trace
        from talos_opt.frameworks.common.side_by_side import side_by_side

        write_schedule_trace(*side_by_side(profile), args.trace)
    if args.json:
        emit_json(json.dumps(figures(profile), indent=1))
    elif args.output != STREAM:
        emit(describe(profile, args.output))
    said = list(profile.notes)
    for device in profile.devices:
        note = profile.facts.get(f"measured on {device.id}")
        if note:
            said.append(f"{device.id}: {note}")
    for note in said:
        complain(f"note: {note}")
    return exits.INTERRUPTED if signals.interrupted else exits.SOLVED


#: What only one of the two ways to a graph reads, with the values that stand for "not given".
_OF_MODELS: dict[str, object] = {
    "input": None,
    "inputs": None,
    "dim": None,
    "optimized": None,
    "logical_devices": None,
    "threads": None,
    "processes": False,
}
_OF_TRACES: dict[str, object] = {
    "flow": None,
    "process": None,
    "skip_steps": 0,
    "bandwidth": None,
    "latency": None,
}
#: What measures, and what a graph of parts cannot have.
_OF_MEASURING: dict[str, object] = {
    "mode": "inference",
    "time_limit": 120.0,
    "trace": None,
    "memory_rule": None,
}


def _require_source(args: argparse.Namespace) -> None:
    """Refuse arguments that name neither a model nor traces, or both."""
    from talos_opt.core.errors import InputError

    if args.framework == llm.NAME and not args.from_traces:
        llm.require(args, {**_OF_MODELS, **_OF_TRACES, **_OF_MEASURING})
        return
    llm.refuse(args)
    args.devices = args.devices and tuple(dict.fromkeys(args.devices))
    if args.from_traces:
        if args.framework is not None:
            raise InputError(
                f"both a model of {args.framework} and --from-traces are given, expected one"
            )
        for name, unset in _OF_MODELS.items():
            if getattr(args, name) != unset:
                raise InputError(f"--{name.replace('_', '-')} is of no use with --from-traces")
        return
    if args.framework is None or args.target is None:
        raise InputError(
            "expected FRAMEWORK and MODULE:CALLABLE, such as torch ./net.py:make, or "
            "--from-traces with a trace for each device"
        )
    for name, unset in _OF_TRACES.items():
        if getattr(args, name) != unset:
            raise InputError(f"--{name.replace('_', '-')} needs --from-traces")
    if args.devices is None:
        args.devices = ("cpu",)


def _from_traces(args: argparse.Namespace) -> Profile:
    from talos_opt.frameworks.common.traced import profile_traces, read_traces

    traces = read_traces(args.from_traces, flow=args.flow, processes=args.process or ())
    for trace in traces:
        for note in notes(trace, args.skip_steps):
            complain(f"note: {trace.source}: {note}")
    return profile_traces(
        traces,
        flow=args.flow,
        devices=args.devices,
        skip=args.skip_steps,
        bandwidth=args.bandwidth,
        latency_s=args.latency,
    )


def _measured(args: argparse.Namespace, signals: Signals, fraction: float, reserve: int) -> Profile:
    from talos_opt.cli import frameworks
    from talos_opt.tasks.models import profile

    asked = dict(vars(frameworks.model_arguments(args)))
    del asked["map"], asked["repeats"]
    # What a user's own code prints is no part of the answer.
    with ProgressBar() as bar, contextlib.redirect_stdout(sys.stderr):
        return signals.run(
            lambda: profile(
                asked.pop("target"),
                framework=args.framework,
                memory_fraction=fraction,
                reserve=reserve,
                on_progress=bar.report,
                cancel=signals.cancel,
                **asked,
            ),
            bar.draw,
            "what has been measured so far",
        )


def figures(profile: Profile) -> dict[str, Any]:
    """Return what ``--json`` prints; times in seconds, None where nothing was measured."""
    measured = [d for d in profile.devices if not d.estimated]
    devices = {
        device.id: {
            "kind": device.kind,
            "estimated": device.estimated,
            "calibration": device.factor,
            "measured_s": device.whole_s,
            "step_s": device.step_s,
            "sum_of_ops_s": profile.sum_of_ops_s(device.id),
            "threads": device.threads,
            "launch_s": device.launch_s,
            "contention": profile.contention and profile.contention.whole.get(device.id),
        }
        for device in profile.devices
    }
    first = measured[0] if measured else None
    return {
        "ops": len(profile.ops),
        "calibration": first.factor if first else None,
        "measured_s": first.whole_s if first else None,
        "sum_of_ops_s": profile.sum_of_ops_s((first or profile.devices[0]).id),
        "devices": devices,
    }


def describe(profile: Profile, output: str | None) -> str:
    """Return the text that ``profile`` prints."""
    weights = sum(op.weights for op in profile.ops)
    name, count = visible(profile.name), len(profile.ops)
    head = f"{name}: {count} ops, {weights} bytes of weights, {profile.mode}"
    rows = []
    for device in profile.devices:
        total = profile.sum_of_ops_s(device.id) * _MILLI
        if device.estimated:
            rows.append((device.id, device.kind, "estimated", quantity(total, "ms"), "", ""))
            continue
        whole = "" if device.whole_s is None else quantity(device.whole_s, "s")
        threads = "" if device.threads is None else str(device.threads)
        factor = f"{device.factor:.3f}"
        rows.append((device.id, device.kind, whole, quantity(total, "ms"), factor, threads))
    titles = ("device", "kind", "whole model", "sum of ops", "calibration", "threads")
    parts = [head, table(titles, rows, left=(0, 1))]
    if profile.contention is not None:
        parts.append(visible(profile.contention.describe()))
    if output:
        parts.append(f"graph: {output}")
    return "\n".join(parts)
