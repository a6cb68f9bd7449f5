"""Arguments that several commands share, and how their text becomes values."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.cli.onnx_arguments import add_onnx

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem

#: Frameworks whose models can be profiled and run.
FRAMEWORKS = ("torch", "tensorflow", "onnx")
#: The contract's values, spelled out so that ``--help`` need not import numpy with the core.
GRANULARITIES = ("op", "module")
OBJECTIVES = ("toct", "makespan", "bottleneck", "memory", "step")
MEMORY_RULES = ("static", "peak", "pipeline")
STAGES = ("any", "acyclic", "ordered")
PIPELINE_ORDERS = ("gpipe", "1f1b")


def seconds(text: str) -> float:
    """Read a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def share(text: str) -> float:
    """Read a share of at least 0: ``0.5%`` or ``0.005``."""
    bare = text.strip()
    try:
        value = float(bare[:-1]) / 100 if bare.endswith("%") else float(bare)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a share of at least 0, such as 0.5%")
    return value


def fraction(text: str) -> float:
    """Read a share above 0 and at most 1: 0.9, or 90%."""
    value = share(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and at most 1")
    return value


def size(text: str) -> int:
    """Read an amount of bytes: 1073741824, 1GiB."""
    from talos_opt.core import units
    from talos_opt.core.errors import GraphError

    try:
        return units.size(text, "the amount")
    except GraphError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def amounts(text: str) -> dict[str, int]:
    """Read ``1GiB``, or ``gpu0=1GiB,2GiB``: of a device, and of all others (key ``""``)."""
    found: dict[str, int] = {}
    for item in text.split(","):
        name, equals, value = item.rpartition("=")
        if (equals and not name.strip()) or name.strip() in found:
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form DEVICE=BYTES,BYTES")
        found[name.strip()] = size(value)
    return found


def bandwidth(text: str) -> float:
    """Read bytes per second: a number, or text such as ``12GB/s``."""
    from talos_opt.core import units
    from talos_opt.core.errors import GraphError

    try:
        return units.bandwidth(text, "the bandwidth")
    except GraphError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seed(text: str) -> int:
    """Read a seed: a whole number of at least 0."""
    return _whole(text, 0)


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """Read a whole number of at least 0."""
    return _whole(text, 0)


def threads(text: str) -> int | str:
    """Read a number of threads, or ``auto``."""
    return text if text == "auto" else count(text)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not least <= value < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return value


def names(text: str) -> tuple[str, ...]:
    """Read a list of names with commas in between; a name given twice counts once."""
    return tuple(dict.fromkeys(listed(text)))


def listed(text: str) -> tuple[str, ...]:
    """Read a list of names with commas in between, as often as each is given."""
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names such as heft,cpsat")
    return found


def assignments(text: str) -> dict[str, str]:
    """Read NAME=VALUE,NAME=VALUE into a mapping."""
    found: dict[str, str] = {}
    for item in text.split(","):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not (equals and name and value):
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE,NAME=VALUE")
        if name in found:
            raise argparse.ArgumentTypeError(f"{text!r} gives {name!r} twice")
        found[name] = value
    return found


def bundles(text: str) -> dict[str, dict[str, list[Any]]]:
    """Read ``gpu=1,2,4:data,tensor``, of which sizes and modes may be left out; or ``all``."""
    head, colon, modes = text.partition(":")
    kind, equals, sizes = head.partition("=")
    try:
        rule: dict[str, list[Any]] = {}
        if equals:
            rule["sizes"] = [int(size) for size in sizes.split(",")]
        if colon:
            rule["modes"] = list(names(modes))
        if not kind.strip():
            raise ValueError
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form KIND=SIZE,SIZE:MODE,MODE, such as gpu=1,2:data, or all"
        ) from None
    return {kind.strip(): rule}


class Merging(argparse.Action):
    """Join what an option is given each time: ``--map a=0 --map b=1`` is ``--map a=0,b=1``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Add what is new, and refuse a name that is given twice."""
        known: dict[str, str] = getattr(namespace, self.dest) or {}
        for name in values:
            if name in known:
                raise argparse.ArgumentError(self, f"{name!r} is given twice")
        setattr(namespace, self.dest, {**known, **values})


