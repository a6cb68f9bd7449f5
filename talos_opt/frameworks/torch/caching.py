"""What a decoder keeps of the tokens that it has read, block by block.

No formula knows every kind of attention, so the library's own cache is asked: the module reads one
token on fake tensors, and the cache that it returns is given the others. Windows, latents, shared
heads, encoders and states of a fixed size are then what the library makes of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from talos_opt.core.errors import InputError
from talos_opt.frameworks.torch.blocks import Block
from talos_opt.frameworks.torch.configured import configured_bytes
from talos_opt.frameworks.torch.metering import Ran, run

if TYPE_CHECKING:
    import torch
    from torch import nn

#: Where the layers of transformers' caches are defined; models that define others use these in
#: ways of their own.
_LIBRARY = "transformers.cache_utils"
#: Names of outputs that are kept from step to step, where they are not caches of transformers.
_KEPT = ("past_key_values", "cache", "cache_params", "state", "mems")


@dataclass(frozen=True)
class KVCache:
    """Tokens that a decoder has read, and keeps keys and values of.

    Parameters
    ----------
    length : int
        Tokens of each sequence.
    batch : int
        Sequences.
    source : int, optional
        Tokens that the encoder has read, if there is one; default: `length`.

    Raises
    ------
    InputError
        If a number is below 1.
    """

    length: int
    batch: int = 1
    source: int | None = None

    def __post_init__(self) -> None:
        for name in ("length", "batch", "source"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} of a KV cache is {value}, expected at least 1")


def cache_bytes(
    module: nn.Module,
    blocks: Sequence[Block],
    cache: KVCache,
    inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[int, ...]:
    """Return the bytes that each block keeps once so many tokens have been read.

    Parameters
    ----------
    module : nn.Module
        A decoder, on any device; it takes ``input_ids`` and ``use_cache``, as in transformers.
    blocks : sequence of Block
    cache : KVCache
    inputs : sequence or mapping, optional
        Arguments of a step; needed where a model reads other things than tokens, such as sound.
    dtype : torch.dtype, optional
        Type of floating point weights and inputs.

    Raises
    ------
    InputError
        If the module takes no tokens, does not run on fake tensors, or returns nothing to keep, and
        has no config of a family that is known.
    """
    try:
        return _asked(module, blocks, cache, inputs, dtype)
    except InputError:
        found = configured_bytes(module, blocks, cache.length, cache.batch, dtype)
        if found is None:
            raise
        return found


def _asked(
    module: nn.Module,
    blocks: Sequence[Block],
    cache: KVCache,
    inputs: Sequence[Any] | Mapping[str, Any] | None,
    dtype: torch.dtype | None,
) -> tuple[int, ...]:
    """Return what the library's own cache holds."""

    def read(tokens: int) -> Ran:
        return run(module, blocks, _prompt(module, inputs, cache, tokens), dtype)

    first = read(1)
    caches = list(_caches(first.output))
    if not caches:
        held = _linear(first, lambda: read(2), cache.length)
    else:
        try:
            held = _layered(first, caches, cache.length)
        except _OwnWaysError:
            held = _kept(ran := read(cache.length), _caches(ran.output))
    if not any(held):
        raise InputError(
            f"{type(module).__name__} returns no cache when it is called with use_cache=True: "
            "plan without cache="
        )
    return tuple(cache.batch * size for size in held)


class _OwnWaysError(Exception):
    """A layer of a cache does not simply append tokens."""


def _prompt(
    module: nn.Module,
    inputs: Sequence[Any] | Mapping[str, Any] | None,
    cache: KVCache,
    tokens: int,
) -> dict[str, Any]:
    """Return the arguments of a step that reads so many tokens of one sequence."""
    import torch

    taken = inspect.signature(module.forward).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    if "use_cache" not in taken and not open_ended:
        raise InputError(
            f"a KV cache needs a module that takes use_cache, as decoders of transformers do; "
            f"{type(module).__name__} does not: plan without cache="
        )
    main = getattr(module, "main_input_name", "input_ids")
    step: dict[str, Any] = {"use_cache": True}
    if main != "input_ids":
        given = inputs if isinstance(inputs, Mapping) else dict(zip(taken, inputs or ()))  # noqa: B905
        if main not in given:
            raise InputError(
                f"a KV cache of {type(module).__name__} needs {main!r} among the inputs of a step"
            )
        value = given[main]
        step[main] = value[:1] if isinstance(value, torch.Tensor) else value
    ids = torch.zeros(1, tokens, dtype=torch.long)
    if getattr(getattr(module, "config", None), "is_encoder_decoder", False):
        step["decoder_input_ids"] = ids
        if main == "input_ids":
            step[main] = torch.zeros(1, cache.source or cache.length, dtype=torch.long)
    elif main == "input_ids":
        step[main] = ids
    return step


