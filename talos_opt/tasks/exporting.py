"""`talos_opt.export`: a schedule in the form that another tool takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from talos_opt.core import plugins
from talos_opt.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule


#: How Jobs may ask for GPUs: `formats.kubernetes.Shares`.
SHARES = ("plain", "kubeshare", "hami")


@dataclass(frozen=True)
class Wanted:
    """What an export is asked for beside a schedule; `export` says what each is."""

    target: str
    names: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    regroup: bool = False
    image: str | None = None
    run: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shares: str = "plain"
    #: Filled by the export: what a user should know.
    notes: list[str] = field(default_factory=list)


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
        Writes problem and schedule as it is asked to; returns what there is to count.
    of_model : bool
        Whether it is written from the model's file, too.
    names : bool
        Whether the other tool has names for devices.
    jobs : bool
        Whether it is told what Jobs run.
    """

    summary: str
    suffixes: tuple[str, ...]
    write: Callable[[Problem, Schedule, Wanted], Mapping[str, Any]]
    of_model: bool = False
    names: bool = False
    jobs: bool = False


@dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    facts : dict
        Counts by what is counted, and texts by their names.
    notes : tuple of str
        What a user should know.
    """

    facts: dict[str, Any]
    notes: tuple[str, ...] = ()


def export(
    problem: Problem,
    schedule: Schedule,
    form: str,
    target: str | os.PathLike[str],
    *,
    names: Mapping[str, str] | None = None,
    model: str | os.PathLike[str] | None = None,
    regroup: bool = False,
    image: str | None = None,
    run: Mapping[str, Sequence[str]] | None = None,
    shares: str = "plain",
) -> Exported:
    """Write a schedule in the form that another tool takes: ``talos-opt export``.

    Parameters
    ----------
    problem : Problem
        In which each device is on its own.
    schedule : Schedule
    form : str
        One of `export_forms`, such as ``device-map`` or ``kubernetes``.
    target : str or path
        ``-``: standard output.
    names : mapping of str to str, optional
        What the other tool calls a device; docs/cli.md says what it is called otherwise.
    model : path, optional
        File of the model, for the forms of ONNX.
    regroup : bool
        For ``llama-cpp``: exchange the placements of layers that are alike, so that each device has
        its layers in a row.
    image : str, optional
        For ``kubernetes``: the container image that Jobs run.
    run : mapping of str to sequence of str, optional
        For ``kubernetes``: what ``talos-opt run`` takes, by model.
    shares : {'plain', 'kubeshare', 'hami'}
        For ``kubernetes``: how Jobs ask for GPUs.

    Returns
    -------
    Exported

    Raises
    ------
    InputError
        If the form does not exist or cannot say what the schedule does, a device is unknown, or the
        target cannot be written.
    """
    from talos_opt.core.given import require_schedule  # numpy, for which --help need not wait

    require_schedule(problem, schedule)
    exporter = exporter_of(form)
    refuse(form, exporter, names=names, model=model, regroup=regroup, image=image, run=run)
    for name in names or ():
        if name not in problem.device_ids:
            raise InputError(
                f"--map names the unknown device {name!r}, expected one of "
                f"{', '.join(problem.device_ids)}"
            )
        if not isinstance((names or {})[name], str):
            raise InputError(f"{name} is called {(names or {})[name]!r}, expected a text")
    if shares not in SHARES or (shares != SHARES[0] and not exporter.jobs):
        known = ", ".join(SHARES if exporter.jobs else SHARES[:1])
        raise InputError(f"shares is {shares!r}, expected for {form}: {known}")
    wanted = Wanted(
        os.fspath(target), names or {}, None if model is None else os.fspath(model), regroup,
        image, run or {}, shares,
    )  # fmt: skip
    return Exported(dict(exporter.write(problem, schedule, wanted)), tuple(wanted.notes))


def refuse(
    form: str,
    exporter: Exporter,
    *,
    names: object = None,
    model: object = None,
    regroup: bool = False,
    image: object = None,
    run: object = None,
) -> None:
    """Refuse what a form has no use for, and a form of a model without one.

    Raises
    ------
    InputError
    """
    if names is not None and not exporter.names:
        raise InputError(f"--map is of no use for {form}")
    for flag, value in (("image", image), ("run", run)):
        if value is not None and not exporter.jobs:
            raise InputError(f"--{flag} is of what Jobs run, not of {form}")
    if model is not None and not exporter.of_model:
        raise InputError(f"--model is of no use for {form}")
    if model is None and exporter.of_model:
        raise InputError(f"{form} needs the model: --model net.onnx")
    if regroup and form != "llama-cpp":
        raise InputError(f"--regroup is of layers for llama-cpp, not for {form}")


def export_forms() -> dict[str, str]:
    """Return what each form of `export` is, by name, those of other packages included."""
    known = {name: item.summary for name, item in EXPORTERS.items()}
    return known | {name: str(exporter_of(name).summary) for name in _added_names()}


def _added_names() -> Iterator[str]:
    yield from plugins.without(plugins.EXPORTS, EXPORTERS)


def exporter_of(form: str) -> Exporter:
    """Return a form.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if form in EXPORTERS:
        return EXPORTERS[form]
    if form not in plugins.added(plugins.EXPORTS):
        raise InputError(
            f"form is {form!r}, expected one of {', '.join([*EXPORTERS, *_added_names()])}"
        )
    return _added(form)


