"""``talos-opt export``: a schedule in the form that another tool takes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, export_kubernetes
from talos_opt.cli.output import emit_written
from talos_opt.cli.signals import Signals
from talos_opt.core import plugins

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule


@dataclass(frozen=True)
class Exporter:
    """A form that schedules can be exported to.

    Parameters
    ----------
    summary : str
        For the help.
    suffixes : tuple of str
        Of the files.
    write : callable
        Writes problem and schedule as the arguments ask for; returns what there is to count.
    of_model : bool
        Whether it is written from the model's file, too.
    names : bool
        Whether the other tool has names for devices, which ``--map`` gives.
    jobs : bool
        Whether it is told what Jobs run.
    """

    summary: str
    suffixes: tuple[str, ...]
    write: Callable[[Problem, Schedule, argparse.Namespace], dict[str, Any]]
    of_model: bool = False
    names: bool = False
    jobs: bool = False


def _device_map(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> dict[str, int]:
    from talos_opt.formats.device_map import device_map_of, write_device_map

    names = {d: int(t) if t.isdecimal() else t for d, t in (args.map or {}).items()}
    arguments.require_devices(names, problem.device_ids)
    found = device_map_of(problem, schedule, names)
    write_device_map(found, args.output)
    return {"modules": len(found), "devices": len(set(found.values()))}


def _device_scopes(
    problem: Problem, schedule: Schedule, args: argparse.Namespace
) -> dict[str, int]:
    from talos_opt.formats.device_scopes import device_scopes_of, write_device_scopes

    names = args.map or {}
    arguments.require_devices(names, problem.device_ids)
    found = device_scopes_of(problem, schedule, names)
    write_device_scopes(found, args.output)
    return {"nodes": len(schedule.device), "devices": len(set(schedule.device.tolist()))}


def _vllm(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> dict[str, int]:
    from talos_opt.formats.stage_split import layer_split, write_vllm

    split = layer_split(problem, schedule)
    write_vllm(split, args.output)
    return {"modules": sum(split.counts), "devices": len(split.devices)}


def _deepspeed(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> dict[str, int]:
    from talos_opt.formats.stage_split import layer_split, write_deepspeed

    split = layer_split(problem, schedule)
    write_deepspeed(split, args.output)
    return {"modules": sum(split.counts), "devices": len(split.devices)}


def _split_points(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> dict[str, int]:
    from talos_opt.formats.stage_split import split_points, write_split_points

    begins, devices = split_points(problem, schedule)
    write_split_points(begins, devices, args.output)
    return {"modules": len(begins), "devices": len(devices)}


def _annotations(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> dict[str, Any]:
    from talos_opt.frameworks.onnx import exporting

    names = args.map or {}
    arguments.require_devices(names, problem.device_ids)
    captured = exporting.model_of(problem, args.model)
    proto, settings = exporting.annotated(problem, schedule, captured, names)
    exporting.write_model(proto, captured, args.output)
    return {"nodes": len(schedule.device), exporting.SETTINGS: settings}


def _stages(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> dict[str, Any]:
    from talos_opt.frameworks.onnx import exporting

    captured = exporting.model_of(problem, args.model)
    proto, devices = exporting.staged(problem, schedule, captured)
    exporting.write_model(proto, captured, args.output)
    return {"nodes": len(schedule.device), "stages": len(devices)}


def _affinities(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> dict[str, Any]:
    from talos_opt.formats.target import write_json
    from talos_opt.frameworks.onnx import exporting, openvino

    names = args.map or {}
    arguments.require_devices(names, problem.device_ids)
    captured = exporting.model_of(problem, args.model)
    found = openvino.affinities(problem, schedule, captured, names)
    write_json(found, args.output)
    return {"nodes": len(schedule.device), "devices": len(set(found.values()))}


def _split(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> dict[str, Any]:
    from talos_opt.frameworks.onnx import exporting

    captured = exporting.model_of(problem, args.model, sized=True)
    return dict(exporting.write_split(problem, schedule, captured, args.output))


def _regrouped(problem: Problem, schedule: Schedule) -> Schedule:
    """Return the schedule with layers in a row, and say what becomes of its value."""
    from talos_opt.analysis.regrouping import regrouped
    from talos_opt.cli.output import complain
    from talos_opt.core.metrics import objective_value
    from talos_opt.core.shares import value_unit
    from talos_opt.core.simulator import simulate
    from talos_opt.reports.texts.tables import quantity

    device = regrouped(problem, schedule.device)
    if (device == schedule.device).all():
        return schedule
    found = simulate(problem, device, range(len(device)))
    unit = value_unit(problem)
    old, new = (quantity(objective_value(problem, s), unit) for s in (schedule, found))
    complain(f"note: with layers in a row, {problem.objective.in_full} is {new}; it was {old}")
    return found


def _llama_cpp(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> dict[str, int]:
    from talos_opt.formats.llama_cpp import device_names, flags_of, write_flags

    names = args.map or {}
    arguments.require_devices(names, problem.device_ids)
    if args.regroup:
        schedule = _regrouped(problem, schedule)
    flags = flags_of(problem, schedule, names)
    called = zip(problem.device_ids, device_names(problem, names), strict=True)
    write_flags(flags, called, args.output)
    return {"layers": flags.layers, "on_gpus": flags.gpu_layers, "patterns": len(flags.overrides)}


def _layer_ranges(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> dict[str, int]:
    from talos_opt.formats.layer_ranges import layer_ranges, write_layer_ranges

    found = layer_ranges(problem, schedule)
    write_layer_ranges(found, args.output)
    return {"layers": found["layers"], "devices": len(found["shards"])}


#: All forms, by the name that ``--to`` takes.
EXPORTERS: dict[str, Exporter] = {
    "device-map": Exporter(
        "the device_map of Hugging Face accelerate and transformers, as JSON",
        (".json",),
        _device_map,
        names=True,
    ),
    "tf-device-scopes": Exporter(
        "the device of each node of a TensorFlow graph, as JSON",
        (".json",),
        _device_scopes,
        names=True,
    ),
    "torch-pipelining": Exporter(
        "the modules that stages begin with, for torch.distributed.pipelining, as JSON",
        (".json",),
        _split_points,
    ),
    "ort-annotations": Exporter(
        "a copy of an ONNX model whose nodes say where they go, for ONNX Runtime's option "
        "session.layer_assignment_settings",
        (".onnx",),
        _annotations,
        of_model=True,
        names=True,
    ),
    "onnx-stages": Exporter(
        "a copy of an ONNX model with a device configuration and the pipeline stage of each node",
        (".onnx",),
        _stages,
        of_model=True,
    ),
    "openvino-affinities": Exporter(
        "OpenVINO's device of each node of an ONNX model, as JSON",
        (".json",),
        _affinities,
        of_model=True,
        names=True,
    ),
    "onnx-split": Exporter(
        "the pieces of an ONNX model as files, in a new folder with a manifest",
        (),
        _split,
        of_model=True,
    ),
    "llama-cpp": Exporter(
        "the flags of llama.cpp: -ngl, -ts, --n-cpu-moe, -ot",
        (".txt",),
        _llama_cpp,
        names=True,
    ),
    "layer-ranges": Exporter(
        "the layers of each node, as JSON, for exo and others", (".json",), _layer_ranges
    ),
    "kubernetes": Exporter(
        "a Job for each model with requests from the plan, and a ConfigMap with its schedule",
        (".yaml", ".yml", ".json"),
        export_kubernetes.write,
        names=True,
        jobs=True,
    ),
    "vllm": Exporter("the layers of each stage, as vLLM's environment variable", (".env",), _vllm),
    "deepspeed": Exporter(
        "the boundaries of stages, for DeepSpeed's PipelineModule, as JSON", (".json",), _deepspeed
    ),
}


class _Forms:
    """Names of all forms; those of other packages are looked for when another one is asked for."""

    def __contains__(self, name: object) -> bool:
        return name in EXPORTERS or name in list(self)

    def __iter__(self) -> Iterator[str]:
        yield from EXPORTERS
        yield from plugins.without(plugins.EXPORTS, EXPORTERS)


def _added(name: str) -> Exporter:
    """Return the form that another package adds."""
    from talos_opt.core.errors import ConfigError

    point = plugins.added(plugins.EXPORTS)[name]
    found = plugins.load(point, ("summary", "suffixes", "write"))
    if not (isinstance(found.suffixes, tuple) and all(isinstance(s, str) for s in found.suffixes)):
        raise ConfigError(
            f"{plugins.whose(point)} has the suffixes {found.suffixes!r}, expected a tuple such "
            "as ('.mine',), or () for any"
        )

    def write(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> dict[str, Any]:
        names = args.map or {}
        arguments.require_devices(names, problem.device_ids)
        written = plugins.call(point, found.write, problem, schedule, args.output, names)
        if not (written is None or isinstance(written, Mapping)):
            raise ConfigError(
                f"{plugins.whose(point)} returns {written!r}, expected what there is to count, "
                "such as {'ops': 12}"
            )
        return dict(written or {})

    return Exporter(str(found.summary), found.suffixes, write, names=True)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    forms = "; ".join(f"{name}, {item.summary}" for name, item in EXPORTERS.items())
    parser = commands.add_parser(
        "export",
        help="write a schedule in the form that another tool takes",
        description="Write the placement of a schedule in the form that another tool takes.",
        epilog=f"Forms: {forms}.",
        allow_abbrev=False,
    )
    arguments.add_graph_and_schedule(parser)
    parser.add_argument(
        "--to",
        dest="form",
        required=True,
        choices=_Forms(),
        metavar=f"{{{','.join(EXPORTERS)}}}",
        help="form to write",
    )
    arguments.add_target(parser, "file to write; - writes to standard output", required=True)
    arguments.add_json(parser, "what was written")
    parser.add_argument(
        "--map",
        type=arguments.assignments,
        action=arguments.Merging,
        metavar="DEVICE=NAME,...",
        help="what the other tool calls a device. In a device-map such as gpu0=1,host=cpu "
        "(default: N for gpuN, cpu and disk for devices of that kind); in tf-device-scopes such "
        "as gpu0=/device:GPU:1 (default: /device:GPU:N for gpuN, /device:CPU:0 and on for CPUs); "
        "in llama-cpp such as rtx-3090=CUDA1 (default: CUDA0 and on for GPUs in their order, CPU); "
        "in ort-annotations such as gpu0=cuda, openvino-affinities gpu0=GPU.1 (default: by kind); "
        "in kubernetes the node, such as gpu0=node1 (default: any)",
    )
    parser.add_argument(
        "--model",
        metavar="FILE",
        help="file of the model, as it was given to profile: for the forms of ONNX",
    )
    parser.add_argument(
        "--regroup",
        action="store_true",
        help="exchange the placements of layers that are alike, so that each device has its layers "
        "in a row (llama-cpp)",
    )
    export_kubernetes.add_arguments(parser)
    arguments.add_cluster(parser)
    arguments.add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Export a schedule and return the exit code."""
    from talos_opt.cli import files, schedules
    from talos_opt.core.errors import InputError

    exporter = EXPORTERS.get(args.form) or _added(args.form)
    if args.map is not None and not exporter.names:
        raise InputError(f"--map is of no use for {args.form}")
    if not exporter.jobs:
        export_kubernetes.refuse(args)
    _require_model(args, exporter)
    if args.regroup and args.form != "llama-cpp":
        raise InputError(f"--regroup is of layers for llama-cpp, not for {args.form}")
    files.require_target(args, exporter.suffixes)
    graph = schedules.graph_of(args)
    if graph is None:
        raise InputError(f"one file is given, {args.schedule}, expected GRAPH SCHEDULE")
    (file,) = schedules.open_schedules([args.schedule])
    problem = schedules.read_graph(args, graph, file)
    schedules.refuse_bundles(problem, file, "export")
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    written = exporter.write(problem, schedule, args)
    counts = {what: count for what, count in written.items() if isinstance(count, int)}
    texts = [f"{what}: {text}" for what, text in written.items() if what not in counts]
    listed = ", ".join(f"{n} {what[:-1] if n == 1 else what}" for what, n in counts.items())
    emit_written(args, written, "\n".join([f"{args.output}: {listed}", *texts]))
    return exits.SOLVED


def _require_model(args: argparse.Namespace, exporter: Exporter) -> None:
    """Refuse a form that is written from a model without one, and a model where none is read."""
    from talos_opt.cli import frameworks
    from talos_opt.core.errors import InputError
    from talos_opt.formats.source import STREAM

    if not exporter.of_model:
        if args.model is not None:
            raise InputError(f"--model is of no use for {args.form}")
        return
    if args.model is None:
        raise InputError(f"{args.form} needs the model: --model net.onnx")
    if args.output == STREAM:
        raise InputError("- is standard output, expected a file or folder to write")
    frameworks.require_libraries("onnx")
