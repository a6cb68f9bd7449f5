"""What does a study cost beside its solver, does it survive kills, what do warm starts save?

A study of tiny cases is run undisturbed, in processes and on Dask, and again through SIGKILLs at
random moments: of the command; and on Dask of workers, of the command, and of the scheduler. Grids
of memories are solved with neighbours and without.

    python -m benchmarks.sweep [--cases 200] [--kills 30] [--workers 1] [--limit 20] [--graphs A,B]
                              [--tiny] [--json FILE]
"""

from __future__ import annotations

import math
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import Column, make_parser, progress, publish
from talos_opt.studies.cases import list_cases
from talos_opt.studies.crews.asked import hire
from talos_opt.studies.running import Tally, run_study
from talos_opt.studies.store import Store, unpack
from talos_opt.studies.study import read_study
from talos_opt.studies.tables import read_table

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"

TINY = """
graphs: {graph}
solvers: [heft, dp]
seeds: {seeds}
prices: {{gpu: 1}}
parameters:
  gpu: [1, 2]
  models[m1].weight: [1, 2, 3, 4, 5]
workers: {workers}
"""

MEMORY = """
graphs: {graph}
parameters:
  cluster.devices[gpu].memory: {sizes}
time_limit: {limit}
workers: 1
"""


#: Graphs, and the memories of their GPU in MiB: twice as much from card to card, as cards are sold,
#: from what binds to what does not. The last is not proven in 20 s.
GRIDS = (
    ("alexnet", [2**k for k in range(5, 12)]),
    ("squeezenet", [2**k for k in range(6, 13)]),
    ("vgg19", [2**k for k in range(8, 14)]),
    ("bert_base_training", [1024 * size for size in (3, 4, 6, 8, 11, 16, 24)]),
    ("resnet50_training", [1024 * size for size in (4, 6, 8, 11, 16, 24)]),
    ("googlenet", [2**k for k in range(6, 13)]),
)

COLUMNS = (
    "study", "cases", "elapsed_s", "cases_per_hour", "solver_ms", "beside_ms", "in_worker_ms",
    "kills",
    "same_table", "begun_again", "cold_s", "warm_s", "saved_%", "to_value_cold_s",
    "to_value_warm_s", "proven_cold", "proven_warm",
    "differ",
)  # fmt: skip


def main() -> None:
    """Run all parts and print one row for each."""
    parser = make_parser(__doc__)
    parser.add_argument("--cases", type=int, default=200, help="tiny cases, in steps of 20")
    parser.add_argument("--kills", type=int, default=30, help="times that the study is killed")
    parser.add_argument("--workers", type=int, default=1, help="processes for the tiny cases")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds of a case with memory")
    parser.add_argument("--tiny", action="store_true", help="leave out the grids of memories")
    parser.add_argument("--graphs", help="of the grids of memories only these, and nothing else")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if args.graphs is None:
            rows = disturbed(place, args)
            if not args.tiny:
                rows += memory(place, args.limit, [item[0] for item in GRIDS])
        else:
            rows = memory(place, args.limit, args.graphs.split(","))
    publish(
        "sweep",
        [Column(name) for name in COLUMNS],
        rows,
        settings={"kills": args.kills, "workers": args.workers, "limit": args.limit},
        target=args.target,
    )


def disturbed(folder: Path, args: Any) -> list[dict[str, Any]]:
    """Run the tiny cases undisturbed, and through kills."""
    study = folder / "tiny.yaml"
    seeds = list(range(math.ceil(args.cases / 20)))
    text = TINY.format(graph=MODELS / "fig1.yaml", seeds=seeds, workers=args.workers)
    study.write_text(text)
    progress("tiny cases")
    rows = [tiny(study, "undisturbed.db", args.workers)]
    for workers in (1, 2):
        progress(f"Dask, {workers}")
        rows.append(tiny(study, f"dask{workers}.db", workers, dask="local"))
    progress("kills")
    rows.append(kills(study, args.kills))
    progress("kills on Dask")
    rows.append(kills_on_dask(study, args.kills))
    return rows


