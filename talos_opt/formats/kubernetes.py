"""Kubernetes manifests: a Job for each model of a schedule, and a ConfigMap with its schedule.

GPUs are asked for whole (``nvidia.com/gpu``), in shares by KubeShare's SharePods, or in shares by
HAMi's resources. Amounts are requests, not limits, but for GPUs, of which Kubernetes takes limits
alone.
"""

from __future__ import annotations

import base64
import gzip
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import yaml

from talos_opt.core.errors import InputError
from talos_opt.core.metrics import forced_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result, Status
from talos_opt.core.schedule import Schedule
from talos_opt.formats.kubernetes_names import (
    exact_quantity,
    legal_name,
    require_label_value,
    unique_names,
)
from talos_opt.formats.kubernetes_needs import DeviceNeed, ModelNeed, hundredths, model_needs
from talos_opt.formats.schedule import json_lines
from talos_opt.formats.source import split_suffix
from talos_opt.formats.target import write_json, write_lines

#: Most bytes that a ConfigMap holds, by Kubernetes' own rule.
MOST_BYTES = 2**20
#: Up to this size a schedule stays text. ``kubectl apply`` copies all into an annotation, of which
#: it takes 256 KiB.
_MOST_TEXT = 2**17

#: Frameworks whose models ``talos-opt run`` runs, with what each calls the Nth GPU of a pod.
FRAMEWORKS = {"torch": "cuda:{}", "tensorflow": "gpu:{}", "onnx": "cuda:{}"}

_FOLDER = "/etc/talos-opt"
_HOST = "kubernetes.io/hostname"


class Shares(StrEnum):
    """How GPUs are asked for."""

    PLAIN = "plain"
    KUBESHARE = "kubeshare"
    HAMI = "hami"


@dataclass(frozen=True)
class Settings:
    """What manifests need beside a schedule.

    Parameters
    ----------
    image : str
        Container image with talos-opt, the framework and the model.
    run : mapping of str to sequence of str
        For each model what ``talos-opt run`` takes: framework, MODULE:CALLABLE, and arguments.
    shares : Shares
    nodes : mapping of str to str
        Node of a device; devices that are not named may be on any.
    """

    image: str
    run: Mapping[str, Sequence[str]]
    shares: Shares = Shares.PLAIN
    nodes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.image or re.search(r"\s", self.image):
            raise InputError(f"image is {self.image!r}, expected the name of a container image")
        for node in self.nodes.values():
            require_label_value(node, "the name of a node")
        for model, words in self.run.items():
            _require_run(model, words)


@dataclass(frozen=True)
class Manifests:
    """Objects in the order in which they are to be made, and what a reader should know of them."""

    objects: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    def count(self, kind: str) -> int:
        """Return how many objects are of a kind."""
        return sum(item["kind"] == kind for item in self.objects)


def manifests(problem: Problem, schedule: Schedule, settings: Settings) -> Manifests:
    """Return the manifests of a schedule.

    Raises
    ------
    InputError
        If it is not said what a model runs, its devices are on several nodes, a share is asked of
        several GPUs, or its schedule is too large for a ConfigMap.
    """
    models = problem.graph.model_ids
    for model in settings.run:
        if model not in models:
            raise InputError(f"the graph has no model {model!r}, expected one of {_some(models)}")
    for model in models:
        if model not in settings.run:
            raise InputError(
                f"it is not said what model {model!r} runs, expected its arguments of talos-opt "
                f"run: --run '{model}=torch MODULE:CALLABLE'"
            )
    needs = list(model_needs(problem, schedule))
    graph = problem.graph.name
    parts = [(graph,) if [graph] == list(models) else (graph, model) for model in models]
    names = unique_names([legal_name(*part) for part in parts])
    shares = _shares_of(needs)
    objects = []
    for need, name in zip(needs, names, strict=True):
        made = _Maker(graph, need, name, settings, shares)
        objects += [made.config_map(), made.workload()]
    return Manifests(tuple(objects), tuple(_notes(problem, needs, settings)))


def write_manifests(found: Manifests, target: str | os.PathLike[str]) -> None:
    """Write manifests as YAML documents, or as a List where the name ends in ``.json``.

    Raises
    ------
    FormatError
        If the target cannot be written.
    """
    if split_suffix(os.fspath(target))[1] == ".json":
        write_json({"apiVersion": "v1", "kind": "List", "items": list(found.objects)}, target)
        return
    text = yaml.dump_all(
        found.objects, Dumper=_Dumper, sort_keys=False, width=10**9, explicit_start=True
    )
    write_lines(text.rstrip("\n").split("\n"), target)


