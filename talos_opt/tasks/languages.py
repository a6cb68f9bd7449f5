"""`talos_opt.profile_llm`: the graph of a language model from its files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from talos_opt import formats
from talos_opt.core import logs
from talos_opt.core.errors import InputError
from talos_opt.frameworks.llm.calibrating import Calibration, calibrate
from talos_opt.frameworks.llm.devices import FORM, Card, cards_in, parse_cards
from talos_opt.frameworks.llm.graph import Room, problem_of
from talos_opt.frameworks.llm.measurements import read_measurements
from talos_opt.frameworks.llm.model import LanguageModel, read_model
from talos_opt.frameworks.llm.workload import CHUNK, Workload

if TYPE_CHECKING:
    from talos_opt.core.cluster import Cluster
    from talos_opt.core.problem import Problem


@dataclass(frozen=True)
class Setting:
    """A language model and what it runs on.

    Parameters
    ----------
    model : LanguageModel
    cards : tuple of Card
    cluster : Cluster or None
        None: the catalogue's links.
    notes : tuple of str
        What has to be said of them.
    calibration : Calibration or None
        What was found of the cards' speeds.
    """

    model: LanguageModel
    cards: tuple[Card, ...]
    cluster: Cluster | None
    notes: tuple[str, ...]
    calibration: Calibration | None = None

    def problem(self, load: Workload, room: Room, tied: str | None) -> Problem:
        """Return the problem that a workload makes of it."""
        return problem_of(self.model, self.cards, load, room=room, cluster=self.cluster, tied=tied)


def open_setting(
    model: str | os.PathLike[str],
    devices: Sequence[str],
    *,
    cluster: str | os.PathLike[str] | None = None,
    expert_groups: int = 1,
    measured: str | os.PathLike[str] | None = None,
    kv_type: str = "f16",
    chunk: int = CHUNK,
) -> Setting:
    """Read a model and the devices that are named; `profile_llm` says what they are.

    Parameters
    ----------
    measured : path, optional
        File of tokens per second, which the cards' speeds are fitted to, with `kv_type` and
        `chunk`.

    Raises
    ------
    InputError
    """
    if isinstance(devices, str):
        raise InputError(f"devices is the text {devices!r}, expected a sequence of texts")
    if not devices and cluster is None:
        raise InputError(f"there are no devices, expected some of the form {FORM}")
    opened = read_model(os.fspath(model), groups=expert_groups)
    cards, notes = parse_cards(devices) if devices else ((), ())
    given = None
    if cluster is not None:
        given = formats.read_cluster(os.fspath(cluster))
        cards, more = cards_in(given, cards)
        notes = (*notes, *more)
    notes = (*notes, *opened.notes)
    if measured is None:
        return Setting(opened, cards, given, notes)
    rows = read_measurements(os.fspath(measured), opened, [card.id for card in cards])
    load = Workload(1, kv_type=kv_type, chunk=chunk)
    try:
        found = calibrate(opened, cards, rows, load, given)
    except InputError as error:
        raise InputError(f"{measured}: {error}") from None
    return Setting(opened, found.cards, given, notes, found)


def profile_llm(
    model: str | os.PathLike[str],
    devices: Sequence[str],
    context: int,
    *,
    batch: int = 1,
    phase: str = "decode",
    prompt: int = 0,
    generate: int = 0,
    kv_type: str = "f16",
    chunk: int = CHUNK,
    buffer: int | None = None,
    buffers: Mapping[str, int] | None = None,
    tied: str | None = None,
    expert_groups: int = 1,
    cluster: str | os.PathLike[str] | None = None,
    calibrate: str | os.PathLike[str] | None = None,
    memory_fraction: float | None = None,
    reserve: int = 0,
    reserves: Mapping[str, int] | None = None,
) -> Problem:
    """Make the graph of a language model from its files: ``talos-opt profile llm``.

    No weights are read, and no framework is imported. What is assumed of model or devices is told
    to the logger ``talos_opt``, as events ``note``.

    Parameters
    ----------
    model : str or path
        A GGUF file, a ``config.json``, an index, a safetensors file, or a folder.
    devices : sequence of str
        Such as ``12GiB:rtx-3060`` or ``gpu0=a100``, each with the memory that is free there;
        empty with a `cluster` that names cards.
    context : int
        Tokens that each sequence keeps at most: memory is counted for them.
    batch : int
        Sequences.
    phase : {'decode', 'prefill', 'both'}
        What times are of: a token at the whole context, a prompt, or both.
    prompt, generate : int
        Tokens of a prompt, and generated after it; 0: `context`, and what is left of it.
    kv_type : str
        Of the KV cache, such as ``q8_0``.
    chunk : int
        Tokens of a prompt that go through together.
    buffer : int, optional
        Bytes that the runtime needs on each device in use; default: estimated.
    buffers, reserves : mapping of str to int, optional
        `buffer` and `reserve` of single devices.
    tied : {'once', 'twice'}, optional
        How often a tied embedding is held; default: as the runtime of the file's kind does.
    expert_groups : int
        Parts that the experts of a layer are split into.
    cluster : str or path, optional
        Cluster file with the devices, their memory and links; default: those of the catalogue.
    calibrate : str or path, optional
        File of measured tokens per second, which the devices' speeds are fitted to.
    memory_fraction : float, optional
        Share of each device's memory that may be filled; default: all, or what the cluster says.
    reserve : int
        Bytes of each device to leave free beside that.

    Returns
    -------
    Problem
        In which a token, or a step, is one sample.

    Raises
    ------
    InputError
        If a file cannot be read, or an argument is not what it is to be.
    """
    setting = open_setting(
        model, devices, cluster=cluster, expert_groups=expert_groups, measured=calibrate,
        kv_type=kv_type, chunk=chunk,
    )  # fmt: skip
    for note in setting.notes:
        logs.tell("note", note)
    load = Workload(
        context, batch, phase, prompt, generate, kv_type, chunk, buffer, dict(buffers or {})
    )
    return setting.problem(load, Room(memory_fraction, reserve, dict(reserves or {})), tied)
