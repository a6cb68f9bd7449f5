"""How the parts of the makespan look and what they are called, in pictures and in pages."""

from __future__ import annotations

from talos_opt.analysis.gaps import Part
from talos_opt.reports.style import PALETTE

_BLUE, _ORANGE, _GREEN, _INDIGO, _RED, _SKY, _GREY, _STEEL = PALETTE

#: Colour of each part, in light and dark; what nothing is left for is an empty box. Work is grey,
#: so that waits stand out, and the colours of the first two models are those of rare parts.
COLOURS = {
    Part.COMPUTE: _GREY,
    Part.TRANSFER: _STEEL,
    Part.RELEASE: _SKY,
    Part.INPUT: _INDIGO,
    Part.ARRIVAL: _RED,
    Part.MEMORY: _GREEN,
    Part.SLOT: _ORANGE,
    Part.ORDER: _BLUE,
}

#: What a device does in each part, or waits for.
WORDS = {
    Part.COMPUTE: "computes",
    Part.TRANSFER: "held by transfers",
    Part.RELEASE: "waits for a release",
    Part.INPUT: "waits for an input to be made",
    Part.ARRIVAL: "waits for a transfer",
    Part.MEMORY: "waits for memory",
    Part.SLOT: "waits for a slot",
    Part.ORDER: "idle by the order",
    Part.TAIL: "nothing left to start",
}
