"""A model as parts: embedding, layer by layer attention and network or experts, and the head."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from talos_opt.core.errors import FormatError
from talos_opt.frameworks.llm.agreement import agreed, main_list
from talos_opt.frameworks.llm.architecture import FULL, Architecture, Layer
from talos_opt.frameworks.llm.checkpoint import CONFIG, Checkpoint, read_checkpoint
from talos_opt.frameworks.llm.configs import Config, architecture_of_config
from talos_opt.frameworks.llm.gguf import Header, read_gguf
from talos_opt.frameworks.llm.headers import architecture_of_header
from talos_opt.frameworks.llm.parts import (
    ATTENTION,
    EMBEDDING,
    EXPERTS,
    HEAD,
    NETWORK,
    OTHER,
    PRODUCT,
    ROUTER,
    expert_of,
    module_of,
    place_of,
    role_in_layer,
    role_outside,
)
from talos_opt.frameworks.llm.quantised import tensors_of
from talos_opt.frameworks.llm.shapes import FAMILIES, shapes_of
from talos_opt.frameworks.llm.tensors import Tensor

_ORDER = (ATTENTION, NETWORK, ROUTER, EXPERTS)
_WORDS = {ATTENTION: "attn", NETWORK: "ffn", ROUTER: "router", EXPERTS: "experts"}


@dataclass(frozen=True)
class Part:
    """What goes to a device as one.

    Parameters
    ----------
    id : str
        Unique in the model: ``blk.0.attn``, ``model.layers.0.experts``.
    role : str
        See `parts`.
    tensors : tuple of Tensor
        That it holds.
    layer : int or None
        None outside the layers.
    cache : Layer or None
        What it keeps of the context; only one part of a layer has it.
    module : str
        Path of its module for device maps.
    also : tuple of str
        Paths of the others that it holds tensors of.
    share : float
        Of the layer's routed experts, that it holds.
    tied : Tensor or None
        The embedding that a tied head multiplies with.
    """

    id: str
    role: str
    tensors: tuple[Tensor, ...] = field(repr=False)
    layer: int | None = None
    cache: Layer | None = None
    module: str = ""
    also: tuple[str, ...] = ()
    share: float = 1.0
    tied: Tensor | None = None

    @cached_property
    def bytes(self) -> int:
        """Of its tensors."""
        return sum(tensor.bytes for tensor in self.tensors)

    @cached_property
    def weights(self) -> int:
        """Values that it multiplies with, a tied embedding included."""
        own = sum(_weights(tensor) for tensor in self.tensors)
        return own + (_weights(self.tied) if self.tied else 0)

    @cached_property
    def widest(self) -> int:
        """The longest axis of its products."""
        return max((max(t.shape[-2:]) for t in self.tensors if len(t.shape) > 1), default=0)

    def width_beside(self, hidden: int) -> int:
        """The longest axis of a GGUF file's products, but for that of a token's values."""
        pairs = [tensor.shape[:2] for tensor in self.tensors if len(tensor.shape) > 1]
        return max((min(p) if max(p) == hidden else max(p) for p in pairs), default=0)


def _weights(tensor: Tensor) -> int:
    if tensor.name.endswith(".qweight"):  # eight values of 4 bits
        return 8 * tensor.values
    return 2 * tensor.values if tensor.name.endswith("_blocks") else tensor.values


@dataclass(frozen=True)
class LanguageModel:
    """A large language model.

    Parameters
    ----------
    name : str
    architecture : Architecture
    parts : tuple of Part
        In the order in which they run.
    source : str
        The file that it is from.
    notes : tuple of str
        What was assumed.
    activation_bytes : int
        Of a value between two layers.
    """

    name: str
    architecture: Architecture
    parts: tuple[Part, ...] = field(repr=False)
    source: str
    notes: tuple[str, ...] = ()
    activation_bytes: int = 2

    @property
    def is_gguf(self) -> bool:
        """Whether it is for llama.cpp."""
        return self.activation_bytes == 4

    @property
    def total_bytes(self) -> int:
        """Bytes of all tensors, each once."""
        return sum(part.bytes for part in self.parts)


def read_model(path: str | os.PathLike[str], *, groups: int = 1) -> LanguageModel:
    """Read a model from its files: GGUF, safetensors, an index, a config, or their folder.

    Parameters
    ----------
    path : path
        Of a GGUF model in parts the first; of a folder with GGUF files there has to be one model.
    groups : int
        Parts that the routed experts of a layer are split into.

    Raises
    ------
    FormatError
        If a file is missing, broken or contradicts another.
    """
    place = Path(path)
    if not place.exists():
        raise FormatError("does not exist", source=str(path))
    found = _gguf_in(place)
    if found is not None:
        return _of_header(read_gguf(found), groups)
    return _of_checkpoint(read_checkpoint(place), place, groups)


def _gguf_in(path: Path) -> Path | None:
    """Return the GGUF file that a path names, or None if it names none."""
    if path.is_file():
        with path.open("rb") as file:
            magic = file.read(4) == b"GGUF"
        return path if magic or path.suffix.lower() == ".gguf" else None
    files = sorted(path.glob("*.gguf"))
    firsts = [f for f in files if "-of-" not in f.name or "-00001-of-" in f.name]
    if (path / "config.json").is_file() or not files:
        return None
    if len(firsts) != 1:
        raise FormatError(
            f"has {len(firsts)} models ({', '.join(f.name for f in firsts)}), expected the path of "
            "one", source=str(path),
        )  # fmt: skip
    return firsts[0]


def _of_header(header: Header, groups: int) -> LanguageModel:
    architecture = architecture_of_header(header)
    said = header.metadata.get("general.name")
    name = said if isinstance(said, str) and said else header.path.stem
    parts, notes = make_parts(header.tensors, architecture, str(header.path), groups)
    return LanguageModel(name, architecture, parts, str(header.path),
                         (*architecture.notes, *notes), 4)  # fmt: skip


def _of_checkpoint(found: Checkpoint, path: Path, groups: int) -> LanguageModel:
    notes: tuple[str, ...] = ()
    tensors = found.tensors
    if found.config is None:
        if tensors is None:
            raise FormatError(
                "lists no sizes, and there is neither a config.json nor a safetensors file beside "
                "it", source=found.source,
            )  # fmt: skip
        architecture = _guessed(tensors)
    else:
        config = _config_of(found, path)
        architecture = architecture_of_config(found.config, config)
        if tensors is None:
            shapes = shapes_of(Config(found.config, config))
            tensors = tensors_of(shapes, found.config, config)
            if found.names is not None:
                tensors = _as_indexed(tensors, found)
            elif found.config.get("vision_config"):
                notes = ("the config has a part for images, which is not counted",)
        else:
            architecture = agreed(tensors, architecture, found.source)
            if architecture.name not in FAMILIES:
                notes = (f"model type {architecture.name!r} is unknown: parts are distinguished by "
                         "the names of their tensors",)  # fmt: skip
    folder = path if path.is_dir() else path.parent
    name = folder.resolve().name or architecture.name
    parts, more = make_parts(tensors, architecture, found.source, groups)
    return LanguageModel(name, architecture, parts, found.source,
                         (*notes, *architecture.notes, *more))  # fmt: skip


def _config_of(found: Checkpoint, path: Path) -> str:
    """Return the config's path, for messages: it may have any name where it is given alone."""
    alone = found.names is None and found.tensors is None
    return str(path if alone and path.is_file() else Path(found.source).parent / CONFIG)


