"""Reader of the ten pairs of models that Talos (ASAP 2021) published measurements of.

Two JSON files in one folder: ``op_sequences.json`` holds each model as packed segments in their
order, with their times on the CPU and on the GPU in microseconds; ``reference.json`` lists the
pairs, under ``pairs_recomputed_tv20``, with values recomputed from those times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talos_opt import Cluster, Device, Graph, Input, Model, Op, Problem

#: The packing that the pairs were recomputed for: sv from 0.5 to 2, tv of 20 ms.
SET = "sv0.5-2_tv20ms"
_FULL_NAME = {"resnet": "resnet50"}
#: The stored SqueezeNet lacks its first segment, which the data give beside it.
_CUT_SHORT = "squeezenet"
_FILES = ("op_sequences.json", "reference.json")


@dataclass(frozen=True)
class Pair:
    """Two models on one CPU and one GPU, as chains of segments.

    Parameters
    ----------
    problem : Problem
        In microseconds; tensors move in no time.
    split : float
        TOCT of the first model alone on the GPU and the second alone on the CPU, the base of
        all published reductions.
    reference : mapping
        Recomputed values: ``opt_toct``, ``aswm_pct``, ``tsam_pct_nodouble``, ...
    """

    problem: Problem
    split: float
    reference: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Both models."""
        return self.problem.graph.name

    def reduction(self, toct: float) -> float:
        """Return by how many percent a TOCT lies below `split`."""
        return 100.0 * (1.0 - toct / self.split)


def load_pairs(folder: Path) -> list[Pair]:
    """Read all pairs.

    Parameters
    ----------
    folder : path
        Holds both files.

    Raises
    ------
    FileNotFoundError
        Naming the file that is missing.
    """
    for name in _FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no {name}, expected {' and '.join(_FILES)}")
    sequences, reference = (json.loads((folder / name).read_text("utf-8")) for name in _FILES)
    segments = _segments(sequences["sets"][SET])
    return [_pair(segments, row) for row in reference["pairs_recomputed_tv20"] if _is_complete(row)]


def _segments(stored: Mapping[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """CPU and GPU time of every segment of each model."""
    models = {
        name: list(zip(times["cpu"], times["gpu"], strict=True))
        for name, times in stored["models"].items()
    }
    first = stored[f"{_CUT_SHORT}_missing_first_segment"]
    models[_CUT_SHORT].insert(0, (first["cpu"], first["gpu"]))
    return models


def _is_complete(row: Mapping[str, Any]) -> bool:
    """Pairs with SqueezeNet are listed twice; those without its first segment are left out."""
    whole = row["arrays"] != "stored"
    return whole or _CUT_SHORT not in (row["gpu_model"], row["cpu_model"])


def _pair(segments: Mapping[str, list[tuple[float, float]]], row: Mapping[str, Any]) -> Pair:
    names = (row["gpu_model"], row["cpu_model"])
    models = tuple(_chain(name, segments[_FULL_NAME.get(name, name)]) for name in names)
    cluster = Cluster((Device("cpu0", "cpu"), Device("gpu0", "gpu")))
    problem = Problem(Graph("+".join(names), models, time_unit="us"), cluster)
    return Pair(problem, row["split_toct"], row)


def _chain(name: str, segments: list[tuple[float, float]]) -> Model:
    ops = tuple(
        Op(f"s{i}", {"cpu": cpu, "gpu": gpu}, inputs=(Input(f"s{i - 1}"),) if i else ())
        for i, (cpu, gpu) in enumerate(segments)
    )
    return Model(name, ops)
