"""How the parts of the makespan look and what they are called, in pictures and in pages."""

from __future__ import annotations

from talos_opt.analysis.gaps import Part

#: Colour of each part; from those of Okabe and Ito, with greys for what is idle.
COLOURS = {
    Part.COMPUTE: "#0072b2",
    Part.TRANSFER: "#56b4e9",
    Part.RELEASE: "#b3a300",
    Part.INPUT: "#e69f00",
    Part.ARRIVAL: "#d55e00",
    Part.MEMORY: "#009e73",
    Part.SLOT: "#cc79a7",
    Part.ORDER: "#8a94a0",
    Part.TAIL: "#d5dae0",
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