def _as_indexed(tensors: Iterable[Tensor], found: Checkpoint) -> tuple[Tensor, ...]:
    """Return the tensors that an index names, and hold their sum against its total."""
    known = {tensor.name: tensor for tensor in tensors}
    names = found.names or ()
    strange = [name for name in names if name not in known]
    missing = [name for name in known if name not in set(names)]
    if strange or missing:
        what = f"names {strange[0]!r}, which" if strange else f"does not name {missing[0]!r}, which"
        does = "does not have" if strange else "has"
        raise FormatError(
            f"{what} a model of its config {does} ({len(strange)} such names, {len(missing)} "
            "missing); with the safetensors files beside it, their headers say the sizes",
            source=found.source, path="weight_map",
        )  # fmt: skip
    size = sum(known[name].bytes for name in names)
    if found.total is not None and size != found.total:
        raise FormatError(
            f"is {found.total}, but the tensors of its config sum to {size} bytes",
            source=found.source, path="metadata.total_size",
        )  # fmt: skip
    return tuple(known[name] for name in names)


def _guessed(tensors: Sequence[Tensor]) -> Architecture:
    """Return an architecture by the tensors alone: a context takes nothing then."""
    places = [place_of(tensor.name) for tensor in tensors]
    main = main_list(tensors, places)
    count = 1 + max((p.layer for p in places if p.list == main), default=0)
    table = next((t for t in tensors if role_outside(t.name) == EMBEDDING and len(t.shape) == 2),
                 None)  # fmt: skip
    rows, width = table.shape if table else (0, 0)
    note = "there is no config: the context takes no memory, and attention to it no time"
    return Architecture("unknown", (Layer(FULL),) * count, width, rows, notes=(note,))


