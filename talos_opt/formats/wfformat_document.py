"""The documents of WfFormat, versions 1.3 to 1.6, in one form.

From 1.5 on, what a workflow is (``specification``) and how it ran (``execution``) stand apart, and
tasks refer to each other by id. Before, each task holds both, files stand with the tasks that use
them, and tasks refer to each other by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from talos_opt.core import units
from talos_opt.core.errors import FormatError, GraphError
from talos_opt.core.plain import Keys, as_list, as_mapping, as_name, as_text, join

VERSIONS = ("1.3", "1.4", "1.5", "1.6")
#: Versions whose tasks hold their files and run times.
_JOINED = ("1.3", "1.4")

FILE_KEYS = Keys("schemaVersion workflow", extra=True)
TASK_KEYS = Keys("name", extra=True)
MACHINE_KEYS = Keys("nodeName", extra=True)


@dataclass(slots=True)
class Task:
    """A task, and how it ran.

    Parameters
    ----------
    path : str
        JSON path, for messages.
    id : str
        Unique.
    name, program, machine : str
        Empty where the file does not say.
    parents, children : tuple of (str, str)
        References to other tasks, each with its path.
    reads, writes : tuple of (str, str)
        Ids of files, each with its path.
    runtime : float
        Seconds.
    cores : float
    """

    path: str
    id: str
    name: str = ""
    parents: tuple[tuple[str, str], ...] = ()
    children: tuple[tuple[str, str], ...] = ()
    reads: tuple[tuple[str, str], ...] = ()
    writes: tuple[tuple[str, str], ...] = ()
    runtime: float = 0.0
    cores: float = 1.0
    program: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that tasks ran on; its path is for messages."""

    path: str
    name: str
    cores: int


@dataclass(slots=True)
class Workflow:
    """A document.

    Parameters
    ----------
    tasks : list of Task
    sizes : mapping of str to int
        Bytes of files by id.
    machines : list of Machine
    names : mapping of str to int
        Position in `tasks` by what tasks call each other.
    """

    tasks: list[Task]
    sizes: dict[str, int]
    machines: list[Machine]
    names: dict[str, int] = field(default_factory=dict)


def read_document(document: object) -> Workflow:
    """Return the workflow in a document.

    Raises
    ------
    InputError
        If the version is unknown, or a value is missing or of the wrong kind; names its path.
    """
    record = FILE_KEYS.check(document, "the file", "")
    version = str(record["schemaVersion"])
    if version not in VERSIONS:
        raise FormatError(
            f"is WfFormat {units.describe(record['schemaVersion'])}, expected one of "
            f"{', '.join(VERSIONS)}",
            path="schemaVersion",
        )
    workflow = as_mapping(record["workflow"], "workflow", "workflow")
    read = _read_joined if version in _JOINED else _read_apart
    return read(workflow)


def _read_apart(workflow: Mapping[str, Any]) -> Workflow:
    """Read version 1.5 or 1.6."""
    for key, what in (("specification", "tasks"), ("execution", "run times of its tasks")):
        if key not in workflow:
            raise GraphError(f"the workflow has no {key!r}, expected {what}", path="workflow")
    where = "workflow.specification"
    specification = as_mapping(workflow["specification"], "specification", where)
    tasks = [
        Task(
            path,
            as_name(record.get("id"), "id", f"{path}.id"),
            as_name(record["name"], "name", f"{path}.name"),
            _names(record, "parents", path),
            _names(record, "children", path),
            _names(record, "inputFiles", path),
            _names(record, "outputFiles", path),
        )
        for path, record in _records(specification, "tasks", where, TASK_KEYS)
    ]
    names = _index(tasks)
    sizes: dict[str, int] = {}
    for path, record in _records(specification, "files", where, Keys("id sizeInBytes", extra=True)):
        _add_size(sizes, as_name(record["id"], "id", f"{path}.id"), record, path)
    where = "workflow.execution"
    execution = as_mapping(workflow["execution"], "execution", where)
    ran: set[str] = set()
    for path, record in _records(execution, "tasks", where, Keys("id", extra=True)):
        name = as_name(record["id"], "id", f"{path}.id")
        if name not in names:
            raise GraphError(f"id is {name!r}, expected that of a task", path=f"{path}.id")
        if name in ran:
            raise GraphError(f"task {name!r} is given twice, expected it once", path=f"{path}.id")
        ran.add(name)
        _add_run(tasks[names[name]], record, path)
    for task in tasks:
        if task.id not in ran:
            raise GraphError(
                f"task {task.id!r} has no run time, expected it among workflow.execution.tasks",
                path=task.path,
            )
    return Workflow(tasks, sizes, _machines(execution, where), names)


