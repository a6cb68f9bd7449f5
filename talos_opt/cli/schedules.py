"""Reading a graph with schedules of it: what most commands that show schedules begin with."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments
from talos_opt.cli.output import complain

if TYPE_CHECKING:
    from talos_opt.core.cluster import Cluster
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule
    from talos_opt.formats.schedule import ScheduleFile
    from talos_opt.formats.schedule_header import Made


def open_schedules(
    paths: Sequence[str], refusal: str = "the schedule must be a file"
) -> list[ScheduleFile]:
    """Open schedule files.

    Parameters
    ----------
    paths : sequence of str
    refusal : str
        What to say of standard input.

    Raises
    ------
    InputError
        If one is standard input, cannot be read, or is not a schedule.
    """
    from talos_opt.core.errors import InputError
    from talos_opt.formats.schedule import ScheduleFile
    from talos_opt.formats.source import STREAM

    if STREAM in paths:
        raise InputError(f"{refusal}; only the graph is read from -")
    return [ScheduleFile(path) for path in paths]


def graph_of(args: argparse.Namespace) -> str | None:
    """Return the graph file of a command where it is first now and was once ``--graph``."""
    from talos_opt.core.errors import InputError

    if args.old_graph is None or args.old_graph == args.graph:
        graph: str | None = args.graph
        return graph
    if args.graph is not None:
        raise InputError(f"the graph is given twice: {args.graph}, and --graph {args.old_graph}")
    complain(
        f"note: the graph comes first now: talos-opt {args.command} {args.old_graph} "
        f"{args.schedule}; --graph still works"
    )
    graph = args.old_graph
    return graph


def read_graph(
    args: argparse.Namespace, graph: str, file: ScheduleFile, *, warm: bool = False
) -> Problem:
    """Read the graph of a schedule: as arguments say, else as the schedule was made, else as it is.

    Where the schedule's memory rule, granularity or cluster are not those of the graph's file, a
    note tells so.

    Parameters
    ----------
    args : namespace
        ``cluster``, ``objective``, ``memory_rule``, ``stages``, ``use_all``, ``pipeline`` and
        ``source_format``; those that a command does not have count as not given.
    graph : str
    file : ScheduleFile
        It records what it was made with, unless it is an old one or of another tool.
    warm : bool
        It is where a solve starts, so a note tells its objective too.

    Raises
    ------
    InputError
    """
    from talos_opt.core.errors import GraphError
    from talos_opt.core.granularity import Granularity, by_module
    from talos_opt.core.problem import MemoryRule, Objective

    made = file.made
    asked = {name: getattr(args, name, None) for name in ("cluster", "objective", "memory_rule")}
    # An msr workload is read by its objective, which the schedule knows.
    objective = asked["objective"] or made.objective
    problem, own = _read(args, graph, objective, asked["cluster"], made)
    differs = [] if own else ["cluster"]
    if warm and asked["objective"] is None and made.objective not in (None, Objective.TOCT):
        differs.append(f"objective {made.objective}")
    rule = MemoryRule(asked["memory_rule"] or made.memory_rule or problem.memory_rule)
    if rule is not problem.memory_rule:
        problem = dataclasses.replace(problem, memory_rule=rule)
        if asked["memory_rule"] is None:
            differs.append(f"memory rule {rule.value}")
    if getattr(args, "pipeline", None) is None and made.pipeline is not None:
        if made.pipeline != problem.pipeline:
            differs.append(f"pipeline {made.pipeline}")
        problem = problem.with_pipeline(made.pipeline)
    asked_stages = [getattr(args, name, None) for name in ("stages", "use_all")]
    if asked_stages == [None, None] and made.stages is not None:
        if made.stages != problem.stages:
            differs.append(f"stages {made.stages}")
        problem = problem.with_stages(made.stages)
    else:
        problem = arguments.with_stages(problem, args)
    if getattr(args, "granularity", None) is None and made.granularity is Granularity.MODULE:
        try:
            problem = by_module(problem, made.no_split)
            differs.append("granularity module")
        except GraphError as error:  # another graph, as whoever reads the rows may find
            complain(f"note: {file.name}: granularity module as recorded there: {error}")
    if made.bundles:
        from talos_opt.core.bundling import bundled

        problem = bundled(problem, made.bundles)
    if differs:
        complain(
            f"note: {file.name}: {', '.join(differs)} as recorded there, not as {graph} has it"
        )
    return problem


def read_feasible(args: argparse.Namespace, file: ScheduleFile) -> tuple[Problem, Schedule]:
    """Read graph and schedule, and refuse a schedule that breaks a rule.

    Raises
    ------
    InputError
        If either cannot be read, or a rule is broken.
    """
    from talos_opt import api
    from talos_opt.core.errors import ScheduleError

    problem = read_graph(args, args.graph, file)
    schedule = file.schedule(problem)
    note_other_graph(problem, file)
    broken = api.check(problem, schedule)
    if broken:
        more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise ScheduleError(
            f"the schedule breaks a rule ({broken[0]}{more}), expected a feasible one; "
            "talos-opt check lists all",
            source=args.schedule,
        )
    return problem, schedule


def with_rules(problem: Problem, bundles: Any) -> Problem:
    """Return a problem with other rules for bundles; those that it has now stay."""
    from talos_opt.core.bundling import bundled

    other = problem.with_bundles(bundles)
    return other if problem.bundling is None else bundled(other, problem.bundling.bundles)


def refuse_bundles(problem: Problem, file: ScheduleFile, what: str) -> None:
    """Refuse a schedule in which devices act as one.

    Parameters
    ----------
    problem : Problem
    file : ScheduleFile
    what : str
        What cannot be done with it.

    Raises
    ------
    InputError
    """
    from talos_opt.core.errors import InputError

    if problem.bundling is not None:
        names = ", ".join(bundle.id for bundle in problem.bundling.bundles)
        raise InputError(
            f"{file.name}: {what} takes one device for each op, and devices act as one there "
            f"({names}): solve without bundles"
        )


def _read(
    args: argparse.Namespace,
    graph: str,
    objective: str | None,
    cluster: str | None,
    made: Made,
) -> tuple[Problem, bool]:
    """Read a graph, and tell whether its cluster is its own or asked for, not the recorded one."""
    from talos_opt import formats
    from talos_opt.core.cluster import NO_BUNDLES
    from talos_opt.core.errors import InputError
    from talos_opt.formats.source import open_source

    recorded = made.cluster
    source = open_source(graph)  # once, as it may be read twice
    form = args.source_format

    def read(cluster: Cluster | str | None) -> Problem:
        problem = formats.read_problem(source, format=form, cluster=cluster, objective=objective)
        return problem if objective is None else problem.with_objective(objective)

    if cluster is not None or recorded is None:
        return read(cluster), True
    try:
        problem = read(None)
    except InputError:  # it has no cluster, or one on which it does not fit
        return read(recorded), False
    if problem.cluster == recorded:
        return problem, True
    # Without any: the recorded rules may not fit the devices of the graph's cluster.
    plain = [dataclasses.replace(one, bundles=NO_BUNDLES) for one in (problem.cluster, recorded)]
    if plain[0] == plain[1]:
        # Other rules for bundles are no other cluster; they only count where there are bundles.
        return dataclasses.replace(problem, cluster=recorded) if made.bundles else problem, True
    return dataclasses.replace(problem, cluster=recorded), False


def note_other_graph(problem: Problem, file: ScheduleFile, path: str = "") -> None:
    """Say so where a schedule is of another graph: by its name, or by the graph's fingerprint."""
    from talos_opt.core.units import describe

    lead = f"note: {path}: " if path else "note: "
    name = file.document.get("graph", problem.graph.name)
    if name != problem.graph.name:
        complain(f"{lead}the schedule is for graph {describe(name)}")
    if file.made.fingerprint not in (None, problem.source.graph.fingerprint):
        complain(f"{lead}the graph has other ops or edges than when the schedule was made")
