"""What a model is run with, and what a part of it costs then.

decode = max(bytes read / bandwidth, FLOPs / peak), with the catalogue's efficiencies; bytes are
weights and the KV cache of the whole context. A prompt goes through in chunks; each reads the
weights once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.roofline import Call, Terms, terms
from talos_opt.frameworks.llm.architecture import Architecture, Layer
from talos_opt.frameworks.llm.devices import Card
from talos_opt.frameworks.llm.model import LanguageModel, Part
from talos_opt.frameworks.llm.parts import EMBEDDING, EXPERTS, HEAD, OTHER

#: Bytes of a kept value by the names of llama.cpp and vLLM; blocks of 32 have a scale, some an
#: offset (ggml-common.h).
KV_TYPES: Mapping[str, float] = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "fp8": 1.0, "q8_0": 34 / 32, "q5_1": 24 / 32,
    "q5_0": 22 / 32, "q4_1": 20 / 32, "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip
#: The type of op that parts are taken to be, but for the embedding.
PRODUCT = "linear"
PHASES = ("decode", "prefill", "both")
#: Parts of no more than this many tokens go through at a time: the default of llama.cpp's -ub.
CHUNK = 512


@dataclass(frozen=True)
class Workload:
    """What a model is run with.

    Parameters
    ----------
    context : int
        Tokens that each sequence keeps at most: what memory is counted for.
    batch : int
        Sequences side by side.
    phase : {'decode', 'prefill', 'both'}
        A token for each sequence at the whole context; a prompt; or a prompt and what is generated
        from it.
    prompt, generate : int
        Tokens of a sequence; 0: `context`, and for both phases what is left of it.
    kv_type : str
        A key of `KV_TYPES`.
    chunk : int
        Tokens of a prompt that go through together.
    buffer : int or None
        Bytes that the runtime needs for computing on each device in use; None: estimated.
    buffers : mapping of str to int
        The same of single devices, in its place.
    """

    context: int
    batch: int = 1
    phase: str = "decode"
    prompt: int = 0
    generate: int = 0
    kv_type: str = "f16"
    chunk: int = CHUNK
    buffer: int | None = None
    buffers: Mapping[str, int] = field(default_factory=dict)
    kv_bytes: float = field(init=False)

    def __post_init__(self) -> None:
        if self.kv_type not in KV_TYPES:
            raise InputError(
                f"the type of the KV cache is {self.kv_type!r}, expected one of "
                f"{', '.join(KV_TYPES)}"
            )
        if self.phase not in PHASES:
            raise InputError(f"phase is {self.phase!r}, expected one of {', '.join(PHASES)}")
        object.__setattr__(self, "kv_bytes", KV_TYPES[self.kv_type])
        prompt, generate = self.prompt, self.generate
        if self.phase == "both" and not (prompt and generate):
            raise InputError("both phases need the tokens of the prompt and those to generate")
        if self.phase == "prefill":
            prompt, generate = prompt or self.context, 0
        if self.phase == "decode":
            prompt, generate = 0, 1
        if prompt + (generate if self.phase == "both" else 0) > self.context:
            raise InputError(
                f"{prompt} tokens of prompt and {generate} to generate are more than the context "
                f"of {self.context}"
            )
        object.__setattr__(self, "prompt", prompt)
        object.__setattr__(self, "generate", generate)

    @property
    def chunks(self) -> int:
        """How often the prompts go through the layers."""
        return -(-self.prompt * self.batch // self.chunk)

    @property
    def passes(self) -> int:
        """How often a hop is made: for each chunk, and for each token that is generated."""
        return self.chunks + self.generate

    def require_limit(self, architecture: Architecture) -> None:
        """Refuse a context that the model was not made for.

        Raises
        ------
        InputError
        """
        if architecture.limit is not None and self.context > architecture.limit:
            raise InputError(
                f"the context of {self.context} tokens is beyond the model's, {architecture.limit}"
            )

    @property
    def attended(self) -> int:
        """Tokens before a generated one: the whole context, or half of what is generated."""
        if self.phase == "both":
            return self.prompt + self.generate // 2
        return self.context


class Cost(NamedTuple):
    """What a part does in one pass.

    Parameters
    ----------
    bytes : float
        Read: weights and cache.
    flops : float
    """

    bytes: float
    flops: float


def distinct_share(experts: int, routed: int, tokens: int) -> float:
    """Return the share of a layer's experts that some of so many tokens use.

    Each token draws its experts for itself: 1 - (1 - k / E)^b.
    """
    if not experts:
        return 1.0
    return float(1 - (1 - min(1.0, routed / experts)) ** tokens)


def cost_of(part: Part, model: LanguageModel, load: Workload, tokens: int, before: float) -> Cost:
    """Return what a part reads and computes for a pass.

    Parameters
    ----------
    part : Part
    model : LanguageModel
    load : Workload
    tokens : int
        Of all sequences, that go through together.
    before : float
        Tokens that each attends to.
    """
    if part.role == OTHER:
        return Cost(0.0, 0.0)
    if part.role == EMBEDDING:
        rows = max((t.bytes / max(t.shape) for t in part.tensors), default=0.0)
        return Cost(tokens * rows, 0.0)
    size, used = float(part.bytes), 1.0
    if part.tied is not None:
        size += part.tied.bytes
    if part.role == EXPERTS:
        layer = model.architecture.layers[part.layer or 0]
        size *= distinct_share(layer.experts, layer.routed, tokens)
        used = layer.routed / layer.experts if layer.experts else 1.0
    asked = min(tokens, load.batch) if part.role == HEAD else tokens  # only the last is predicted
    flops = 2.0 * part.weights * used * asked
    if part.cache is not None:
        kept = _kept(part.cache, before)
        sequences = min(load.batch, tokens)
        size += sequences * (
            kept * part.cache.kv_values * load.kv_bytes + 2 * 4 * part.cache.state_values
        )
        flops += 4.0 * part.cache.score_values * kept * tokens
    return Cost(size, flops)


def _kept(cache: Layer, before: float) -> float:
    return min(before, float(cache.kept(2**40)))


def seconds(part: Part, model: LanguageModel, load: Workload, card: Card) -> float:
    """Return the time of a part on a card: of the prompt's chunks, and of each token after it.

    Raises
    ------
    InputError
        If a prompt is asked for, and nothing says how fast the card computes.
    """
    return sum(count * each.seconds for count, each in passes_of(part, model, load, card))


def passes_of(
    part: Part, model: LanguageModel, load: Workload, card: Card
) -> Iterator[tuple[float, Terms]]:
    """Yield how often a part does something, and what one time consists of; see `seconds`."""
    if load.prompt:
        tokens = min(load.chunk, load.prompt * load.batch)
        # A token attends to half of the prompt in the mean.
        cost = cost_of(part, model, load, tokens, load.prompt / 2)
        share = load.prompt * load.batch / tokens
        yield share, _pass(part, cost, card, model, prompt=True)
    if load.generate:
        cost = cost_of(part, model, load, load.batch, load.attended)
        yield load.generate, _pass(part, cost, card, model)


def _pass(
    part: Part, cost: Cost, card: Card, model: LanguageModel, *, prompt: bool = False
) -> Terms:
    if not cost.bytes and not cost.flops:
        return Terms(0.0, 0.0, 0.0)
    if card.sheet is None:
        if card.peak is None and prompt and cost.flops:
            raise InputError(
                f"nothing says how fast {card.id} computes, which a prompt needs: give it as in "
                "36GB:264GB/s:80TFLOPS"
            )
        computing = cost.flops / card.peak if card.peak else 0.0
        return Terms(0.0, computing, cost.bytes / card.bandwidth)
    kind = "embedding" if part.role == EMBEDDING else PRODUCT
    call = Call(kind, cost.flops, round(cost.bytes), 1)
    return terms(call, card.sheet, dtype_on(card, model))


def dtype_on(card: Card, model: LanguageModel) -> str:
    """Return what a model is computed with on a card."""
    return model.architecture.dtype if card.kind == "gpu" else "fp32"


def buffer_of(part: Part, model: LanguageModel, load: Workload) -> int:
    """Return what a runtime holds while a part computes, on the device where that is least.

    Unless it is given: inputs and results, in 4 bytes each. llama.cpp reserves its buffers for a
    whole chunk, whatever runs; so is it counted here.
    """
    if load.buffers:
        return min([*load.buffers.values(), _other_buffer(model, load)])
    return _estimated_buffer(part, model, load) if load.buffer is None else load.buffer


def larger_buffers(model: LanguageModel, devices: Sequence[str], load: Workload) -> dict[str, int]:
    """Return the bytes that each device's buffer has beyond `buffer_of`.

    Where buffers of single devices are given, all others hold the largest that a part needs.

    Raises
    ------
    InputError
        If a buffer is of an unknown device.
    """
    require_devices(load.buffers, devices, "buffer")
    if not load.buffers:
        return {}
    rest = _other_buffer(model, load)
    least = min([*load.buffers.values(), rest])
    return {name: load.buffers.get(name, rest) - least for name in devices}


def require_devices(named: Iterable[str], devices: Sequence[str], what: str) -> None:
    """Refuse amounts of devices that are not there.

    Raises
    ------
    InputError
    """
    for name in named:
        if name not in devices:
            raise InputError(
                f"the {what} names the unknown device {name!r}, expected one of "
                f"{', '.join(devices)}"
            )


def _other_buffer(model: LanguageModel, load: Workload) -> int:
    if load.buffer is not None:
        return load.buffer
    return max(_estimated_buffer(part, model, load) for part in model.parts)


def _estimated_buffer(part: Part, model: LanguageModel, load: Workload) -> int:
    """Return the bytes that inputs and results of a part take, of a whole chunk.

    For GGUF as llama.cpp reserves them since a gate and its product have results of their own: 3
    x (hidden + width) values of 4 bytes, and a mask of 2 bytes for each token of the context.
    """
    tokens = max(load.chunk, load.batch)
    hidden = model.architecture.hidden
    if part.role == HEAD:
        return 4 * tokens * (hidden + model.architecture.vocabulary)
    if part.role in (EMBEDDING, OTHER):
        return 4 * tokens * hidden
    if not model.is_gguf:
        return 4 * tokens * (hidden + 2 * part.widest)
    routed = 1
    if part.role == EXPERTS:
        routed = model.architecture.layers[part.layer or 0].routed or 1
    width = routed * part.width_beside(hidden)
    return 4 * tokens * 3 * (hidden + width) + 2 * tokens * load.context