def require_devices(named: Iterable[str], known: Sequence[str]) -> None:
    """Refuse names that no device has.

    Raises
    ------
    InputError
    """
    from talos_opt.core.errors import InputError

    for name in named:
        if name not in known:
            raise InputError(
                f"--map names the unknown device {name!r}, expected one of {', '.join(known)}"
            )


def option(text: str) -> tuple[str, str, Any]:
    """Read SOLVER.OPTION=VALUE into its three parts."""
    target, equals, value = text.partition("=")
    solver, dot, name = target.partition(".")
    if not (equals and dot and solver and name):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form SOLVER.OPTION=VALUE")
    return solver, name, _scalar(value)


def _scalar(text: str) -> Any:
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def options_by_solver(given: list[tuple[str, str, Any]] | None) -> dict[str, dict[str, Any]]:
    """Gather the ``--option`` arguments by solver; of two for one option the last counts."""
    gathered: dict[str, dict[str, Any]] = {}
    for solver, name, value in given or ():
        gathered.setdefault(solver, {})[name] = value
    return gathered


def add_model(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add the arguments that say which model to capture, and with what.

    Parameters
    ----------
    parser : ArgumentParser
    optional : bool
        Whether the model may be left out, as there is another way to give one.
    """
    several: dict[str, Any] = {"nargs": "?"} if optional else {}
    parser.add_argument(
        "framework",
        metavar="FRAMEWORK",
        choices=(*FRAMEWORKS, "llm") if optional else FRAMEWORKS,
        help=" or ".join(FRAMEWORKS) + (", or llm for a model's files" if optional else ""),
        **several,
    )
    parser.add_argument(
        "target",
        **several,
        metavar="MODULE:CALLABLE",
        help="what makes the model, such as torchvision.models:resnet50 or ./net.py:make; for "
        "tensorflow also the folder of a SavedModel or a .keras file; for onnx the .onnx file"
        + ("; for llm a GGUF file, a config.json, or a folder" if optional else ""),
    )
    parser.add_argument(
        "--input",
        action="append",
        metavar="[NAME=]SHAPE[:DTYPE[:LOW-HIGH]]",
        help="example input, such as 8x3x224x224 or input_ids=1x128:int64:0-30521 (both ends "
        "included); once for each input of the model, and the same for profile and run. A name "
        "gives it by keyword; batch.x is x in a dict called batch, states.0 the first in a tuple",
    )
    parser.add_argument(
        "--inputs",
        metavar="FILE|MODULE:CALLABLE",
        help="all inputs instead: a .pt file of torch.save, or a callable; a tuple is given by "
        "position, a dict by name, a pair of both as both (tensorflow and onnx: a .npz file, or a "
        "callable)",
    )
    parser.add_argument(
        "--mode",
        choices=("inference", "training"),
        default="inference",
        help="a forward pass (default), or a step: forward, backward and gradient descent",
    )
    parser.add_argument(
        "--logical-devices",
        type=count,
        metavar="N",
        help="split the CPU into N devices, cpu0, cpu1, ... (tensorflow)",
    )
    add_onnx(parser)
    add_seed(parser, " of the inputs' values and of random weights")
    parser.set_defaults(seed=0)


def add_seed(parser: argparse.ArgumentParser, of: str = "") -> None:
    """Add the random seed."""
    parser.add_argument("--seed", type=seed, metavar="N", help=f"random seed{of} (default: 0)")


def add_dask(parser: Any, do: str) -> None:
    """Add where to find workers that do something."""
    parser.add_argument(
        "--dask",
        metavar="ADDRESS|local|FILE",
        help=f"{do} on Dask: address of a scheduler, its scheduler file, or a cluster of threads "
        "in this process",
    )


def add_log(parser: argparse.ArgumentParser) -> None:
    """Add where to write what happens; `talos_opt.cli.main` opens the file."""
    parser.add_argument(
        "--log-file",
        metavar="FILE",
        help="append what happens to this file: start, each improvement, notes, errors and end",
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        help="of the log: lines for a person (default), or one JSON object a line",
    )


def add_graph(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add the graph file, or one and more of them."""
    parser.add_argument(
        "graphs" if several else "graph",
        metavar="GRAPH",
        nargs="+" if several else None,
        help="graph file; - reads standard input",
    )


def add_schedule(parser: argparse.ArgumentParser, *, several: str = "") -> None:
    """Add the schedule file; or several, what becomes of which `several` says."""
    parser.add_argument(
        "schedules" if several else "schedule",
        metavar="SCHEDULE",
        nargs=several or None,
        help="talos-schedule/1 file, or its columns (.npz)",
    )


def add_graph_and_schedule(parser: argparse.ArgumentParser) -> None:
    """Add both where the graph was once given by ``--graph``: see `schedules.graph_of`."""
    parser.add_argument(
        "graph", metavar="GRAPH", nargs="?", help="graph file; - reads standard input"
    )
    add_schedule(parser)
    parser.add_argument("--graph", dest="old_graph", metavar="GRAPH", help=argparse.SUPPRESS)


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add the cluster file."""
    parser.add_argument(
        "--cluster",
        metavar="FILE",
        help="cluster file to use instead of the one that the graph names",
    )


def add_problem(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that change the problem which a graph file states."""
    add_cluster(parser)
    parser.add_argument(
        "--objective",
        choices=OBJECTIVES,
        help="what to minimise: toct, the weighted sum of the models' completion times (default); "
        "makespan, the time until the last model is done; bottleneck, the time per sample when "
        "pipelined; memory, the largest share of a device's memory that it needs; step, the time "
        "of a step of micro-batches, which --pipeline describes",
    )
    parser.add_argument(
        "--memory-rule",
        choices=MEMORY_RULES,
        help="how memory is counted: static, all weights and outputs together; peak, what is alive "
        "at the same time; pipeline, what a step of micro-batches holds (default: what the graph "
        "says)",
    )
    add_stages(parser)
    parser.add_argument(
        "--pipeline",
        type=pipelining,
        metavar="ORDER:COUNT",
        help="how a step is run: gpipe:8, eight micro-batches, all forward blocks first; 1f1b:8, a "
        "forward and a backward block in turn (default: what the graph says)",
    )


def add_stages(parser: argparse.ArgumentParser) -> None:
    """Add the rule for stages."""
    parser.add_argument(
        "--stages",
        choices=STAGES,
        help="whether the devices that a model is split over form a pipeline: any, not "
        "necessarily; acyclic, a device that was left is not entered again; ordered, also in the "
        "cluster's order of devices (default: what the graph says)",
    )
    parser.add_argument(
        "--use-all",
        action="store_true",
        default=None,
        help="every device has at least one forward op",
    )


def pipelining(text: str) -> dict[str, Any]:
    """Read how a step is run: ``1f1b:8``."""
    order, colon, number = text.strip().partition(":")
    if order not in PIPELINE_ORDERS or not colon:
        expected = " or ".join(f"{name}:8" for name in PIPELINE_ORDERS)
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an order of blocks and a number, expected {expected}"
        )
    return {"microbatches": count(number), "schedule": order}


