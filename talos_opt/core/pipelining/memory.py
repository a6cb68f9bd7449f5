"""The bytes that each device of a pipeline needs."""

from __future__ import annotations

import numpy as np

from talos_opt.core import occupancy
from talos_opt.core.columns import BACKWARD, FORWARD, PHASES
from talos_opt.core.pipelining.settings import PipelineSchedule
from talos_opt.core.pipelining.stages import PipelineStages, Send
from talos_opt.core.problem import Bools, Ints

#: What micro-batches hold beyond these bytes fits nowhere, and would not fit into 64 bits.
MOST_BYTES = 2**62


def memory_of(stages: PipelineStages, schedule: PipelineSchedule, microbatches: int) -> Ints:
    """Return the bytes that each device needs (m,).

    Weights; for every micro-batch in flight its stash: what forward ops have made, here or
    elsewhere, that a backward op reads here; and the most of all else that is alive in a block.
    """
    flight = np.full(stages.arrays.device_count, microbatches)
    if schedule is PipelineSchedule.ONE_F_ONE_B:
        # Only blocks in turn hold a stage back: one that has no such blocks may run ahead.
        turns = _runs(stages, FORWARD) & _runs(stages, BACKWARD)
        flight[turns] = np.minimum(microbatches, stages.behind + 1)[turns]
    weights = occupancy.resident_weights(stages.problem, stages.device)
    stashed = _stashed(stages)
    stash = np.minimum(_stash(stages, stashed), MOST_BYTES // flight) * flight
    return np.asarray(weights + stash + _block_peak(stages, stashed))


def _runs(stages: PipelineStages, phase: int) -> Bools:
    """Whether each device has ops of a phase (m,)."""
    counts = np.bincount(stages.device[stages.phase == phase], minlength=stages.arrays.device_count)
    return np.asarray(counts > 0)


def _copy(stages: PipelineStages, send: Send) -> int:
    """Bytes that a copy holds where it has been received."""
    division = stages.arrays.division
    return send.size if division is None else -(-send.size // int(division.tensors[send.target]))


def _stashed(stages: PipelineStages) -> Ints:
    """Tensors of forward ops that a backward op reads, wherever it is (t',)."""
    arrays = stages.arrays
    kept = (stages.phase[arrays.edge_src] == FORWARD) & (stages.phase[arrays.edge_dst] == BACKWARD)
    return np.unique(arrays.edge_tensor[kept])


def _stash(stages: PipelineStages, own: Ints) -> Ints:
    """Bytes that a device keeps of each micro-batch from forwards to backwards (m,)."""
    arrays = stages.arrays
    found = np.zeros(arrays.device_count, dtype=np.int64)
    home = stages.device[arrays.tensor_op[own]]
    np.add.at(found, home, arrays.bytes_at(arrays.tensor_size[own], home))
    for (_, phase), sends in stages.sends.items():
        for send in sends:
            if send.is_stashed(phase):
                found[send.target] += _copy(stages, send)
    return found


def _block_peak(stages: PipelineStages, stashed: Ints) -> Ints:
    """Most bytes alive, without the stash, while each device runs its blocks op by op (m,)."""
    arrays = stages.arrays
    order = arrays.order[np.argsort(stages.phase[arrays.order], kind="stable")]
    place = np.empty(arrays.op_count, dtype=np.int64)
    place[order] = np.arange(arrays.op_count)
    ends = np.cumsum(np.bincount(stages.phase, minlength=len(PHASES)))
    begins = ends - np.bincount(stages.phase, minlength=len(PHASES))
    local = stages.device[arrays.edge_src] == stages.device[arrays.edge_dst]
    last = place[arrays.tensor_op].copy()
    np.maximum.at(last, arrays.edge_tensor[local], place[arrays.edge_dst[local]])
    # What goes elsewhere is sent when its block has ended.
    sent = np.unique(arrays.edge_tensor[~local])
    last[sent] = np.maximum(last[sent], ends[stages.phase[arrays.tensor_op[sent]]] - 1)
    size = arrays.bytes_at(arrays.tensor_size, stages.device[arrays.tensor_op]).copy()
    size[stashed] = 0
    change = np.zeros((arrays.device_count, arrays.op_count + 1), dtype=np.int64)
    home = stages.device[arrays.tensor_op]
    np.add.at(change, (home, place[arrays.tensor_op]), size)
    np.add.at(change, (home, last + 1), -size)
    for (_, phase), sends in stages.sends.items():
        for send in sends:
            if send.is_stashed(phase):
                continue
            reads = slice(arrays.read_ptr[send.tensor], arrays.read_ptr[send.tensor + 1])
            readers = arrays.edge_dst[reads]
            here = place[readers[stages.device[readers] == send.target]]
            change[send.target, begins[min(send.readers)]] += _copy(stages, send)
            change[send.target, int(here.max()) + 1] -= _copy(stages, send)
    alive = np.cumsum(change, axis=1)[:, :-1]
    alive[stages.device, place] += arrays.bytes_at(arrays.workspace, stages.device)
    return np.asarray(alive.max(axis=1))