def _added(name: str) -> Exporter:
    """Return the form that another package adds."""
    point = plugins.added(plugins.EXPORTS)[name]
    found = plugins.load(point, ("summary", "suffixes", "write"))
    if not (isinstance(found.suffixes, tuple) and all(isinstance(s, str) for s in found.suffixes)):
        raise ConfigError(
            f"{plugins.whose(point)} has the suffixes {found.suffixes!r}, expected a tuple such "
            "as ('.mine',), or () for any"
        )

    def write(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, Any]:
        written = plugins.call(point, found.write, problem, schedule, wanted.target, wanted.names)
        if not (written is None or isinstance(written, Mapping)):
            raise ConfigError(
                f"{plugins.whose(point)} returns {written!r}, expected what there is to count, "
                "such as {'ops': 12}"
            )
        return dict(written or {})

    return Exporter(str(found.summary), found.suffixes, write, names=True)


def _device_map(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, int]:
    from talos_opt.formats.device_map import device_map_of, write_device_map

    names = {d: int(t) if t.isdecimal() else t for d, t in wanted.names.items()}
    found = device_map_of(problem, schedule, names)
    write_device_map(found, wanted.target)
    return {"modules": len(found), "devices": len(set(found.values()))}


def _device_scopes(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, int]:
    from talos_opt.formats.device_scopes import device_scopes_of, write_device_scopes

    names = wanted.names
    found = device_scopes_of(problem, schedule, names)
    write_device_scopes(found, wanted.target)
    return {"nodes": len(schedule.device), "devices": len(set(schedule.device.tolist()))}


def _vllm(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, int]:
    from talos_opt.formats.stage_split import layer_split, write_vllm

    split = layer_split(problem, schedule)
    write_vllm(split, wanted.target)
    return {"modules": sum(split.counts), "devices": len(split.devices)}


def _deepspeed(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, int]:
    from talos_opt.formats.stage_split import layer_split, write_deepspeed

    split = layer_split(problem, schedule)
    write_deepspeed(split, wanted.target)
    return {"modules": sum(split.counts), "devices": len(split.devices)}


def _split_points(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, int]:
    from talos_opt.formats.stage_split import split_points, write_split_points

    begins, devices = split_points(problem, schedule)
    write_split_points(begins, devices, wanted.target)
    return {"modules": len(begins), "devices": len(devices)}


def _annotations(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, Any]:
    from talos_opt.frameworks.onnx import exporting

    names = wanted.names
    captured = exporting.model_of(problem, wanted.model or "")
    proto, settings = exporting.annotated(problem, schedule, captured, names)
    exporting.write_model(proto, captured, wanted.target)
    return {"nodes": len(schedule.device), exporting.SETTINGS: settings}


def _stages(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, Any]:
    from talos_opt.frameworks.onnx import exporting

    captured = exporting.model_of(problem, wanted.model or "")
    proto, devices = exporting.staged(problem, schedule, captured)
    exporting.write_model(proto, captured, wanted.target)
    return {"nodes": len(schedule.device), "stages": len(devices)}


def _affinities(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, Any]:
    from talos_opt.formats.target import write_json
    from talos_opt.frameworks.onnx import exporting, openvino

    names = wanted.names
    captured = exporting.model_of(problem, wanted.model or "")
    found = openvino.affinities(problem, schedule, captured, names)
    write_json(found, wanted.target)
    return {"nodes": len(schedule.device), "devices": len(set(found.values()))}


def _split(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, Any]:
    from talos_opt.frameworks.onnx import exporting

    captured = exporting.model_of(problem, wanted.model or "", sized=True)
    return dict(exporting.write_split(problem, schedule, captured, wanted.target))


def _regrouped(problem: Problem, schedule: Schedule, notes: list[str]) -> Schedule:
    """Return the schedule with layers in a row, and note what becomes of its value."""
    from talos_opt.analysis.regrouping import regrouped
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
    notes.append(f"with layers in a row, {problem.objective.in_full} is {new}; it was {old}")
    return found


def _llama_cpp(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, int]:
    from talos_opt.formats.llama_cpp import device_names, flags_of, write_flags

    names = wanted.names
    if wanted.regroup:
        schedule = _regrouped(problem, schedule, wanted.notes)
    flags = flags_of(problem, schedule, names)
    called = zip(problem.device_ids, device_names(problem, names), strict=True)
    write_flags(flags, called, wanted.target)
    return {"layers": flags.layers, "on_gpus": flags.gpu_layers, "patterns": len(flags.overrides)}


def _layer_ranges(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, int]:
    from talos_opt.formats.layer_ranges import layer_ranges, write_layer_ranges

    found = layer_ranges(problem, schedule)
    write_layer_ranges(found, wanted.target)
    return {"layers": found["layers"], "devices": len(found["shards"])}


def _kubernetes(problem: Problem, schedule: Schedule, wanted: Wanted) -> dict[str, Any]:
    from talos_opt.formats.kubernetes import Settings, Shares, manifests, write_manifests

    if wanted.image is None:
        raise InputError("kubernetes needs the image that Jobs run: --image registry/models:1")
    settings = Settings(wanted.image, wanted.run, Shares(wanted.shares), wanted.names)
    found = manifests(problem, schedule, settings)
    write_manifests(found, wanted.target)
    wanted.notes.extend(found.notes)
    counts = {f"{kind}s": found.count(kind) for kind in ("ConfigMap", "Job", "SharePod")}
    return {what: count for what, count in counts.items() if count}


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
        _kubernetes,
        names=True,
        jobs=True,
    ),
    "vllm": Exporter("the layers of each stage, as vLLM's environment variable", (".env",), _vllm),
    "deepspeed": Exporter(
        "the boundaries of stages, for DeepSpeed's PipelineModule, as JSON", (".json",), _deepspeed
    ),
}