def solve(
    study: Path, name: str, workers: int = 1, dask: str | None = None, **options: Any
) -> tuple[Tally, list[tuple[Any, ...]]]:
    """Run a study in this process into a database of its own; return its table too."""
    read = read_study(study)
    cases = list_cases(read)
    target = study.with_name(name)
    with Store(target, create=True) as store, hire(dask, workers) as crew:
        store.plan(read.name, cases)
        tally = run_study(cases, store, crew, pieces=1, **options)
        store.release()
    return tally, table(target)


def table(target: Path) -> list[tuple[Any, ...]]:
    names = (
        "case", "status", "value", "lower_bound", "gap", "price", "warm_start", "bound_from",
        "reason",
    )  # fmt: skip
    with Store(target) as store:
        return [tuple(row[name] for name in names) for row in read_table(store).rows]


def tiny(study: Path, name: str, workers: int, dask: str | None = None) -> dict[str, Any]:
    """Cases that take milliseconds: what is measured is all that is not the solver."""
    tally, rows = solve(study, name, workers, dask)
    with Store(study.with_name(name)) as store:
        wall = sum(row["wall_s"] for row in store.rows())
    beside = (tally.elapsed_s * workers - tally.solve_s) / tally.total
    return {
        "study": f"tiny, {'processes' if dask is None else 'Dask local'}, {workers}",
        "cases": tally.total,
        "elapsed_s": round(tally.elapsed_s, 2),
        "cases_per_hour": round(3600 * tally.total / tally.elapsed_s),
        "solver_ms": round(1e3 * tally.solve_s / tally.total, 1),
        "beside_ms": round(1e3 * beside, 1),
        "in_worker_ms": round(1e3 * (wall - tally.solve_s) / tally.total, 1),
        "same_table": str(rows == table(study.with_name("undisturbed.db"))),
    }


def kills(study: Path, count: int) -> dict[str, Any]:
    """Kill the command at random moments, go on, and compare with the table that was."""
    target = study.with_name("killed.db")
    words = [sys.executable, "-m", "talos_opt", "sweep", str(study), "-o", str(target)]
    source, total = random.Random(0), len(table(study.with_name("undisturbed.db")))
    moments = sorted(source.uniform(0, total - 1) for _ in range(count))
    done = 0
    for moment in moments:
        command = subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=ROOT)
        while command.poll() is None and finished(target) <= moment:
            time.sleep(0.002)
        time.sleep(source.uniform(0, 0.05))
        done += command.poll() is None
        command.kill()
        command.wait()
        table(target)  # readable after each kill
    subprocess.run(words, stdout=subprocess.DEVNULL, cwd=ROOT, check=True)
    with Store(target) as store:
        starts = store.starts()
    return {
        "study": "killed, processes",
        "cases": total,
        "kills": done,
        "same_table": same(study, target),
        "begun_again": sum(starts.values()) - total,
    }


def same(study: Path, target: Path) -> str:
    """Tell whether a table is the undisturbed one, and show the rows that are not."""
    rows = list(zip(table(study.with_name("undisturbed.db")), table(target), strict=True))
    for undisturbed, found in rows:
        if undisturbed != found:
            progress(f"{undisturbed} became {found}")
    return str(all(undisturbed == found for undisturbed, found in rows))