def _read_joined(workflow: Mapping[str, Any]) -> Workflow:
    """Read version 1.3 or 1.4."""
    tasks: list[Task] = []
    sizes: dict[str, int] = {}
    for path, record in _records(workflow, "tasks", "workflow", TASK_KEYS):
        name = as_name(record["name"], "name", f"{path}.name")
        files: dict[str, list[tuple[str, str]]] = {"input": [], "output": []}
        for where, file in _records(record, "files", path, Keys("name link", extra=True)):
            link = file["link"]
            if link not in ("input", "output"):
                raise GraphError(
                    f"link is {units.describe(link)}, expected input or output",
                    path=f"{where}.link",
                )
            folder = as_text(file.get("path", ""), "path", f"{where}.path")
            id_ = folder + as_name(file["name"], "name", f"{where}.name")
            files[link].append((id_, where))
            if id_ not in sizes:  # every task that uses it says so again
                _add_size(sizes, id_, file, where)
        task = Task(
            path,
            name,
            as_text(record.get("category") or name, "category", f"{path}.category"),
            _names(record, "parents", path),
            _names(record, "children", path),
            _unique(files["input"]),
            _unique(files["output"]),
        )
        _add_run(task, record, path)
        tasks.append(task)
    names = _index(tasks)
    for i, (_, record) in enumerate(_records(workflow, "tasks", "workflow", TASK_KEYS)):
        if "id" in record:  # some files refer to tasks by id already
            names.setdefault(str(record["id"]), i)
    return Workflow(tasks, sizes, _machines(workflow, "workflow"), names)


def _records(
    holder: Mapping[str, Any], key: str, path: str, keys: Keys
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the mappings in a list, each with its path; none where there is no list."""
    where = join(path, key)
    for k, item in enumerate(as_list(holder.get(key, ()), key, where)):
        place = f"{where}[{k}]"
        yield place, keys.check(item, f"an entry of {key}", place)


def _names(record: Mapping[str, Any], key: str, path: str) -> tuple[tuple[str, str], ...]:
    """Return the names in a list, each once and with its path."""
    values = record.get(key)
    if not values and values in (None, []):
        return ()
    where = f"{path}.{key}"
    places = ((item, f"{where}[{k}]") for k, item in enumerate(as_list(values, key, where)))
    return _unique((as_name(item, f"an entry of {key}", place), place) for item, place in places)


def _unique(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for name, place in pairs:
        found.setdefault(name, place)
    return tuple(found.items())


def _index(tasks: Sequence[Task]) -> dict[str, int]:
    if not tasks:
        raise GraphError("the workflow has no tasks, expected at least one", path="workflow")
    names: dict[str, int] = {}
    for i, task in enumerate(tasks):
        if task.id in names:
            raise GraphError(
                f"task {task.id!r} is given twice, first as {tasks[names[task.id]].path}, "
                "expected unique tasks",
                path=task.path,
            )
        names[task.id] = i
    return names


def _add_size(sizes: dict[str, int], name: str, record: Mapping[str, Any], path: str) -> None:
    key = "sizeInBytes" if "sizeInBytes" in record else "size"
    if key not in record:
        raise GraphError(f"file {name!r} has no size, expected 'sizeInBytes'", path=path)
    size = units.size(record[key], key, path=f"{path}.{key}")
    if sizes.setdefault(name, size) != size:
        raise GraphError(
            f"file {name!r} has {size} bytes here and {sizes[name]} before, expected one size",
            path=f"{path}.{key}",
        )


def _add_run(task: Task, record: Mapping[str, Any], path: str) -> None:
    """Note how a task ran."""
    key = "runtimeInSeconds" if "runtimeInSeconds" in record else "runtime"
    if key not in record:
        raise GraphError(
            f"task {task.id!r} has no run time, expected 'runtimeInSeconds'", path=path
        )
    task.runtime = units.magnitude(record[key], key, path=f"{path}.{key}")
    for key in ("coreCount", "cores"):
        if record.get(key) is not None:
            task.cores = units.number(record[key], key, path=f"{path}.{key}")
    command = record.get("command")
    if isinstance(command, dict) and isinstance(command.get("program"), str):
        task.program = command["program"]
    machines = record.get("machines") or [record.get("machine")]
    if isinstance(machines, list) and isinstance(machines[0], str):
        task.machine = machines[0]


def _machines(holder: Mapping[str, Any], path: str) -> list[Machine]:
    found: dict[str, Machine] = {}
    for where, record in _records(holder, "machines", path, MACHINE_KEYS):
        name = as_name(record["nodeName"], "nodeName", f"{where}.nodeName")
        if name in found:
            raise GraphError(
                f"machine {name!r} is given twice, first as {found[name].path}, expected unique "
                "machines",
                path=f"{where}.nodeName",
            )
        cpu = as_mapping(record.get("cpu") or {}, "cpu", f"{where}.cpu")
        key = "coreCount" if "coreCount" in cpu else "count"
        cores = units.positive_int(cpu.get(key, 1), key, path=f"{where}.cpu.{key}")
        found[name] = Machine(where, name, cores)
    return list(found.values())
