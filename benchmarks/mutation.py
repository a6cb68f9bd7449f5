"""Do the tests see it when a line of the code says something else?

Each mutant is one module with one small change: `<` for `<=`, `+` for `-`, `and` for `or`, a
number one off, a condition turned round, a statement left out. A child process runs the tests on
it; a mutant that no test fails on survives, and is either a missing test or a change that makes
no difference. Messages, annotations and docstrings are left alone.

    python -m benchmarks.mutation MODULE TEST... [--jobs 2] [--only LINE,...] [--json FILE]
    python -m benchmarks.mutation talos_opt.core.metrics tests/core/test_metrics.py
"""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

from benchmarks.report import Column, make_parser, progress, publish

_OTHER: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div,
    ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.Break: ast.Continue, ast.Continue: ast.Break, ast.Not: ast.UAdd,
    ast.USub: ast.UAdd,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum",
          "maximum": "minimum", "left": "right", "right": "left"}  # fmt: skip
#: Statements that can be left out.
_OPTIONAL = (ast.Assign, ast.AugAssign, ast.Expr, ast.Raise, ast.Return)


@dataclass(frozen=True)
class Mutant:
    """One change.

    Parameters
    ----------
    line : int
    change : str
        What was written there, and what is now.
    tree : ast.Module
    """

    line: int
    change: str
    tree: ast.Module


def mutants(source: str) -> Iterator[Mutant]:
    """Make every change, one at a time."""
    tree = ast.parse(source)
    for number, node in enumerate(_changeable(tree)):
        for which in range(len(_changes(node))):
            changed = copy.deepcopy(tree)
            there = next(n for k, n in enumerate(_changeable(changed)) if k == number)
            place, change = _changes(there)[which]
            line, before = place.lineno, ast.unparse(place)
            change()
            ast.fix_missing_locations(changed)
            after = "(left out)" if place is not there else ast.unparse(there)
            yield Mutant(line, f"{_short(before)}  ->  {_short(after)}", changed)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else line[:67] + "..."


def _changeable(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs: no annotations, no messages, no docstrings, no imports for types."""
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if hasattr(node, "lineno"):
        yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _changeable(child)


def _changes(node: ast.AST) -> list[tuple[ast.AST, Callable[[], None]]]:
    """Return what can be changed in a node or right below it, each with what changes it."""
    found: list[tuple[ast.AST, Callable[[], None]]] = []
    if isinstance(node, ast.Compare | ast.BoolOp | ast.BinOp | ast.AugAssign | ast.UnaryOp):
        ops = node.ops if isinstance(node, ast.Compare) else [node.op]
        for place, op in enumerate(ops):
            if type(op) in _OTHER:
                found.append((node, lambda p=place, o=op: _set_op(node, p, _OTHER[type(o)]())))
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        found.append((node, lambda: setattr(node, "value", node.value + 1)))
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        found.append((node, lambda: setattr(node, "value", not node.value)))
    if isinstance(node, ast.Constant) and node.value in ("left", "right"):
        found.append((node, lambda: setattr(node, "value", _NAMES[node.value])))
    if isinstance(node, ast.Name) and node.id in _NAMES:
        found.append((node, lambda: setattr(node, "id", _NAMES[node.id])))
    if isinstance(node, ast.Attribute) and node.attr in _NAMES:
        found.append((node, lambda: setattr(node, "attr", _NAMES[node.attr])))
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        found.append((node, lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))))
    for field in ("body", "orelse"):
        body = getattr(node, field, None)
        for place, statement in enumerate(body if isinstance(body, list) else ()):
            document = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if isinstance(statement, _OPTIONAL) and not document:
                found.append((statement, lambda b=body, p=place: b.__setitem__(p, ast.Pass())))
            elif isinstance(statement, ast.Break | ast.Continue):
                other = _OTHER[type(statement)]
                found.append((statement, lambda b=body, p=place, o=other: b.__setitem__(p, o())))
    return found


def _set_op(node: ast.AST, place: int, op: ast.AST) -> None:
    if isinstance(node, ast.Compare):
        node.ops[place] = op
    else:
        node.op = op


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from code in memory."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self.name, self.path, self.code = name, path, code

    def find_spec(self, name: str, path: object, target: object = None) -> object:
        """Claim the mutated module."""
        if name != self.name:
            return None
        return importlib.machinery.ModuleSpec(name, self, origin=str(self.path))

    def exec_module(self, module: ModuleType) -> None:
        """Run the mutated code as the module."""
        module.__file__ = str(self.path)
        exec(self.code, module.__dict__)


def test_in_child(finder: _Finder, tests: Sequence[str], limit: float) -> int | None:
    """Run tests on a module in a child process; return pytest's exit code, None after the limit."""
    child = os.fork()
    if child == 0:
        code = 3
        with contextlib.suppress(BaseException):
            os.setpgid(0, 0)
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            sys.meta_path.insert(0, finder)
            run = importlib.import_module("pytest").main
            code = int(run(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))
        os._exit(code)
    ended = time.monotonic() + limit
    while time.monotonic() < ended:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def main() -> None:
    """Run from the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("module")
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="lines to change, with commas; default: all")
    args = parser.parse_args()
    path = Path(*args.module.split(".")).with_suffix(".py")
    lines = {int(line) for line in args.only.split(",") if line}
    source = path.read_text(encoding="utf-8")
    for name in ("hypothesis", "numpy", "pytest"):
        importlib.import_module(name)  # children find them loaded
    began = time.monotonic()
    right = _Finder(args.module, path, compile(source, str(path), "exec"))
    if test_in_child(right, args.tests, 3600.0) != 0:
        sys.exit("the tests fail on the code as it is")
    limit = 10.0 + 5.0 * (time.monotonic() - began)
    work = [one for one in mutants(source) if not lines or one.line in lines]
    progress(f"{len(work)} mutants, {time.monotonic() - began:.1f} s for the tests on the original")
    survivors = _survivors(work, args.module, path, args.tests, limit, args.jobs)
    rows = [{"line": one.line, "change": one.change} for one in survivors]
    columns = [Column("line"), Column("change")]
    publish("mutation", columns, rows, target=args.target, settings={
        "module": args.module, "tests": args.tests, "mutants": len(work),
    })  # fmt: skip
    killed = len(work) - len(survivors)
    print(f"{args.module}: {killed} of {len(work)} mutants killed ({killed / len(work):.1%})")


def _survivors(
    work: Sequence[Mutant], module: str, path: Path, tests: Sequence[str], limit: float, jobs: int
) -> list[Mutant]:
    """Run the tests on all mutants, in so many processes; return those that all tests pass on."""
    pipes = []
    for job in range(jobs):
        read, write = os.pipe()
        if os.fork() == 0:
            with os.fdopen(write, "w") as out:
                for number in range(job, len(work), jobs):
                    code = compile(work[number].tree, str(path), "exec")
                    if test_in_child(_Finder(module, path, code), tests, limit) == 0:
                        progress(f"survived: {work[number].line}: {work[number].change}")
                        out.write(f"{number}\n")
            os._exit(0)
        os.close(write)
        pipes.append(os.fdopen(read))
    return [work[number] for number in sorted(int(line) for pipe in pipes for line in pipe)]


if __name__ == "__main__":
    main()
