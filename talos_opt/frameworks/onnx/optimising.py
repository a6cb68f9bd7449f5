"""A model as ONNX Runtime makes it before it runs: fused, folded, laid out for a device."""

from __future__ import annotations

import copy
import re
from collections import Counter
from pathlib import Path
from typing import Any

from talos_opt.core.topology import order_by_number
from talos_opt.frameworks.onnx.backend import ox
from talos_opt.frameworks.onnx.flattening import drop_unread, name_nodes, without_dead_ends
from talos_opt.frameworks.onnx.graphs import reads_of
from talos_opt.frameworks.onnx.sessions import options_of, session_of

#: Constants of at least so many bytes are in a file of their own: pieces share it.
EXTERNAL_BYTES = 1024
WEIGHTS = "weights.bin"
_RAW = "saved.onnx"
#: What the runtime appends to a name that is taken.
_NUMBERED = re.compile(r"_token_\d+(?=$|_)")


def optimise(proto: Any, level: str, source: Path, folder: Path) -> Any:
    """Return a model as the runtime optimises it for the CPU, and save it.

    ``extended`` is what any provider may be given. ``all`` also lays convolutions out in blocks of
    channels as wide as this machine's vectors: such a model runs on this kind of CPU only.

    Parameters
    ----------
    proto : onnx.ModelProto
    level : str
        ``none``: only ops that have no kernel, but a definition by others, are replaced.
    source : Path
        File of the model: its folder is that of its external data.
    folder : Path
        Where what is made is saved, its larger constants in a file of their own.

    Raises
    ------
    InputError
        If the runtime refuses the model.
    """
    options = options_of(level)
    options.optimized_model_filepath = str(folder / _RAW)
    prefix = "session.optimized_model_external_initializers_"
    options.add_session_config_entry(prefix + "file_name", WEIGHTS)
    options.add_session_config_entry(prefix + "min_size_in_bytes", str(EXTERNAL_BYTES))
    options.add_session_config_entry("session.disable_prepacking", "1")
    session_of(proto, options, folder=source.parent, name=source)
    made = ox.load(str(folder / _RAW), load_external_data=False)
    (folder / _RAW).unlink()
    return made


def settle(proto: Any, before: Any) -> None:
    """Leave out what no result needs, and bring nodes in an order and to names that stay; in place.

    The runtime numbers the nodes that it adds by chance. So those are named after what they read,
    and all nodes are in the order of the file, by the values that they make.

    Parameters
    ----------
    proto : onnx.ModelProto
        As the runtime made it, producers before their readers.
    before : onnx.ModelProto
        As it was given to the runtime.
    """
    graph = proto.graph
    without_dead_ends(graph)
    drop_unread(graph)
    _rename_added(graph)
    _sort(graph, before.graph)
    name_nodes(graph)


def _rename_added(graph: Any) -> None:
    stems = Counter(_NUMBERED.sub("", node.name) for node in graph.node if node.name)
    added = {
        node.name
        for node in graph.node
        if _NUMBERED.search(node.name) or stems[_NUMBERED.sub("", node.name)] > 1
    }
    maker: dict[str, str] = {}
    for node in graph.node:
        if node.name in added:
            stem = _NUMBERED.sub("", node.name)
            read = next((maker[name] for name in node.input if name in maker), None)
            node.name = f"{stem}_of_{read or next(iter(node.input), '')}"
        maker.update(dict.fromkeys(node.output, node.name))


def _sort(graph: Any, before: Any) -> None:
    """Order nodes as the file does: those that the runtime added behind what they read."""
    place = {name: k for k, node in enumerate(before.node) for name in node.output if name}
    nodes = list(graph.node)
    maker = {name: k for k, node in enumerate(nodes) for name in node.output if name}
    reads = [{maker[name] for name in reads_of(node) if name in maker} for node in nodes]
    key: list[int] = []
    for node, read in zip(nodes, reads, strict=True):
        known = [place[name] for name in node.output if name in place]
        key.append(min(known, default=max((key[k] for k in read), default=-1)))
    ranked = sorted(range(len(nodes)), key=lambda k: (key[k], nodes[k].name))
    rank = {k: number for number, k in enumerate(ranked)}
    order = order_by_number([{rank[j] for j in reads[k]} for k in ranked])
    ordered = [copy.deepcopy(nodes[ranked[number]]) for number in order]
    del graph.node[:]
    graph.node.extend(ordered)
