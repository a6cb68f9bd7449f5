"""What no estimate may exceed: the peak and the bandwidth of a datasheet."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import replace

from talos_opt.frameworks.common.catalogue import lookup, names
from talos_opt.frameworks.common.profile import DeviceProfile, OpProfile, Profile, Timing
from talos_opt.frameworks.common.roofline import with_estimates

SLACK = 1 + 1e-9


def with_random_times(ops: Iterable[OpProfile], seed: int) -> tuple[OpProfile, ...]:
    """Return the ops as if a CPU had taken anything from a nanosecond to a second for each."""
    draw = random.Random(seed)
    times = ((op, 10 ** draw.uniform(-9, 0)) for op in ops)
    return tuple(replace(op, timings={"cpu": Timing(t, t, repeats=5)}) for op, t in times)


def assert_within_datasheets(ops: Iterable[OpProfile], seed: int = 0) -> None:
    """Every estimate, alone and calibrated, leaves every device of the catalogue its limits."""
    plain = Profile("net", "torch", "inference", tuple(replace(op, timings={}) for op in ops), ())
    known = replace(
        plain,
        ops=with_random_times(plain.ops, seed),
        devices=(DeviceProfile("cpu", "cpu", whole_s=1.0),),
    )
    for profile, dtype in ((plain, "fp32"), (known, "fp32"), (known, "fp16")):
        sheets = {f"{name}!": name for name in names()}
        found = with_estimates(profile, sheets, dtype=dtype, measured={"cpu": "i9-13900k"})
        for op in found.ops:
            for device, name in sheets.items():
                seconds, sheet = op.timings[device].time_s, lookup(name)
                assert math.isfinite(seconds)
                peak = max(sheet.peak["fp32"], sheet.peak_for(dtype))
                if seconds > 0:
                    assert (op.flops or 0.0) / seconds <= peak * SLACK, (op, name)
                    assert op.moved_bytes / seconds <= sheet.bandwidth * SLACK, (op, name)
                else:  # a view
                    assert op.output == 0
