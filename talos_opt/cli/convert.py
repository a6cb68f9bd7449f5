"""``talos-opt convert``: write a graph in another format."""

from __future__ import annotations

import argparse
from typing import Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit_written
from talos_opt.cli.signals import Signals


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "convert",
        help="write a graph in another format, or several as one",
        description="Read a graph in one format and write it in another, or several as one.",
        epilog="Formats: talos (talos-graph/1 as YAML or JSON, each also .gz), npz "
        "(talos-columns/1: arrays, for graphs of up to millions of ops); and to read only: stg "
        "(Standard Task Graph Set), wfformat (WfCommons workflows), chakra (execution traces of "
        "Chakra and PyTorch), fjsp (flexible job shops), and msr (the public workloads of "
        "'Efficient Algorithms for Device Placement of DNN Graph Operators', NeurIPS 2020).",
        allow_abbrev=False,
    )
    arguments.add_graph(parser)
    arguments.add_target(
        parser, "file to write the graph to; - writes YAML to standard output", required=True
    )
    arguments.add_format(parser)
    parser.add_argument(
        "--to",
        dest="target_format",
        metavar="FORMAT",
        help="format to write: talos or npz (default: from the suffix of FILE)",
    )
    arguments.add_cluster(parser)
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="GRAPH",
        help="put the models of this graph beside those of the first, on its devices; may be "
        "repeated",
    )
    arguments.add_estimates(parser, "--estimate")
    parser.add_argument(
        "--objective",
        choices=arguments.OBJECTIVES,
        help="how an msr workload is read: bottleneck as one of the throughput set, whose "
        "transfers take the accelerators' time; makespan or toct as one of the latency set",
    )
    arguments.add_json(parser, "what was written")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Convert a file and return the exit code."""
    from talos_opt import api, formats
    from talos_opt.cli import files
    from talos_opt.core.errors import InputError

    files.require_target(args, (*files.SUFFIXES, ".npz"))
    for flag, value in (("--measured", args.measured), ("--dtype", args.dtype)):
        if value is not None and not args.estimate:
            raise InputError(
                f"{flag} says how devices are estimated, and there are none: name some with "
                f"--estimate, or leave {flag} out"
            )
    problem = api.read(
        args.graph, cluster=args.cluster, objective=args.objective, format=args.source_format
    )
    if args.add:
        from talos_opt.tasks.joining import join_models

        problem = join_models(problem, args.add, format=args.source_format)
    if args.estimate:
        from talos_opt.frameworks.common.whatif import remarks, what_if

        notes = remarks(problem)
        problem = what_if(problem, add=args.estimate, dtype=args.dtype, measured=args.measured)
        complain(*notes)
    formats.write_problem(problem, args.output, format=args.target_format)
    facts = {
        "models": len(problem.graph.model_ids),
        "ops": problem.graph.op_count,
        "devices": len(problem.device_ids),
    }
    emit_written(args, facts)
    return exits.SOLVED