def add_bundles(parser: argparse.ArgumentParser) -> None:
    """Add which devices may act as one."""
    parser.add_argument(
        "--bundles",
        type=bundles,
        action=Merging,
        metavar="KIND=SIZE,SIZE:MODE,MODE",
        help="equal devices that may act as one, such as gpu=1,2,4:data,tensor; all stands for all "
        "kinds, powers of two and both modes; may be repeated (default: what the cluster says)",
    )


def bundles_of(args: argparse.Namespace) -> Any:
    """Return what the command line says of bundles, None: nothing."""
    given = getattr(args, "bundles", None)
    return "all" if given == {"all": {}} else given


def with_stages(problem: Problem, args: argparse.Namespace) -> Problem:
    """Return the problem with the stages and micro-batches that the command line asks for."""
    pipeline = getattr(args, "pipeline", None)
    if pipeline is not None:
        problem = problem.with_pipeline(pipeline)
    rule = getattr(args, "stages", None) or problem.stages.rule
    used = problem.stages.use_all or bool(getattr(args, "use_all", None))
    return problem.with_stages({"rule": rule, "use_all": used})


def add_estimates(parser: argparse.ArgumentParser, flag: str) -> None:
    """Add devices of the catalogue, and what their estimates go by."""
    parser.add_argument(
        flag,
        type=names,
        default=(),
        metavar="DEVICE,DEVICE",
        help="devices of the catalogue to put beside those of the graph, such as a100 or 2xl4, "
        "with times estimated from the ops' FLOPs and bytes",
    )
    parser.add_argument(
        "--measured",
        type=assignments,
        metavar="NAME=DEVICE",
        help="what the catalogue calls a device that the graph's times were measured on: estimates "
        "for one of its kind are mended by them",
    )
    parser.add_argument(
        "--dtype",
        metavar="TYPE",
        help="what the model computes with (default: what most of its weights are, or fp32 where "
        "the graph does not say)",
    )


