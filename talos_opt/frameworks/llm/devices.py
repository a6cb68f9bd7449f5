"""Cards as the command line names them: ``24GiB:rtx-3090``, ``8x80GiB:h100``, ``36GB:264GB/s``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from talos_opt.core import units
from talos_opt.core.errors import GraphError, InputError
from talos_opt.frameworks.common.catalogue import PREFIX, links, lookup, numbered
from talos_opt.frameworks.common.datasheets import (
    NETWORK_BANDWIDTH,
    NETWORK_LATENCY_S,
    Datasheet,
)
from talos_opt.frameworks.common.profile import LinkProfile

#: What ``cpu`` alone stands for: a desktop with two channels of DDR5-5600.
CPU = "i9-13900k"
FORM = "[ID=][COUNTx][MEMORY:]DEVICE, such as 2x24GiB:rtx-3090, cpu or 36GB:264.4GB/s"
_SPEC = re.compile(r"(?:(?P<id>[^=:]+)=)?(?:(?P<count>\d+)x)?(?P<rest>.+)")
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
    """

    id: str
    kind: str
    memory: int | None
    sheet: Datasheet | None
    bandwidth: float = 0.0
    peak: float | None = None


def parse_cards(specs: Sequence[str]) -> tuple[tuple[Card, ...], tuple[str, ...]]:
    """Return the cards that a command line lists, and what was assumed of them.

    Raises
    ------
    InputError
        If one is not of the form `FORM`, unknown, or named twice.
    """
    drafts: list[tuple[str | None, Card]] = []
    notes: list[str] = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        count = int(match["count"] or 1) if match else 0
        if match is None or not 1 <= count <= 1024:
            raise InputError(f"device {spec!r} is not of the form {FORM}")
        card = _card(match["rest"], spec)
        stem = match["id"] or card.id
        if card.sheet is not None and card.id == "cpu":
            notes.append(f"cpu is taken to be a {card.sheet.title}: name it, as in cpu={CPU}")
        single = count == 1 and match["count"] is None
        for k in range(count):
            name = stem if single else numbered(stem, k)
            drafts.append((match["id"], Card(name, card.kind, card.memory, card.sheet,
                                             card.bandwidth, card.peak)))  # fmt: skip
    return _distinct(drafts), tuple(notes)


def _distinct(drafts: Sequence[tuple[str | None, Card]]) -> tuple[Card, ...]:
    """Number devices of one name; refuse names that somebody gave twice."""
    listed = [card.id for _, card in drafts]
    found: dict[str, Card] = {}
    for given, card in drafts:
        name = card.id
        if listed.count(name) > 1 or name in found:
            if given:
                raise InputError(f"two devices are called {name!r}: name them, as in NAME={name}")
            stem, k = re.sub(r"-?\d+$", "", name) if name not in listed else name, 0
            while numbered(stem, k) in found or numbered(stem, k) in listed:
                k += 1
            name = numbered(stem, k)
        found[name] = Card(name, card.kind, card.memory, card.sheet, card.bandwidth, card.peak)
    if not found:
        raise InputError(f"no device is given, expected some of the form {FORM}")
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
    if text == "cpu":
        return Card("cpu", "cpu", memory, lookup(CPU))
    sheet = lookup(text)
    return Card(sheet.name, sheet.kind, sheet.memory if memory is None else memory, sheet)


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
    return Card("device", "gpu", memory, None, bandwidth, flops)


def _amount(text: str, spec: str) -> int:
    try:
        return units.size(text, "the memory", capacity=True)
    except GraphError as error:
        raise InputError(f"device {spec!r}: {error}") from None


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
