"""``talos-opt fit``: the largest context or batch of a language model that fits its devices."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, llm
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.progress import ProgressBar
from talos_opt.cli.signals import Signals

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.result import Result
    from talos_opt.frameworks.llm.fitting import Answer, Largest
    from talos_opt.tasks.languages import Setting

#: Where neither the model nor the user limits it.
_MOST_TOKENS, _MOST_SEQUENCES = 2**20, 4096
#: Types of a KV cache to suggest, the largest first.
_SMALLER = ("q8_0", "q4_0")


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "fit",
        help="find the largest context or batch of a language model that fits",
        description="Find the largest context, or batch, of a language model that fits devices, "
        "with a placement of it and the proof that no more does.",
        epilog="If interrupted, it writes the largest that has been found so far.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "target", metavar="PATH", help="a GGUF file, a config.json, an index, or a folder"
    )
    parser.add_argument(
        "--devices",
        type=arguments.listed,
        metavar="DEVICE,DEVICE",
        help="as for profile llm: 2x24GiB:rtx-3090,cpu",
    )
    parser.add_argument(
        "--maximise",
        choices=("context", "batch"),
        default="context",
        help="what to find the largest of (default: context)",
    )
    parser.add_argument(
        "--block",
        type=arguments.count,
        metavar="N",
        help="tokens, or sequences, that it is a multiple of (default: 16 tokens, 1 sequence)",
    )
    parser.add_argument(
        "--wanted",
        type=arguments.count,
        metavar="N",
        help="also say what would be needed for this number of tokens or sequences",
    )
    llm.add_workload(parser)
    arguments.add_room(parser)
    arguments.add_stages(parser)
    parser.add_argument(
        "--time-limit",
        type=arguments.seconds,
        default=10.0,
        metavar="SECONDS",
        help="time for each number that is tried, and for the placement (default: 10)",
    )
    parser.add_argument(
        "--workers", type=arguments.count, metavar="N", help="threads to use (default: all cores)"
    )
    parser.add_argument("--graph", metavar="FILE", help="file to write the graph of the largest to")
    arguments.add_output(parser, "the schedule")
    arguments.add_log(parser)
    parser.set_defaults(run=run)


class _Search:
    """The problems of one search, by the number of blocks."""

    def __init__(self, args: argparse.Namespace, setting: Setting) -> None:
        self.args, self.setting = args, setting
        model = setting.model
        self.of_context = args.maximise == "context"
        most = max(_MOST_TOKENS if self.of_context else _MOST_SEQUENCES, args.wanted or 0)
        #: Whether the model itself allows no more than the most that is tried.
        self.limited = self.of_context and model.architecture.limit is not None
        if self.of_context and model.architecture.limit is not None:
            most = model.architecture.limit
        self.block = args.block or (min(16, most) if self.of_context else 1)
        self.limit = max(1, most // self.block)
        least = args.prompt or 0
        if args.phase == "both":
            least += args.generate or 0
        #: Blocks that the prompt and what is generated need in any case.
        self.least = max(1, -(-least // self.block)) if self.of_context else 1
        self.wanted = -(-args.wanted // self.block) if args.wanted else self.least

    def proves(self, found: Largest) -> bool:
        """Whether no more than what was found is possible."""
        at_limit = self.limited and found.blocks == self.limit
        return at_limit or found.proven == found.blocks + 1

    def problem(self, blocks: int, **changes: Any) -> Problem:
        from talos_opt.frameworks.llm.graph import Room

        number = blocks * self.block
        args = self.args
        if self.of_context:
            load = llm.workload_of(args, number)
        else:
            load = llm.workload_of(args, args.context, number)
        if "kv_type" in changes:
            load = dataclasses.replace(load, kv_type=changes["kv_type"])
        room = llm.room_of(args)
        if changes.get("reserve") == 0:
            room = Room(room.fraction)
        problem = self.setting.problem(load, room, args.tied)
        return arguments.with_stages(problem, args)

    def ask(self, blocks: int, cancel: threading.Event, **changes: Any) -> Answer:
        from talos_opt.tasks.fitting import fits

        return fits(
            lambda: self.problem(blocks, **changes),
            time_limit=self.args.time_limit,
            workers=self.args.workers,
            cancel=cancel,
        )


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Search, write and print what fits, and return the exit code."""
    from talos_opt import formats
    from talos_opt.cli import files
    from talos_opt.core.errors import GraphError, InputError

    if args.maximise == "batch" and args.context is None:
        raise InputError("--context is missing, expected the tokens of each sequence")
    if args.maximise == "context" and args.context is not None:
        raise InputError("--context is what is looked for: leave it out, or --maximise batch")
    files.stream_as_json(args)
    files.require_writable(args.output, (*files.SUFFIXES, ".npz"))
    files.require_writable(args.graph, (*files.SUFFIXES, ".npz"))
    setting = llm.load_setting(args)
    search = _Search(args, setting)
    for blocks in {search.least, search.wanted}:
        with contextlib.suppress(GraphError):  # too little memory is an answer, all else bad input
            search.problem(blocks)
    for note in setting.notes:
        complain(f"note: {note}")
    with ProgressBar() as bar:
        found, result, needs = signals.run(
            lambda: _work(search, bar.report, signals.cancel), bar.draw, "the largest so far"
        )
    if args.graph and result is not None and result.schedule is not None:
        formats.write_problem(result.problem, args.graph)
    if args.output and result is not None and result.schedule is not None:
        formats.write_schedule(result, args.output)
    if args.json:
        emit_json(json.dumps(document(search, found, result, needs), indent=1))
    else:
        emit(describe(search, found, result, needs))
    if signals.interrupted:
        return exits.INTERRUPTED
    return exits.SOLVED if found.blocks else exits.NO_SCHEDULE