class _Maker:
    """Makes the objects of one model."""

    def __init__(
        self,
        graph: str,
        need: ModelNeed,
        name: str,
        settings: Settings,
        shares: Mapping[tuple[str, str], int],
    ) -> None:
        self.need, self.name, self.settings = need, name, settings
        self.shares = {gpu.id: shares[need.model, gpu.id] for gpu in need.gpus}
        self.shared = settings.shares is Shares.KUBESHARE and bool(need.gpus)
        if self.shared and len(need.gpus) > 1:
            raise InputError(
                f"model {need.model!r} uses {len(need.gpus)} GPUs ({_some(self.shares)}): a "
                "SharePod has a share of one; use --shares hami or plain"
            )
        self.labels = {
            "app.kubernetes.io/name": "talos-opt",
            "app.kubernetes.io/instance": name,
            "app.kubernetes.io/part-of": legal_name(graph),
        }
        self.annotations = {
            "talos-opt/graph": graph,
            "talos-opt/model": need.model,
            "talos-opt/devices": ",".join(device.id for device in need.devices),
        }

    def metadata(self, **annotations: str) -> dict[str, Any]:
        return {
            "name": self.name,
            "labels": dict(self.labels),
            "annotations": self.annotations | annotations,
        }

    def config_map(self) -> dict[str, Any]:
        """Return the ConfigMap of the model's schedule, packed where it is long."""
        text = self._schedule().encode("utf-8")
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata()}
        self.file = "schedule.json"
        if len(text) <= _MOST_TEXT:
            return made | {"data": {self.file: text.decode("utf-8")}}
        self.file += ".gz"
        packed = gzip.compress(text, mtime=0)
        if len(packed) > MOST_BYTES:
            raise InputError(
                f"the schedule of model {self.need.model!r} takes {len(packed)} bytes packed, "
                f"expected at most {MOST_BYTES}: a ConfigMap holds no more"
            )
        return made | {"binaryData": {self.file: base64.b64encode(packed).decode("ascii")}}

    def _schedule(self) -> str:
        problem = self.need.problem
        result = Result(
            problem=problem,
            status=Status.FEASIBLE,
            schedule=self.need.schedule,
            lower_bound=forced_value(problem),
            solver="export",
        )
        return "\n".join([*json_lines(result), ""])

    def workload(self) -> dict[str, Any]:
        """Return the Job, or a SharePod where a share of a GPU is asked of KubeShare."""
        if self.shared:
            (gpu,) = self.need.gpus
            return {
                "apiVersion": "kubeshare.nthu/v1",
                "kind": "SharePod",
                "metadata": self.metadata(
                    **{
                        "kubeshare/gpu_request": f"{self.shares[gpu.id] / 100:.2f}",
                        "kubeshare/gpu_limit": "1.0",
                        "kubeshare/gpu_mem": str(gpu.bytes),
                    }
                ),
                "spec": self._pod(),
            }
        template = {
            "metadata": {"labels": dict(self.labels), "annotations": dict(self.annotations)},
            "spec": self._pod(),
        }
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": self.metadata(),
            # A run whose outputs differ would differ again.
            "spec": {"backoffLimit": 0, "template": template},
        }

    def _pod(self) -> dict[str, Any]:
        container = {
            "name": "run",
            "image": self.settings.image,
            "command": ["talos-opt", "run"],
            "args": [_literal(word) for word in self._arguments()],
            "resources": self._resources(),
            "volumeMounts": [{"name": "plan", "mountPath": _FOLDER, "readOnly": True}],
        }
        node = self._node()
        return {
            "restartPolicy": "Never",
            **({} if node is None else {"nodeSelector": {_HOST: node}}),
            "containers": [container],
            "volumes": [{"name": "plan", "configMap": {"name": self.name}}],
        }

    def _arguments(self) -> list[str]:
        """Return the arguments of ``talos-opt run``; in a pod GPUs are numbered from 0."""
        words = [*self.settings.run[self.need.model], "--schedule", f"{_FOLDER}/{self.file}"]
        if any(word == "--map" or word.startswith("--map=") for word in words):
            return words
        framework = words[0]
        names = {gpu.id: FRAMEWORKS[framework].format(k) for k, gpu in enumerate(self.need.gpus)}
        cpus = [device.id for device in self.need.devices if device.is_cpu]
        if any(not name.startswith("cpu") for name in cpus):
            each = "cpu:{}" if framework == "tensorflow" else "cpu"
            names |= {name: each.format(k) for k, name in enumerate(cpus)}
        for name in names:
            if re.search("[=,]", name):
                raise InputError(f"device {name!r} has one of = and , in its name, as --map has")
        given = ",".join(f"{device}={name}" for device, name in names.items())
        return [*words, "--map", given] if names else words

    def _resources(self) -> dict[str, Any]:
        need, requests = self.need, {"cpu": str(self.need.cores)}
        if need.host_bytes:
            requests["memory"] = exact_quantity(need.host_bytes)
        limits: dict[str, str] = {}
        if need.gpus and not self.shared:
            limits["nvidia.com/gpu"] = str(len(need.gpus))
        if need.gpus and self.settings.shares is Shares.HAMI:
            # Each of the GPUs of a pod gets the same.
            most = max(gpu.bytes for gpu in need.gpus)
            limits["nvidia.com/gpumem"] = str(max(1, -(-most // 2**20)))
            limits["nvidia.com/gpucores"] = str(max(self.shares.values()))
        return {"requests": requests, **({"limits": limits} if limits else {})}

    def _node(self) -> str | None:
        """Return the node of all devices of the model, None if none is named."""
        given = self.settings.nodes
        named = {device.id: given.get(device.id) for device in self.need.devices}
        nodes = set(named.values())
        if len(nodes) > 1:
            where = ", ".join(f"{d} on {n or 'any node'}" for d, n in named.items())
            raise InputError(
                f"model {self.need.model!r} uses devices of several nodes ({where}), expected "
                "one: talos-opt run runs a model on one machine"
            )
        return nodes.pop()


def _require_run(model: str, words: Sequence[str]) -> None:
    if len(words) < 2 or words[0] not in FRAMEWORKS:
        raise InputError(
            f"model {model!r} runs {' '.join(words)!r}, expected a framework "
            f"({', '.join(FRAMEWORKS)}) and MODULE:CALLABLE"
        )
    if any(word == "--schedule" or word.startswith("--schedule=") for word in words):
        raise InputError(f"model {model!r} runs with --schedule, which the manifest gives it")


def _shares_of(needs: Sequence[ModelNeed]) -> dict[tuple[str, str], int]:
    """Return the hundredths of each GPU that each model gets, by model and GPU."""
    by_gpu: dict[str, list[tuple[str, DeviceNeed]]] = {}
    for need in needs:
        for gpu in need.gpus:
            by_gpu.setdefault(gpu.id, []).append((need.model, gpu))
    found: dict[tuple[str, str], int] = {}
    for gpu_id, users in by_gpu.items():
        parts = hundredths([gpu.load for _, gpu in users])
        found |= {(model, gpu_id): part for (model, _), part in zip(users, parts, strict=True)}
    return found


def _notes(problem: Problem, needs: Sequence[ModelNeed], settings: Settings) -> Iterator[str]:
    """Yield where Jobs ask for more than the cluster of the plan has."""
    used = {gpu.id for need in needs for gpu in need.gpus}
    asked = sum(len(need.gpus) for need in needs)
    if settings.shares is Shares.PLAIN and asked > len(used):
        yield (
            f"models that share a GPU in the plan ask for one each: {asked} GPUs in all, where the "
            f"plan has {len(used)}; --shares kubeshare or hami asks for shares"
        )
    for device in problem.cluster.devices:
        limit = device.usable_memory
        sizes = [item.bytes for need in needs for item in need.devices if item.id == device.id]
        if limit is not None and sum(sizes) > limit:
            yield (
                f"the Jobs on {device.id} ask for {sum(sizes)} bytes together, where it has "
                f"{limit}: in the plan models use the same memory one after the other"
            )


def _literal(word: str) -> str:
    """Write an argument so that Kubernetes does not put a variable into it."""
    return word.replace("$", "$$")  # $$ is its escape, wherever it stands


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")


class _Dumper(yaml.SafeDumper):
    """YAML whose texts no reader takes for a number: readers of YAML 1.2 know more of those."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    if _BLOCK.fullmatch(value):
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|")
    style = None if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


#: Texts that are no number, and words that are no text, in any version of YAML.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9 ./_:+=-]*")
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"])
#: Lines that a block scalar holds as they are.
_BLOCK = re.compile(r"(?! )[ -~\n]*[!-~]\n")

_Dumper.add_representer(str, _text)
