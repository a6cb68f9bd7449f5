"""A part of a view: some of its devices, and the links between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Bools, Ints
from talos_opt.reports.view import View


def only_devices(view: View, names: Iterable[str]) -> View:
    """Return what a view shows of some devices: their ops, and the transfers between them.

    Parameters
    ----------
    view : View
    names : iterable of str
        Ids of devices, or kinds: ``gpu`` stands for ``gpu0``, ``gpu1`` and so on. The order stays
        that of the view.

    Raises
    ------
    InputError
        If there is no device of a name.
    """
    devices = np.zeros(len(view.devices), dtype=bool)
    for name in names:
        here = [
            k
            for k, device in enumerate(view.devices)
            if device == name or (device.startswith(name) and device[len(name) :].isdigit())
        ]
        if not here:
            known = ", ".join(view.devices[:12]) + (", ..." if len(view.devices) > 12 else "")
            raise InputError(f"there is no device {name!r}, expected some of {known}")
        devices[here] = True
    op = devices[view.op_device]
    sent = devices[view.transfer_source] & devices[view.transfer_target]
    # An op that is not shown may still be the one whose tensor is.
    named = op.copy()
    named[view.transfer_op[sent]] = True
    return _cut(view, devices, op, named, sent)


def _cut(view: View, devices: Bools, op: Bools, named: Bools, sent: Bools) -> View:
    kept = {view.devices[d] for d in np.flatnonzero(devices).tolist()}
    lane = np.array(
        [item.device in kept and not item.link for item in view.lanes], dtype=bool
    ).reshape(len(view.lanes))
    lane[view.transfer_lane[sent]] = True
    to_lane, to_op, to_move = _numbers(lane), _numbers(named), _numbers(sent)
    to_device = _numbers(devices)
    more, hold = op[view.more_op], sent[view.hold_transfer] & lane[view.hold_lane]
    ops = np.flatnonzero(named).tolist()
    return replace(
        view,
        lanes=tuple(view.lanes[k] for k in np.flatnonzero(lane).tolist()),
        facts={"ops": len(view.op_names), "transfers": len(view.transfer_op)} | dict(view.facts),
        op_names=tuple(view.op_names[i] for i in ops),
        op_types=tuple(view.op_types[i] for i in ops),
        op_origins=tuple(view.op_origins[i] for i in ops) if view.op_origins else (),
        op_model=view.op_model[named],
        # -1: an op of another device, of which a tensor comes here.
        op_device=np.where(op, to_device[view.op_device], -1)[named],
        op_lane=np.where(op, to_lane[view.op_lane], -1)[named],
        op_lanes=view.op_lanes[named],
        op_start=view.op_start[named],
        op_end=view.op_end[named],
        devices=tuple(name for name in view.devices if name in kept),
        kinds=tuple(kind for kind, here in zip(view.kinds, devices, strict=True) if here),
        idle=view.idle[devices],
        slots=view.slots[devices],
        transfer_op=to_op[view.transfer_op[sent]],
        transfer_lane=to_lane[view.transfer_lane[sent]],
        transfer_start=view.transfer_start[sent],
        transfer_end=view.transfer_end[sent],
        transfer_bytes=view.transfer_bytes[sent],
        transfer_source=to_device[view.transfer_source[sent]],
        transfer_target=to_device[view.transfer_target[sent]],
        memory=tuple(curve for curve in view.memory if curve.device in kept),
        critical_ops=to_op[view.critical_ops[op[view.critical_ops]]],
        critical_transfers=to_move[view.critical_transfers[sent[view.critical_transfers]]],
        more_op=to_op[view.more_op[more]],
        more_lane=to_lane[view.more_lane[more]],
        more_lanes=view.more_lanes[more],
        hold_transfer=to_move[view.hold_transfer[hold]],
        hold_lane=to_lane[view.hold_lane[hold]],
    )


def _numbers(chosen: Bools) -> Ints:
    """New number of each that is chosen."""
    return np.asarray(np.cumsum(chosen) - 1)
