"""A model file as a model that can be used; weights in files of their own are left there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf.message import DecodeError

from talos_opt.core.errors import InputError
from talos_opt.frameworks.onnx import dtypes
from talos_opt.frameworks.onnx.backend import ort, ox
from talos_opt.frameworks.onnx.graphs import (
    constants_of,
    nodes_of,
    outputs_of,
    reads_of,
    tensor_bytes,
    tensors_of,
)

#: The first opset that is read: with it, shapes of constants are known.
LEAST_OPSET = 9
#: Domains whose ops ONNX Runtime brings along, besides ONNX's own.
_DOMAINS = (
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training",
    "ai.onnx.training", "com.microsoft", "com.microsoft.nchwc", "com.microsoft.experimental",
    "com.ms.internal.nhwc", "org.pytorch.aten",
)  # fmt: skip
_DIGITS = 16
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """A model as its file holds it.

    Parameters
    ----------
    path : Path
    proto : onnx.ModelProto
        Without what it keeps in other files.
    digest : str
        First digits of the SHA-256 of the file, external data not included.
    """

    path: Path
    proto: Any
    digest: str

    @property
    def is_half(self) -> bool:
        """Whether it has inputs or constants in 16 bits, which the runtime's CPU widens."""
        given = (value.type.tensor_type.elem_type for value in self.proto.graph.input)
        held = (tensor.data_type for tensor in tensors_of(self.proto.graph))
        half = (ox.TensorProto.FLOAT16, ox.TensorProto.BFLOAT16)
        return any(dtype in half for dtype in (*given, *held))


def read_model(target: str) -> Source:
    """Read a model, and check what can be checked without running it.

    Raises
    ------
    InputError
        If there is no such file, it is not a whole ONNX model, weights are missing, or an op is of
        a domain or an opset that is not known here.
    """
    path = Path(target)
    if path.is_dir():
        raise InputError(f"{target}: is a folder, expected an ONNX file")
    if path.exists() and not path.is_file():  # it is read twice, by the runtime too
        raise InputError(f"{target}: is a pipe or a device, expected an ONNX file")
    try:
        proto = ox.load(str(path), format="protobuf", load_external_data=False)
        digest = _digest(path)
    except FileNotFoundError:
        raise InputError(f"{target}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{target}: cannot be read: {error.strerror}") from None
    except (DecodeError, UnicodeDecodeError, ValueError):
        raise InputError(
            f"{target}: is not an ONNX model, or only the beginning of one: {path.stat().st_size} "
            "bytes that do not parse"
        ) from None
    if not proto.ir_version or not proto.graph.output:
        raise InputError(f"{target}: is not an ONNX model: it has no graph with an output")
    _require_opset(target, proto)
    _require_domains(target, proto)
    _require_types(target, proto)
    _require_values(target, proto.graph)
    _require_data(target, path, proto)
    return Source(path, proto, digest)


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            found.update(block)
    return found.hexdigest()[:_DIGITS]


def _require_opset(target: str, proto: Any) -> None:
    versions = [item.version for item in proto.opset_import if item.domain in ("", "ai.onnx")]
    newest = ox.defs.onnx_opset_version()
    for version in versions:
        if not LEAST_OPSET <= version <= newest:
            raise InputError(
                f"{target}: is of opset {version}, expected {LEAST_OPSET} to {newest}: "
                "onnx.version_converter makes a model of another opset"
            )


def _require_domains(target: str, proto: Any) -> None:
    own = {(function.domain, function.name) for function in proto.functions}
    bodies = (node for function in proto.functions for node in function.node)
    for node in (*nodes_of(proto.graph), *bodies):
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in own:
            raise InputError(
                f"{target}: op {node.name or node.op_type!r} is a {node.op_type} of the domain "
                f"{node.domain!r}, which neither ONNX Runtime {ort.__version__} nor the model's "
                "functions define"
            )


def _require_types(target: str, proto: Any) -> None:
    for tensor in tensors_of(proto.graph):
        if not dtypes.is_known(tensor.data_type) or any(size < 0 for size in tensor.dims):
            raise InputError(
                f"{target}: weight {tensor.name!r} is of type {tensor.data_type} and shape "
                f"{list(tensor.dims)}, which are none of ONNX"
            )
    for value in (*proto.graph.input, *proto.graph.output):
        code = value.type.tensor_type.elem_type
        if code and not dtypes.is_known(code):
            raise InputError(f"{target}: {value.name!r} is of type {code}, which is none of ONNX")


def _require_values(target: str, graph: Any) -> None:
    """Refuse a graph that reads or returns what nobody makes, or makes a value twice."""
    known = {value.name for value in graph.input} | set(constants_of(graph))
    for name in (name for node in graph.node for name in outputs_of(node)):
        if name in known:
            raise InputError(f"{target}: {name!r} is made twice")
        known.add(name)
    for node in graph.node:
        for name in reads_of(node):
            if name not in known:
                op = node.name or node.op_type
                raise InputError(f"{target}: op {op!r} reads {name!r}, which nothing makes")
    for value in graph.output:
        if value.name not in known:
            raise InputError(f"{target}: nothing makes {value.name!r}, which the model returns")
        if any(value.name == sparse.values.name for sparse in graph.sparse_initializer):
            raise InputError(f"{target}: returns {value.name!r}, a sparse weight; expected tensors")


def _require_data(target: str, path: Path, proto: Any) -> None:
    for name, location, end in external_data(target, proto):
        parts = PurePosixPath(location)
        if parts.is_absolute() or ".." in parts.parts:
            raise InputError(
                f"{target}: weight {name!r} is in {location}, expected a file in the model's folder"
            )
        file = path.parent / location
        if not file.is_file():
            raise InputError(f"{target}: weight {name!r} is in {location}, which is missing")
        if file.stat().st_size < end:
            raise InputError(
                f"{target}: weight {name!r} ends at byte {end} of {location}, which has "
                f"{file.stat().st_size}"
            )


def external_data(target: object, proto: Any) -> Iterator[tuple[str, str, int]]:
    """Yield name, file and last byte of every constant that is in another file.

    Raises
    ------
    InputError
        If it does not say where it is.
    """
    for tensor in tensors_of(proto.graph):
        if tensor.data_location != ox.TensorProto.EXTERNAL:
            continue
        held = {item.key: item.value for item in tensor.external_data}
        size = tensor_bytes(tensor)
        try:
            begin, length = int(held.get("offset", 0)), int(held.get("length", size))
        except ValueError:
            begin = length = -1
        if begin < 0 or length != size:
            raise InputError(
                f"{target}: weight {tensor.name!r} is at offset {held.get('offset', 0)!r}, length "
                f"{held.get('length')!r} of {held.get('location')!r}, expected {size} bytes"
            )
        yield tensor.name, held.get("location", ""), begin + length