def add_room(parser: argparse.ArgumentParser, *, share: str = "1", single: str = "also") -> None:
    """Add what of the devices' memory may be filled.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    share : str
        The share where none is given, in words.
    single : str
        Where what is left free can differ by device, in words.
    """
    parser.add_argument(
        "--memory-fraction",
        type=fraction,
        metavar="SHARE",
        help=f"share of each device's memory that ops may fill (default: {share})",
    )
    parser.add_argument(
        "--reserve",
        type=amounts,
        default={"": 0},
        metavar="BYTES",
        help="memory of each device to leave free beside that, such as 1GiB (default: 0); "
        f"{single} of single devices: gpu0=2GiB,1GiB",
    )


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add the format of the graph file."""
    parser.add_argument(
        "--from",
        dest="source_format",
        metavar="FORMAT",
        help="format of the graph: talos, npz, stg, wfformat, chakra, fjsp or msr (default: from "
        "its suffix and contents)",
    )


def add_solver(parser: argparse.ArgumentParser) -> None:
    """Add the solver."""
    parser.add_argument(
        "--solver", metavar="NAME", help="solver (default: auto; talos-opt solvers lists all)"
    )


def add_limits(parser: argparse.ArgumentParser, *, each: str = "") -> None:
    """Add the arguments that bound a solve."""
    parser.add_argument(
        "--time-limit",
        type=seconds,
        metavar="SECONDS",
        help=f"time for {each or 'the whole command after the file is read'} (default: 10)",
    )
    add_seed(parser)
    parser.add_argument(
        "--workers", type=count, metavar="N", help="threads to use (default: all cores)"
    )
    parser.add_argument(
        "--option",
        type=option,
        action="append",
        metavar="SOLVER.OPTION=VALUE",
        help="set an option of a solver, such as talos.batch=4; may be repeated",
    )


def add_worth(parser: argparse.ArgumentParser) -> None:
    """Add what fewer devices and transfers are worth."""
    parser.add_argument(
        "--worth",
        type=share,
        metavar="SHARE",
        help="accept a value this much above the best found, such as 0.5%%, if that takes fewer "
        "devices or transfers (default: 0)",
    )


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Add where the answer goes, of which the file holds what ``--json`` prints."""
    add_target(parser, f"file to write {what} to; - is the same as --json")
    add_json(parser, what)


def add_target(parser: argparse.ArgumentParser, text: str, *, required: bool = False) -> None:
    """Add the file to write."""
    parser.add_argument("-o", "--output", metavar="FILE", required=required, help=text)


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Add that programs read the answer."""
    parser.add_argument(
        "--json",
        action="store_true",
        help=f"print {what} as JSON on standard output, and nothing else there",
    )
