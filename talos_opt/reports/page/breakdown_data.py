"""Where the time goes, as the plain values that `where.js` draws."""

from __future__ import annotations

import math

from talos_opt.analysis.breakdown import Breakdown
from talos_opt.analysis.gaps import Part
from talos_opt.reports.page.data import Json
from talos_opt.reports.parts import COLOURS, WORDS

#: Ops and transfers of the critical path that are listed.
LONGEST = 10


def part_keys() -> list[Json]:
    """Return the key, the name and the colour of each part, in their order; null: an empty box."""
    return [
        {"key": part.name.lower(), "name": WORDS[part], "colour": COLOURS.get(part)}
        for part in Part
    ]


def breakdown_data(found: Breakdown, *, whole: bool) -> Json:
    """Return a breakdown by the numbers of ops, devices and rows of transfers.

    Parameters
    ----------
    found : Breakdown
    whole : bool
        Also when models are done and what weighs most, which a report shows.
    """
    path, gaps = found.path, found.gaps
    ranked = sorted(path.stretches, key=lambda item: -item.length)[:LONGEST]
    data: Json = {
        "span": found.span,
        "devices": [
            {
                "parts": list(item.parts),
                "waits": [
                    [int(wait.part), wait.time, wait.op, wait.transfer] for wait in item.waits
                ],
            }
            for item in found.devices
        ],
        "gaps": {name: column.tolist() for name, column in vars(gaps).items()},
        "path": {
            "end": path.end,
            "compute": path.compute,
            "transfer": path.transfer,
            "release": path.release,
            "gap": path.gap,
            "queue": path.queue,
            "ops": sum(item.transfer < 0 for item in path.stretches),
            "transfers": sum(item.transfer >= 0 for item in path.stretches),
            "device": [[d, time] for d, time in path.by_device.items()],
            "link": [[a, b, time] for (a, b), time in path.by_link.items()],
            "type": [[name, time] for name, time in path.by_type.items() if name],
            "longest": [[item.op, item.transfer, item.length, int(item.cause)] for item in ranked],
        },
    }
    return data | (_weights(found) if whole else {})


def _weights(found: Breakdown) -> Json:
    length = found.schedule.end - found.schedule.start
    return {
        "models": [
            {
                "done": item.completion,
                "weight": item.weight,
                "share": item.share,
                "slack": item.slack if math.isfinite(item.slack) else None,
                "bound": item.bound,
            }
            for item in found.models
        ],
        "peaks": [
            {
                "bytes": item.bytes,
                "time": item.time,
                "weights": item.weights,
                "holds": [[held.what, held.op, held.output, held.bytes] for held in item.holdings],
            }
            for item in found.peaks
        ],
        "moved": [[item.op, item.hops, item.bytes, item.time] for item in found.moved],
        "types": [[item.type, item.ops, item.time] for item in found.types],
        "computed": float(length.sum()),
    }