def _caches(output: Any) -> Iterator[tuple[Any, bool]]:
    """Yield transformers' caches among what a module returned, and whether tokens append to them.

    What cross attention sees of an encoder is there once and for all.
    """
    import sys

    library = sys.modules.get(_LIBRARY)
    if library is None:
        return
    values = output.values() if isinstance(output, Mapping) else output
    for value in values if isinstance(values, Iterable) else ():
        if isinstance(value, library.EncoderDecoderCache):
            yield value.self_attention_cache, True
            yield value.cross_attention_cache, False
        elif isinstance(value, library.Cache):
            yield value, True


def _layered(ran: Ran, caches: Sequence[tuple[Any, bool]], length: int) -> list[int]:
    """Return the bytes by block after the layers of caches were given the other tokens."""
    import torch

    layers = [layer for cache, _ in caches for layer in cache.layers]
    owners = [_owner(ran, layer) for layer in layers]
    if length > 1:
        with torch.no_grad(), ran.fake:
            for layer in (layer for cache, grows in caches if grows for layer in cache.layers):
                _append(layer, length - 1)
    held = [0] * len(ran.meters.activities)
    seen: set[int] = set()
    for layer, owner in zip(layers, owners, strict=True):
        held[owner] += sum(t.numel() * t.element_size() for t in _tensors(layer, seen))
    for cache, _ in caches:  # states that a cache keeps beside its layers, as MiniMax's does
        for tensor in _tensors(cache, seen):
            held[_maker(ran, tensor) or 0] += tensor.numel() * tensor.element_size()
    return held


def _append(layer: Any, tokens: int) -> None:
    """Give a layer that has read one token more of them; one with states alone is left."""
    import torch

    if type(layer).__module__ != _LIBRARY:
        raise _OwnWaysError

    def more(tensor: torch.Tensor, axis: int) -> torch.Tensor:
        if tensor.shape[axis] != 1:
            raise _OwnWaysError
        return tensor.new_empty(*tensor.shape[:axis], tokens, *tensor.shape[axis:][1:])

    if isinstance(getattr(layer, "keys", None), torch.Tensor):
        layer.update(more(layer.keys, -2), more(layer.values, -2))
    if isinstance(getattr(layer, "indexer_keys", None), torch.Tensor):
        layer.update_indexer(more(layer.indexer_keys, 1))


def _kept(ran: Ran, kept: Iterable[Any]) -> list[int]:
    """Return the bytes of everything that is reachable, by the block that made it."""
    held = [0] * len(ran.meters.activities)
    for tensor in _tensors(list(kept)):
        held[_maker(ran, tensor) or 0] += tensor.numel() * tensor.element_size()
    return held


def _linear(ran: Ran, again: Any, length: int) -> list[int]:
    """Return the bytes of what is kept in a form of its own, from one token and from two."""

    def kept(output: Any) -> list[Any]:
        return [output[name] for name in _KEPT if isinstance(output, Mapping) and name in output]

    one = _kept(ran, kept(ran.output))
    if length == 1 or not any(one):
        return one
    other = again()
    two = _kept(other, kept(other.output))
    return [a + (b - a) * (length - 1) for a, b in zip(one, two, strict=True)]


def _owner(ran: Ran, layer: Any) -> int:
    found = (_maker(ran, tensor) for tensor in _tensors(layer))
    return next((block for block in found if block is not None), 0)


def _maker(ran: Ran, tensor: torch.Tensor) -> int | None:
    made = ran.meters.maker.get(tensor.untyped_storage()._cdata)
    return None if made is None else made[0]


def _tensors(value: Any, seen: set[int] | None = None) -> Iterator[torch.Tensor]:
    """Yield the tensors in a value, each once; numbers that steer a cache are left out."""
    import torch

    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        if value.dim() > 0:
            yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part, seen)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part, seen)
    elif hasattr(value, "__dict__") and not isinstance(value, (type, torch.nn.Module)):
        yield from _tensors(vars(value), seen)