def make_parts(
    tensors: Sequence[Tensor], architecture: Architecture, source: str, groups: int = 1
) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """Return the parts of a model in the order in which they run, and what was assumed.

    Raises
    ------
    FormatError
        If there are no layers, fewer than the architecture has, or experts that cannot be split.
    """
    places = [place_of(tensor.name) for tensor in tensors]
    main = main_list(tensors, places)
    count = len(architecture.layers)
    inside: dict[int, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    outside: dict[str, list[Tensor]] = defaultdict(list)
    for tensor, place in zip(tensors, places, strict=True):
        if main and place.list == main:
            inside[place.layer][role_in_layer(place.rest)].append(tensor)
        elif place.layer >= 0:
            outside[OTHER].append(tensor)
        else:
            outside[role_outside(tensor.name)].append(tensor)
    if not inside:
        raise FormatError("has no numbered layers, such as blk.0 or model.layers.0", source=source)
    layers = max(inside) + 1
    if layers < count:
        raise FormatError(
            f"lists {layers} layers, expected {count} as the architecture says", source=source
        )
    chain: list[Part] = []
    if outside[EMBEDDING]:
        chain.append(_outer(EMBEDDING, outside[EMBEDDING]))
    chain += _others(outside[OTHER])
    for k in range(count):
        if k in inside:
            lead = f"{main}.{k}"
            chain += _layer(lead, k, inside[k], architecture.layers[k], source, groups)
    notes: tuple[str, ...] = ()
    head = _head(outside[HEAD], outside[EMBEDDING], architecture)
    chain += [head] if head else []
    extra = [t for k in sorted(inside) if k >= count for ts in inside[k].values() for t in ts]
    if extra:
        chain.append(_outer(OTHER, extra, f"{main}.{count}"))
        notes = (f"layers from {count} on predict further tokens: they are held, and not run",)
    return tuple(chain), notes


def _outer(role: str, tensors: Sequence[Tensor], id_: str | None = None) -> Part:
    modules = list(dict.fromkeys(module_of(t.name, "", role) for t in tensors))
    return Part(id_ or modules[0], role, tuple(tensors), module=modules[0],
                also=tuple(modules[1:]))  # fmt: skip


def _others(tensors: Sequence[Tensor]) -> list[Part]:
    """Return what is neither a layer nor at an end: towers and projectors, one part each."""
    by: dict[str, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        path = tensor.name.split(".")
        by[".".join(path[:2] if path[0] == "model" else path[:1])].append(tensor)
    return [Part(name, OTHER, tuple(held), module=name) for name, held in by.items()]


def _head(
    tensors: Sequence[Tensor], embedding: Sequence[Tensor], architecture: Architecture
) -> Part | None:
    tied = None
    if not any(PRODUCT.search(t.name) for t in tensors):
        table = [t for t in embedding if len(t.shape) == 2]
        tied = max(table, key=lambda t: t.bytes) if architecture.tied and table else None
    if not tensors and tied is None:
        return None
    if not tensors:
        return Part("head", HEAD, (), module="lm_head", tied=tied)
    ordered = sorted(tensors, key=lambda t: not PRODUCT.search(t.name))
    return replace(_outer(HEAD, ordered), tied=tied)


def _layer(
    lead: str,
    k: int,
    roles: dict[str, list[Tensor]],
    layer: Layer,
    source: str,
    groups: int,
) -> list[Part]:
    norms = roles.get(NETWORK, [])
    if roles.get(ROUTER) and all(len(tensor.shape) < 2 for tensor in norms):
        roles[ROUTER] = [*norms, *roles[ROUTER]]
        roles[NETWORK] = []
    found: list[Part] = []
    for role in _ORDER:
        held = roles.get(role)
        if not held:
            continue
        if role == EXPERTS and groups > 1:
            found += _split(lead, k, held, source, groups)
            continue
        found.append(_part(f"{lead}.{_WORDS[role]}", lead, k, role, held))
    keeper = next((n for n, part in enumerate(found) if part.role == ATTENTION), 0)
    found[keeper] = replace(found[keeper], cache=layer)
    return found


def _part(id_: str, lead: str, k: int, role: str, held: Sequence[Tensor]) -> Part:
    sizes: dict[str, int] = defaultdict(int)
    for tensor in held:
        sizes[module_of(tensor.name, lead, role)] += tensor.bytes
    first = max(sizes, key=sizes.__getitem__)
    also = tuple(name for name in sizes if name != first)
    return Part(id_, role, tuple(held), k, None, first, also)


def _split(lead: str, k: int, held: Sequence[Tensor], source: str, groups: int) -> list[Part]:
    by: dict[int, list[Tensor]] = defaultdict(list)
    for tensor in held:
        expert = expert_of(tensor.name)
        if expert is None:
            raise FormatError(
                f"the experts of a layer are one tensor, {tensor.name!r}, which cannot be split "
                f"into {groups} groups", source=source,
            )  # fmt: skip
        by[expert].append(tensor)
    count = len(by)
    if groups > count:
        raise FormatError(f"layer {k} has {count} experts, fewer than {groups} groups",
                          source=source)  # fmt: skip
    found = []
    for g in range(groups):
        mine = [e for n, e in enumerate(sorted(by)) if n * groups // count == g]
        tensors = [tensor for e in mine for tensor in by[e]]
        part = _part(f"{lead}.experts.{g}", lead, k, EXPERTS, tensors)
        found.append(replace(part, share=len(mine) / count))
    return found