class Dask:
    """A scheduler and workers, each a process."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        while not self.file.exists() or not self.file.stat().st_size:
            time.sleep(0.05)
        self.workers = [self._worker() for _ in range(workers)]

    def _worker(self) -> subprocess.Popen[bytes]:
        local = ("--local-directory", str(self.folder / "local"))
        return self._start("worker", "--nthreads", "1", "--no-nanny", *local)

    def _start(self, what: str, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable, "-m", f"distributed.cli.dask_{what}", "--scheduler-file",
                str(self.file), "--no-dashboard", *words,
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
        )  # fmt: skip

    def kill_worker(self, k: int) -> None:
        """End a worker as a machine that fails does; another one takes its place."""
        end(self.workers[k])
        self.workers[k] = self._worker()

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            end(process)
        self.file.unlink(missing_ok=True)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def kills_on_dask(study: Path, count: int) -> dict[str, Any]:
    """Kill workers at random moments, every fifth time the command, every tenth the scheduler."""
    target = study.with_name("killed_on_dask.db")
    dask = Dask(study.parent, 2)
    words = [sys.executable, "-m", "talos_opt", "sweep", str(study), "-o", str(target)]
    words += ["--workers", "1", "--dask", str(dask.file)]
    source, total = random.Random(1), len(table(study.with_name("undisturbed.db")))
    moments = sorted(source.uniform(0, total - 1) for _ in range(count))
    command = subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=ROOT)
    done = 0
    for k, moment in enumerate(moments, start=1):
        while command.poll() is None and finished(target) <= moment:
            time.sleep(0.002)
        time.sleep(source.uniform(0, 0.05))
        done += command.poll() is None
        if k % 10 == 0:
            dask.close()
            assert command.wait() == 3, "the command says that the scheduler is lost"
            dask = Dask(study.parent, 2)
        elif k % 5 == 0:
            end(command)
        else:
            dask.kill_worker(source.randrange(2))
        if command.poll() is not None:
            command = subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=ROOT)
        table(target)  # readable after each kill
    command.wait()
    subprocess.run(words, stdout=subprocess.DEVNULL, cwd=ROOT, check=True)
    dask.close()
    with Store(target) as store:
        starts = store.starts()
    return {
        "study": "killed, Dask",
        "cases": total,
        "kills": done,
        "same_table": same(study, target),
        "begun_again": sum(starts.values()) - total,
    }


def finished(target: Path) -> int:
    if not target.exists() or not target.stat().st_size:
        return 0
    with Store(target) as store:
        return len(store.finished())


def memory(folder: Path, limit: float, graphs: list[str]) -> list[dict[str, Any]]:
    """Grids of memories, with and without neighbours."""
    rows = []
    for graph in graphs:
        sizes = dict(GRIDS)[graph]
        progress(graph)
        study = folder / f"{graph}.yaml"
        memories = [f"{size}MiB" for size in sizes]
        text = MEMORY.format(graph=MODELS / f"{graph}.yaml", sizes=memories, limit=limit)
        study.write_text(text)
        cold, before = solve(study, "cold.db", warm_starts=False)
        warm, after = solve(study, "warm.db")
        goals = [row[2] for row in before]
        first, second = (
            reaching(study.with_name(name), goals, limit) for name in ("cold.db", "warm.db")
        )
        for name in ("cold.db", "warm.db"):
            study.with_name(name).unlink()
        rows.append(
            {
                "study": graph,
                "cases": cold.total,
                "cold_s": round(cold.solve_s, 2),
                "warm_s": round(warm.solve_s, 2),
                "saved_%": round(100 * (1 - warm.solve_s / cold.solve_s), 1),
                "to_value_cold_s": round(first, 2),
                "to_value_warm_s": round(second, 2),
                "proven_cold": sum(row[1] in ("optimal", "infeasible") for row in before),
                "proven_warm": sum(row[1] in ("optimal", "infeasible") for row in after),
                "differ": sum(  # of those that both have proven
                    a[1] == b[1] == "optimal" and not math.isclose(a[2], b[2], rel_tol=1e-5)
                    for a, b in zip(after, before, strict=True)
                ),
            }
        )
    return rows


def reaching(target: Path, goals: list[float | None], limit: float) -> float:
    """Sum of the seconds until each case had a value as good as its goal; else of the limit."""
    total = 0.0
    with Store(target) as store:
        for row, goal in zip(store.rows(), goals, strict=True):
            result = store.result(row["fingerprint"])
            if goal is None or result is None or result["schedule"] is None:
                continue
            events = unpack(result["schedule"])["history"]
            reached = [
                event["time_s"]
                for event in events
                if event["value"] is not None and event["value"] <= goal * (1 + 1e-5)
            ]
            settled = not events and row["value"] <= goal * (1 + 1e-5)
            total += reached[0] if reached else row["runtime_s"] if settled else limit
    return total


if __name__ == "__main__":
    main()
