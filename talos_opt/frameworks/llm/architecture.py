"""What each layer of a model holds of its context, and how many experts it has.

Sources: the modelling files of transformers for configs, llama.cpp (llama-model.cpp) for GGUF;
DeepSeek-V2 (2024), section 2.1, for latents; Gu and Dao (2023) and Yang et al. (2024) for states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from talos_opt.core.errors import FormatError

#: What a layer does with the tokens before: all, those of a window, a fixed state, or nothing.
FULL, WINDOW, STATE, NONE = "full", "window", "state", "none"
#: Layers that a model may have: more are a sign of a damaged file.
MOST_LAYERS = 10_000


@dataclass(frozen=True, slots=True)
class Layer:
    """What a layer keeps and how it attends.

    Parameters
    ----------
    attention : {'full', 'window', 'state', 'none'}
    kv_values : int
        Values kept for each token: 2 x KV heads x head size, or the latent with its rotary part.
    window : int or None
        Tokens that are kept at most.
    state_values : int
        Values of a state of fixed size, of 4 bytes each, for each sequence.
    score_values : int
        Query heads x head size: what one token multiplies with each token before it, twice; the
        mean of both products where they differ.
    experts, routed : int
        Routed experts that the layer holds, and those that a token uses; 0: no mixture.
    """

    attention: str = FULL
    kv_values: int = 0
    window: int | None = None
    state_values: int = 0
    score_values: int = 0
    experts: int = 0
    routed: int = 0

    def kept(self, context: int, beside: int = 0) -> int:
        """Return the tokens that are kept of a context: of a window, so many beside it."""
        if self.attention == FULL:
            return context
        if self.attention == WINDOW and self.window is not None:
            return min(context, self.window + beside)
        return 0

    def cache_bytes(self, context: int, batch: int, value_bytes: float, beside: int = 0) -> int:
        """Return the bytes that a batch of sequences keeps of so many tokens each.

        Parameters
        ----------
        context, batch : int
        value_bytes : float
            Of a kept value; 34 / 32 for ``q8_0``. States are kept in 4 bytes.
        beside : int
            Tokens that are kept beside a window.
        """
        kept = self.kept(context, beside) * self.kv_values
        return batch * (round(kept * value_bytes) + 4 * self.state_values)


@dataclass(frozen=True)
class Architecture:
    """A model, layer by layer.

    Parameters
    ----------
    name : str
        Of its type: ``llama``, ``deepseek_v3``.
    layers : tuple of Layer
    hidden : int
        Values of a token between two layers.
    vocabulary : int
    tied : bool
        Whether the head multiplies with the embedding.
    dtype : str
        What it computes with: ``bf16``.
    limit : int or None
        Tokens of context that it was made for.
    notes : tuple of str
        What was assumed.
    further : int
        Layers behind these that predict further tokens; they are not run.
    """

    name: str
    layers: tuple[Layer, ...] = field(repr=False)
    hidden: int
    vocabulary: int
    tied: bool = False
    dtype: str = "bf16"
    limit: int | None = None
    notes: tuple[str, ...] = ()
    further: int = 0

    def cache_bytes(self, context: int, batch: int = 1, value_bytes: float = 2) -> int:
        """Return the bytes of all layers; see `Layer.cache_bytes`."""
        return sum(layer.cache_bytes(context, batch, value_bytes) for layer in self.layers)


class Fields:
    """Numbers of a config or of a header, each under one of several names.

    Parameters
    ----------
    values : mapping
    source : str
        The file, for messages.
    """

    def __init__(self, values: Mapping[str, object], source: str) -> None:
        self.values, self.source = values, source

    def get(self, *names: str) -> object | None:
        """Return the first value that is there and not null."""
        return next((self.values[n] for n in names if self.values.get(n) is not None), None)

    def number(
        self, *names: str, default: int | None = None, least: int = 0, most: int = 2**40
    ) -> int:
        """Return a whole number.

        Raises
        ------
        FormatError
            If there is none and no default, or it is not a whole number from `least` to `most`.
        """
        value = self.get(*names)
        if value is None:
            if default is None:
                raise FormatError(
                    "is missing, expected a whole number", source=self.source, path=names[0]
                )
            return default
        name = next(n for n in names if self.values.get(n) is not None)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            beyond = f" and at most {most}" if isinstance(value, int) and value > most else ""
            raise FormatError(
                f"is {value!r}, expected a whole number of at least {least}{beyond}",
                source=self.source, path=name,
            )  # fmt: skip
        return value

    def each(self, count: int, *names: str, default: int | None = None) -> list[int]:
        """Return a whole number for each layer: one for all, or a list.

        Raises
        ------
        FormatError
            If a list has another length than there are layers.
        """
        value = self.get(*names)
        if not isinstance(value, list):
            return [self.number(*names, default=default)] * count
        if len(value) != count:
            raise FormatError(
                f"has {len(value)} entries, expected one for each of {count} layers",
                source=self.source, path=names[0],
            )  # fmt: skip
        single = [Fields({names[0]: v}, self.source) for v in value]
        return [fields.number(names[0], default=0) for fields in single]