def _work(
    search: _Search, report: Callable[[float, str], None], cancel: threading.Event
) -> tuple[Largest, Result | None, list[str]]:
    from talos_opt.tasks.fitting import fit

    found = fit(
        search.problem,
        search.limit,
        least=min(search.least, search.limit),
        time_limit=search.args.time_limit,
        workers=search.args.workers,
        on_progress=report,
        cancel=cancel,
    )
    return found.largest, found.result, _needs(search, found.largest, cancel)


def _needs(search: _Search, found: Largest, cancel: threading.Event) -> list[str]:
    """Say what would be needed for what is wanted, or for the first block if none fits."""
    from talos_opt import api
    from talos_opt.core.errors import GraphError
    from talos_opt.frameworks.llm.fitting import Answer
    from talos_opt.frameworks.llm.workload import KV_TYPES

    args = search.args
    wanted = search.wanted
    if wanted <= found.blocks or cancel.is_set():
        return []
    needs: list[str] = []
    smaller = [kind for kind in _SMALLER if KV_TYPES[kind] < KV_TYPES[args.kv_type]]
    for kind in smaller:
        if search.ask(wanted, cancel, kv_type=kind) is Answer.FITS:
            needs.append(f"keep the context in {kind}: --kv-type {kind}")
            break
    if any(args.reserve.values()) and search.ask(wanted, cancel, reserve=0) is Answer.FITS:
        needs.append("keep nothing in reserve: leave out --reserve")
    try:
        problem = search.problem(wanted)
    except GraphError as error:  # a part alone is larger than every device
        return [*needs, f"a device with more memory: {error.message}"]
    result = api.solve(problem, time_limit=args.time_limit, workers=args.workers, cancel=cancel)
    if result.explanation is not None:
        single = result.explanation.single
        if single:
            needs += [str(change) for change in single]
        elif result.explanation.relaxations:
            needs.append(", and ".join(map(str, result.explanation.relaxations)))
    return needs


def document(
    search: _Search, found: Largest, result: Result | None, needs: list[str]
) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    calibration = search.setting.calibration
    return {
        "maximise": search.args.maximise,
        "largest": found.blocks * search.block,
        "block": search.block,
        "proven": search.proves(found),
        "limit": search.limit * search.block,
        "tried": found.tried,
        "value": None if result is None else result.value,
        "status": None if result is None else result.status.value,
        "memory": None if result is None or result.metrics is None
        else dict(result.metrics.static_memory),
        "needs": needs,
        "calibration": calibration and llm.calibration_figures(calibration),
    }  # fmt: skip


def describe(search: _Search, found: Largest, result: Result | None, needs: list[str]) -> str:
    """Return the text that ``fit`` prints."""
    from talos_opt.frameworks.llm.fitting import Answer
    from talos_opt.reports.texts.summary import summarise

    unit = "tokens of context" if search.of_context else "sequences"
    number = found.blocks * search.block
    more = f"{search.block} more"
    lines = [f"the largest that fits: {number} {unit}" if number else f"no {unit} fit"]
    if found.blocks == search.limit:
        lines[0] += ", which is the model's limit" if search.limited else ", the most tried"
    elif found.proven == found.blocks + 1:
        lines.append(f"proven: {more} have no placement" if number else "proven")
    elif found.next is Answer.UNKNOWN:
        beyond = "" if found.proven is None else f"; {found.proven * search.block} provably do not"
        lines.append(f"not proven: for {more}, no placement was found in time{beyond}")
    parts = ["\n".join(lines)]
    if search.setting.calibration is not None:
        parts.append(llm.describe_calibration(search.setting.calibration))
    if result is not None:
        parts.append(summarise(result, search.args.output))
    if needs:
        what = search.args.wanted or search.least * search.block
        parts.append("\n".join([f"for {what} {unit}, one of:", *(f"  {need}" for need in needs)]))
    return "\n\n".join(parts)
