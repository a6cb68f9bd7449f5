"""A nightly step, as Airflow, cron or a CI job would run it: exit codes, JSON, a log.

    python examples/nightly.py models/fig1.yaml --folder plans --time-limit 5

It plans a graph by the command line, starting from the plan of the night before, checks the plan by
an independent command, and puts it in place only if it is right and not worse. Exit codes are those
of `talos-opt`, so that the scheduler can tell what to do: 0 done; 1 no feasible plan, somebody has
to look at the limits; 2 the input is wrong; 3, 70 try again or report it; 130 interrupted.

`run_step` is a function without anything of Airflow in it: a DAG calls it as it is (see
docs/how-to/call-from-airflow.md).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger("nightly")


class StepError(Exception):
    """A command of the step failed.

    Parameters
    ----------
    code : int
        Its exit code.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    @property
    def may_pass(self) -> bool:
        """Whether trying again makes sense: a backend died, or somebody interrupted it."""
        return self.code in (3, 70, 130)


@dataclass(frozen=True)
class Outcome:
    """What a night brought.

    Parameters
    ----------
    plan : Path
        The plan that is in place now.
    value, before : float, float or None
        Its value and that of the plan before it, in the graph's time unit.
    gap : float
        No plan can be better by a larger share.
    replaced : bool
        Whether it is a new one.
    """

    plan: Path
    value: float
    before: float | None
    gap: float
    replaced: bool


def call(*arguments: str | Path) -> dict[str, Any]:
    """Run a command of talos-opt; return the JSON that it prints.

    Raises
    ------
    StepError
        If its exit code is not 0, with what it wrote to standard error.
    """
    command = [sys.executable, "-m", "talos_opt", *map(str, arguments), "--json"]
    log.info("run %s", " ".join(command[1:]))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepError(done.stderr.strip() or f"exit code {done.returncode}", done.returncode)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def run_step(graph: str | Path, folder: str | Path, time_limit: float = 60.0) -> Outcome:
    """Plan a graph, and put the plan in place as ``GRAPH.json`` if it is better than the old one.

    Parameters
    ----------
    graph : path
        Graph file.
    folder : path
        Where plans and the log are; it is made if it is missing.
    time_limit : float
        Seconds for the solve.

    Raises
    ------
    StepError
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(graph).name.partition(".")[0]
    plan, fresh = folder / f"{name}.json", folder / f"{name}.new.json"

    before, start = None, []
    if plan.exists():  # what ran yesterday is a start, if the graph still is what it was
        try:
            before = float(call("check", graph, plan)["value"])
            start = ["--warm-start", plan]
        except StepError as error:
            log.warning("the old plan is not used: %s", error)
    limits = ["--time-limit", str(time_limit), "--seed", "0"]
    logs = ["--log-file", folder / "run.log", "--log-format", "json"]
    found = call("solve", graph, *limits, *start, *logs, "-o", fresh)
    checked = call("check", graph, fresh)

    value, gap = float(checked["value"]), float(found["gap"])
    replaced = before is None or value < before
    if replaced:
        os.replace(fresh, plan)  # nobody ever reads half a plan
    else:
        fresh.unlink()
    log.info("%s: %s, value %g, before %s, gap %.1f %%",
             name, found["status"], value, before, 100 * gap)  # fmt: skip
    return Outcome(plan, value if replaced else before or value, before, gap, replaced)


def main() -> int:
    """Run the step; return an exit code for whoever schedules it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", help="graph file")
    parser.add_argument("--folder", default="plans", help="where plans and the log are")
    parser.add_argument("--time-limit", type=float, default=60, help="seconds for the solve")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        outcome = run_step(args.graph, args.folder, args.time_limit)
    except StepError as error:
        log.error("%s (exit code %d%s)", error, error.code, ", try again" * error.may_pass)
        return error.code
    print(json.dumps({"plan": str(outcome.plan), "value": outcome.value, "before": outcome.before,
                      "gap": outcome.gap, "replaced": outcome.replaced}))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
