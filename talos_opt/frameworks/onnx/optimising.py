"""A model as ONNX Runtime makes it before it runs: fused, folded, laid out for a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from talos_opt.frameworks.onnx.backend import ox
from talos_opt.frameworks.onnx.flattening import drop_unread, name_nodes, without_dead_ends
from talos_opt.frameworks.onnx.sessions import options_of, session_of

#: Constants of at least so many bytes are in a file of their own: pieces share it.
EXTERNAL_BYTES = 1024
_MODEL, _WEIGHTS = "model.onnx", "weights.bin"
_RAW = "saved.onnx"


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
    options.add_session_config_entry(prefix + "file_name", _WEIGHTS)
    options.add_session_config_entry(prefix + "min_size_in_bytes", str(EXTERNAL_BYTES))
    options.add_session_config_entry("session.disable_prepacking", "1")
    session_of(proto, options, folder=source.parent, name=source)
    made = ox.load(str(folder / _RAW), load_external_data=False)
    (folder / _RAW).unlink()
    return made


def settle(proto: Any) -> None:
    """Leave out what no result needs, and give every node a name of its own; in place."""
    without_dead_ends(proto.graph)
    drop_unread(proto.graph)
    name_nodes(proto.graph)


def save(proto: Any, folder: Path) -> Path:
    """Write a model to the folder of its external data, and return the file."""
    path = folder / _MODEL
    path.write_bytes(proto.SerializeToString())
    return path
