"""A model, cards and a workload as a problem: one op for each part, one after another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.units import format_bytes
from talos_opt.frameworks.common.profile import TIME_UNIT
from talos_opt.frameworks.llm.devices import Card, links_of
from talos_opt.frameworks.llm.model import LanguageModel, Part
from talos_opt.frameworks.llm.parts import EMBEDDING, EXPERTS, HEAD
from talos_opt.frameworks.llm.workload import (
    Workload,
    buffer_of,
    cost_of,
    larger_buffers,
    require_devices,
    seconds,
)

_PER_SECOND = 1e6
#: Where a tied embedding is held: once, with the head beside it; or by the head again.
TIED = ("once", "twice")


@dataclass(frozen=True)
class Room:
    """What of each device's memory a model may fill.

    Parameters
    ----------
    fraction : float or None
        None: what the cluster's devices say, or all of it.
    reserve : int
        Bytes of every device to leave free.
    reserves : mapping of str to int
        The same of single devices, in its place.
    """

    fraction: float | None = None
    reserve: int = 0
    reserves: Mapping[str, int] = field(default_factory=dict)


def problem_of(
    model: LanguageModel,
    cards: Sequence[Card],
    load: Workload,
    *,
    room: Room | None = None,
    cluster: Cluster | None = None,
    tied: str | None = None,
    objective: Objective | str = Objective.MAKESPAN,
) -> Problem:
    """Return what is to be solved.

    Ops form a chain: attention, network or experts of a layer run one after another in every
    runtime, wherever they are. Weights and the KV cache are an op's weights; what a runtime needs
    for computing is its workspace, of which a device holds the largest.

    Parameters
    ----------
    model : LanguageModel
    cards : sequence of Card
        Of a cluster, one for each device; see `cards_in`.
    load : Workload
    room : Room, optional
    cluster : Cluster, optional
        Whose devices and links are taken, with latencies in microseconds; default: the catalogue's.
    tied : str, optional
        One of `TIED`.
    objective : Objective or str

    Raises
    ------
    InputError
        If the context is beyond the model's, a reserve or a buffer names an unknown device or
        leaves nothing, or `tied` is not one of `TIED`.
    """
    if tied is None:
        tied = TIED[model.is_gguf]
    if tied not in TIED:
        raise InputError(f"tied is {tied!r}, expected one of {', '.join(TIED)}")
    load.require_limit(model.architecture)
    more = larger_buffers(model, [card.id for card in cards], load)
    for card in cards:
        if card.memory is not None and load.buffers.get(card.id, 0) > card.memory:
            raise InputError(
                f"the buffer of {card.id} is {format_bytes(load.buffers[card.id])}, expected at "
                f"most its memory, {format_bytes(card.memory)}"
            )
    ops: list[Op] = []
    for part in model.parts:
        ops.append(_op(part, model, cards, load, ops[-1].id if ops else None, tied))
    graph = Graph(
        model.name, (Model(model.name, tuple(ops)),), TIME_UNIT,
        description=describe(model, cards, load),
    )  # fmt: skip
    cluster = cluster_of(cards, load, room or Room(), cluster, more)
    return Problem(graph, cluster, Objective(objective), MemoryRule.STATIC)


def _op(
    part: Part,
    model: LanguageModel,
    cards: Sequence[Card],
    load: Workload,
    before: str | None,
    tied: str,
) -> Op:
    beside = load.chunk if model.is_gguf else 0  # llama.cpp keeps a chunk beside a window
    cache = 0
    if part.cache:
        cache = part.cache.cache_bytes(load.context, load.batch, load.kv_bytes, beside)
    again = part.tied.bytes if part.tied is not None and tied == "twice" else 0
    moved = load.passes and hop_bytes(model, load)
    cost = cost_of(part, model, load, load.batch, load.attended)
    attrs: dict[str, Any] = {"module": part.module, "part": part.role}
    if part.also:
        attrs["also"] = list(part.also)
    if before is None:
        attrs["tokens"] = load.batch * (load.generate or load.prompt)
        if model.is_gguf and model.architecture.further:
            attrs["blocks"] = len(model.architecture.layers) + model.architecture.further
    if part.layer is not None:
        attrs["layer"] = part.layer
    attrs["tensors"] = [tensor.name for tensor in part.tensors]
    if part.tied is not None and tied == "twice":
        attrs["copy_of"] = part.tied.name
    attrs |= {"parameters": part.bytes + again, "kv": cache}
    attrs |= {"moved_bytes": round(cost.bytes), "flops": round(cost.flops)}
    return Op(
        id=part.id,
        time={card.id: seconds(part, model, load, card) * _PER_SECOND for card in cards},
        memory=Memory(part.bytes + again + cache, 0, buffer_of(part, model, load)),
        inputs=(Input(before, moved),) if before is not None else (),
        type={EMBEDDING: "embedding", EXPERTS: "experts", HEAD: "linear"}.get(part.role, part.role),
        colocate="tied" if tied == "once" and _is_tied(part, model) else None,
        attrs=attrs,
    )


def _is_tied(part: Part, model: LanguageModel) -> bool:
    shares = any(other.tied is not None for other in model.parts)
    return part.tied is not None or (shares and part.role == EMBEDDING)


def hop_bytes(model: LanguageModel, load: Workload) -> int:
    """Return the bytes that pass between two devices over the whole workload."""
    tokens = load.batch * (load.prompt + load.generate)
    return tokens * model.architecture.hidden * model.activation_bytes


def cluster_of(
    cards: Sequence[Card],
    load: Workload,
    room: Room,
    given: Cluster | None = None,
    more: Mapping[str, int] | None = None,
) -> Cluster:
    """Return the devices and links; a hop that is made many times waits as often.

    Parameters
    ----------
    cards : sequence of Card
    load : Workload
    room : Room
    given : Cluster, optional
        See `problem_of`.
    more : mapping of str to int, optional
        Bytes that the buffers of devices take beside the workspace of ops.
    """
    require_devices(room.reserves, [card.id for card in cards], "reserve")
    bases = {} if given is None else {device.id: device for device in given.devices}
    devices = tuple(
        _device(card, room, bases.get(card.id), (more or {}).get(card.id, 0)) for card in cards
    )
    if given is not None:
        rules = given.links and tuple(
            link if link.via else replace(link, latency=link.latency * load.passes)
            for link in given.links
        )
        return replace(given, devices=devices, links=rules)
    return Cluster(devices, _links(cards, load))


def _links(cards: Sequence[Card], load: Workload) -> tuple[Link, ...]:
    found = links_of(cards)
    direct = {frozenset((link.a, link.b)) for link in found}
    host = next((card.id for card in cards if card.kind == "cpu"), None)
    rules = [
        Link(link.a, link.b, link.latency_s * load.passes * _PER_SECOND, link.bandwidth)
        for link in found
    ]
    for k, a in enumerate(cards):
        for b in cards[k + 1 :]:
            if host not in (None, a.id, b.id) and frozenset((a.id, b.id)) not in direct:
                rules.append(Link(a.id, b.id, via=host))
    return tuple(rules)


def _device(card: Card, room: Room, base: Device | None, more: int) -> Device:
    device = Device(card.id, card.kind) if base is None else base
    if card.memory is None:
        return device
    fraction = device.memory_fraction if room.fraction is None else room.fraction
    reserve = room.reserves.get(card.id, room.reserve)
    if reserve >= card.memory * fraction:
        raise InputError(
            f"{card.id} has {format_bytes(card.memory)}: nothing is left with a memory fraction of "
            f"{fraction:g} and {format_bytes(reserve)} in reserve"
        )
    left = card.memory - math.ceil((reserve + more) / fraction)
    return replace(device, memory=max(left, 0), memory_fraction=fraction)


def describe(model: LanguageModel, cards: Sequence[Card], load: Workload) -> str:
    """Return what the graph was made of, in words."""
    what = {
        "decode": f"a token for each of {load.batch} sequences at {load.context} tokens of context",
        "prefill": f"{load.batch} prompts of {load.prompt} tokens",
        "both": f"{load.batch} prompts of {load.prompt} tokens, and {load.generate} tokens from "
        "each",
    }[load.phase]
    parts = [
        f"{model.architecture.name}, {model.total_bytes} bytes of parameters",
        what,
        f"room for {load.context} tokens of context in {load.kv_type}",
    ]
    parts += [f"{card.id}: {card.measured}" for card in cards if card.measured]
    for card in cards:
        if card.sheet is not None:
            parts.append(f"{card.id}: {card.sheet.title}; source: {card.sheet.source.strip()}")
    return "; ".join(parts)
