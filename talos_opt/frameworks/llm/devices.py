"""Cards as the command line names them: ``24GiB:rtx-3090``, ``8x80GiB:h100``, ``36GB:264GB/s``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from talos_opt.core import units
from talos_opt.core.cluster import Cluster
from talos_opt.core.errors import GraphError, InputError
from talos_opt.frameworks.common.catalogue import PREFIX, identify, links, lookup, numbered
from talos_opt.frameworks.common.datasheets import (
    NETWORK_BANDWIDTH,
    NETWORK_LATENCY_S,
    Datasheet,
)
from talos_opt.frameworks.common.profile import LinkProfile

#: What ``cpu`` alone stands for: a desktop with two channels of DDR5-5600.
CPU = "i9-13900k"
FORM = "[ID=][COUNTx][MEMORY:]DEVICE, such as 2x24GiB:rtx-3090, cpu or 36GB:264.4GB/s"
#: Devices that a command line may list.
_MOST = 256
_SPEC = re.compile(r"(?:(?P<id>[^=:]+)=)?(?:(?P<count>\d+)x)?(?P<rest>[^=:].*)")
_SIZE = re.compile(r"\d+(?:\.\d*)?\s*[kKMGTP]?i?B?")
_RATE = re.compile(r"\d.*/s", re.IGNORECASE)


@dataclass(frozen=True)
class Card:
    """A device and what is known of its speed.

    Parameters
    ----------
    id, kind : str
    memory : int or None
        Bytes that are free; None: no limit.
    sheet : Datasheet or None
    bandwidth : float
        Bytes per second that it reads at, where there is no datasheet: taken as it is.
    peak : float or None
        Operations per second, likewise; None: not given.
    stated : bool
        Whether the memory was given with the device.
    measured : str
        What was found of its speeds, for the graph's description.
    """

    id: str
    kind: str
    memory: int | None
    sheet: Datasheet | None
    bandwidth: float = 0.0
    peak: float | None = None
    stated: bool = False
    measured: str = ""


def parse_cards(specs: Sequence[str]) -> tuple[tuple[Card, ...], tuple[str, ...]]:
    """Return the cards that a command line lists, and what was assumed of them.

    Raises
    ------
    InputError
        If one is not of the form `FORM`, unknown, or named twice.
    """
    drafts: list[_Draft] = []
    notes: list[str] = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        count = int(match["count"] or 1) if match else 0
        if match is None or not 1 <= count <= _MOST:
            raise InputError(f"device {spec!r} is not of the form {FORM}")
        card = _card(match["rest"], spec)
        if card.sheet is not None and card.id == "cpu":
            notes.append(f"cpu is taken to be an {card.sheet.title}: name it, as in cpu={CPU}")
        draft = _Draft(card, match["id"], match["count"] is not None)
        drafts += [draft] * count
        if len(drafts) > _MOST:
            raise InputError(f"there are more than {_MOST} devices")
    if not drafts:
        raise InputError(f"no device is given, expected some of the form {FORM}")
    return _distinct(drafts), tuple(notes)


class _Draft(NamedTuple):
    """A card whose id may yet have to be numbered."""

    card: Card
    given: str | None
    counted: bool


def _distinct(drafts: Sequence[_Draft]) -> tuple[Card, ...]:
    """Number devices of one name; refuse names that somebody gave twice."""
    several = Counter(draft.card.id for draft in drafts if draft.given is None)
    taken = {draft.given for draft in drafts if draft.given and not draft.counted}
    next_: Counter[str] = Counter()
    found: dict[str, Card] = {}
    for card, given, counted in drafts:
        name = stem = given or card.id
        if counted or (given is None and (several[stem] > 1 or stem in taken)):
            name = numbered(stem, next_[stem])
            while given is None and (name in found or name in taken):
                next_[stem] += 1
                name = numbered(stem, next_[stem])
            next_[stem] += 1
        if name in found:
            raise InputError(f"two devices are called {name!r}, expected different names")
        found[name] = replace(card, id=name)
    return tuple(found.values())


def _card(text: str, spec: str) -> Card:
    first, colon, rest = text.partition(":")
    memory = None
    if colon and _SIZE.fullmatch(first):
        memory = _amount(first, spec)
        text = rest
    if text.startswith(PREFIX):
        text = text[len(PREFIX) :]
    if _RATE.fullmatch(text.partition(":")[0]):
        return _own(text, memory, spec)
    stated = memory is not None
    if text == "cpu":
        return Card("cpu", "cpu", memory, lookup(CPU), stated=stated)
    sheet = lookup(text)
    return Card(sheet.name, sheet.kind, memory if stated else sheet.memory, sheet, stated=stated)


def _own(text: str, memory: int | None, spec: str) -> Card:
    """Read a device that is in no catalogue: how fast it reads and, if given, computes."""
    rate, _, peak = text.partition(":")
    try:
        bandwidth = units.bandwidth(rate, "the bandwidth")
    except GraphError as error:
        raise InputError(f"device {spec!r}: {error}") from None
    flops = None
    if peak:
        match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*TFLOPS?", peak, re.IGNORECASE)
        if match is None or not float(match[1]):
            raise InputError(f"device {spec!r}: {peak!r} is not a speed such as 80TFLOPS")
        flops = float(match[1]) * 1e12
    return Card("device", "gpu", memory, None, bandwidth, flops, memory is not None)


def _amount(text: str, spec: str) -> int:
    try:
        return units.size(text, "the memory", capacity=True)
    except GraphError as error:
        raise InputError(f"device {spec!r}: {error}") from None


def cards_in(cluster: Cluster, cards: Sequence[Card]) -> tuple[tuple[Card, ...], tuple[str, ...]]:
    """Return a card for each device of a cluster, in its order, and what was assumed of them.

    A card's memory is what was stated with it, else the cluster's, else its datasheet's. A device
    that no card is named after is what the catalogue calls by its id or kind; one of kind cpu
    may be `CPU`.

    Raises
    ------
    InputError
        If a card is not in the cluster, or nothing says how fast a device is.
    """
    named = {card.id: card for card in cards}
    for name, given in named.items():
        if name not in cluster.index:
            what = "36GB:264.4GB/s" if given.sheet is None else given.sheet.name
            raise InputError(
                f"the cluster has no device {name!r}, it has {', '.join(cluster.index)}: name the "
                f"one that is meant, as in {next(iter(cluster.index))}={what}"
            )
    found: list[Card] = []
    notes: list[str] = []
    for device in cluster.devices:
        card = named.get(device.id)
        if card is None:
            sheet = identify(device.id) or identify(device.kind)
            if sheet is None and device.kind == "cpu":
                sheet = lookup(CPU)
                notes.append(f"{device.id} is taken to be an {sheet.title}: name it, as in "
                             f"--devices {device.id}={CPU}")  # fmt: skip
            if sheet is None:
                raise InputError(
                    f"nothing says how fast {device.id!r} of the cluster is: name it, as in "
                    f"--devices {device.id}=rtx-3090"
                )
            card = Card(device.id, sheet.kind, sheet.memory, sheet)
        if device.memory is not None and not card.stated:
            card = replace(card, memory=device.memory)
        found.append(card)
    return tuple(found), tuple(notes)


def links_of(cards: Sequence[Card]) -> tuple[LinkProfile, ...]:
    """Return the links between cards: the catalogue's, and a network where a card is in none."""
    sheets = {card.id: card.sheet for card in cards if card.sheet is not None}
    host = next((card.id for card in cards if card.kind == "cpu"), None)
    found = list(links(sheets, host))
    for k, a in enumerate(cards):
        for b in cards[k + 1 :]:
            if a.sheet is None or b.sheet is None:
                found.append(
                    LinkProfile(a.id, b.id, NETWORK_LATENCY_S, NETWORK_BANDWIDTH, estimated=True)
                )
    return tuple(found)
