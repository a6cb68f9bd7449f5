"""What the blocks of a module do in one step: found by running it on fake tensors.

Nothing is computed and no memory is used; shapes alone tell FLOPs, bytes, and which block reads
what another one made.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.roofline import Call
from talos_opt.frameworks.torch.blocks import Block
from talos_opt.frameworks.torch.experts import without_loops

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass
class Activity:
    """What a block does in one step.

    Parameters
    ----------
    ops : list of Call
        Every op that does work.
    peak_bytes : int
        Most bytes of activations that are alive while it runs.
    """

    ops: list[Call] = field(default_factory=list)
    peak_bytes: int = 0


@dataclass(frozen=True)
class Step:
    """One step of a module.

    Parameters
    ----------
    order : tuple of int
        Blocks by their first call; blocks that are never called come last.
    activities : tuple of Activity
        By block.
    edges : mapping of (int, int) to int
        Bytes that a block makes and another one reads.
    """

    order: tuple[int, ...]
    activities: tuple[Activity, ...]
    edges: Mapping[tuple[int, int], int]


def meter(
    module: nn.Module,
    blocks: Sequence[Block],
    inputs: Sequence[Any] | Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> Step:
    """Run one forward step on fake tensors and return what every block does in it.

    Parameters
    ----------
    module : nn.Module
        On any device, meta included; its tensors are stood in for by fake ones.
    blocks : sequence of Block
    inputs : sequence or mapping
        Positional or keyword arguments; tensors on any device.
    dtype : torch.dtype, optional
        Type of floating point weights and inputs.

    Raises
    ------
    InputError
        If the module does not run on fake tensors with these inputs.
    """
    return run(module, blocks, inputs, dtype).meters.step()


@dataclass(frozen=True)
class Ran:
    """A step on fake tensors.

    Parameters
    ----------
    meters : _Meter
    output : object
        What the module returned; its tensors are fake.
    fake : torch._subclasses.FakeTensorMode
        In which its tensors can be computed with.
    """

    meters: _Meter
    output: Any
    fake: Any


def run(
    module: nn.Module,
    blocks: Sequence[Block],
    inputs: Sequence[Any] | Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> Ran:
    """Run one forward step on fake tensors; see `meter`."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._pytree import tree_map_only

    # Unlike plain meta tensors, fake ones are known to tracers: transformers then leaves out
    # decisions that hang on the values of a mask.
    fake = FakeTensorMode()
    standins: dict[int, torch.Tensor] = {}

    def stand_in(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in standins:
            kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            with fake:
                standins[id(tensor)] = torch.empty(tensor.shape, dtype=kind, device="cpu")
        return standins[id(tensor)]

    state = {name: stand_in(t) for name, t in module.named_parameters(remove_duplicate=False)}
    state |= {name: stand_in(t) for name, t in module.named_buffers(remove_duplicate=False)}
    given = tree_map_only(torch.Tensor, stand_in, inputs)
    args = () if isinstance(given, Mapping) else tuple(given)
    kwargs = dict(given) if isinstance(given, Mapping) else {}
    meters = _Meter(len(blocks))
    hooks = _attach(module, blocks, meters)
    training = [part for part in module.modules() if part.training]
    for part in training:  # a step of inference, as in profiles: no dropout
        part.training = False
    try:
        # The stand-ins are on the CPU, whatever device a caller makes tensors on.
        with (
            torch.no_grad(),
            without_loops(module),
            torch.device("cpu"),
            meters.composites(),
            fake,
            meters.mode(),
        ):
            output = torch.func.functional_call(module, state, args, kwargs)
    except Exception as error:
        raise InputError(
            f"the module does not run on fake tensors: {type(error).__name__}: {error}"
        ) from error
    finally:
        for part in training:
            part.training = True
        for hook in hooks:
            hook.remove()
    return Ran(meters, output, fake)


def _attach(module: nn.Module, blocks: Sequence[Block], meters: _Meter) -> list[Any]:
    """Let the meter know when a block begins and ends."""
    modules = dict(module.named_modules(remove_duplicate=False))
    seen: set[int] = set()
    hooks: list[Any] = []
    for i, block in enumerate(blocks):
        part = modules.get(block.name)
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))

        def enter(*_: object, here: int = i) -> None:
            meters.enter(here)

        hooks.append(part.register_forward_pre_hook(enter))
    return hooks


class _Meter:
    """Counts what is dispatched, for the block that was entered last."""

    def __init__(self, count: int) -> None:
        self.activities = tuple(Activity() for _ in range(count))
        self.called: dict[int, None] = {}
        self.here = 0
        self.live = 0
        self.maker: dict[int, tuple[int, int]] = {}  # storage -> (block, serial number)
        self.serial = 0
        self.read: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
        self.whole = False  # within an op that counts as one
        self.counted = 0.0  # FLOPs within it

    def enter(self, block: int) -> None:
        self.called.setdefault(block)
        self.here = block

    def step(self) -> Step:
        uncalled = (i for i in range(len(self.activities)) if i not in self.called)
        edges = {pair: sum(sizes.values()) for pair, sizes in self.read.items()}
        return Step((*self.called, *uncalled), self.activities, edges)

    def mode(self) -> Any:
        """Return the dispatch mode that feeds `count`."""
        from torch.utils._python_dispatch import TorchDispatchMode

        count = self.count

        class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
            def __torch_dispatch__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                out = _evaluate(func, args, kwargs or {})
                count(func, args, kwargs or {}, out)
                return out

        return Mode()  # type: ignore[no-untyped-call]

    def composites(self) -> Any:
        """Return the mode that counts as one op what graphs hold as one op."""
        from torch.overrides import TorchFunctionMode

        from talos_opt.frameworks.torch.costs import call_of

        meters, overloads = self, _composites()

        class Mode(TorchFunctionMode):
            def __torch_function__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                kwargs = kwargs or {}
                overload = overloads.get(getattr(func, "__name__", ""))
                if overload is None or meters.whole:
                    return func(*args, **kwargs)
                meters.whole, meters.counted = True, 0.0
                try:
                    out = func(*args, **kwargs)
                finally:
                    meters.whole = False
                meters._did(call_of(overload, args, kwargs, out, meters.counted))
                return out

        return Mode()

    def count(self, func: Any, args: Any, kwargs: Mapping[str, Any], out: Any) -> None:
        """Take note of one op."""
        import torch
        from torch.utils._pytree import tree_leaves

        from talos_opt.frameworks.torch.costs import call_of, counted_flops

        read = [t for t in tree_leaves((args, dict(kwargs))) if isinstance(t, torch.Tensor)]
        made = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        known = {t.untyped_storage()._cdata for t in read}
        for tensor in read:
            self._read(tensor)
        fresh = [t for t in made if t.untyped_storage()._cdata not in known]
        for tensor in fresh:
            self._made(tensor)
        if self.whole:
            self.counted += counted_flops(func, args, kwargs, out)
        else:
            self._did(call_of(func, args, kwargs, out))

    def _did(self, call: Call | None) -> None:
        if call is not None:
            self.activities[self.here].ops.append(call)

    def _read(self, tensor: torch.Tensor) -> None:
        maker = self.maker.get(tensor.untyped_storage()._cdata)
        if maker is not None and maker[0] != self.here:
            self.read[maker[0], self.here][maker[1]] = tensor.untyped_storage().nbytes()

    def _made(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.maker:
            return
        self.serial += 1
        self.maker[key] = (self.here, self.serial)
        self.live += size
        activity = self.activities[self.here]
        activity.peak_bytes = max(activity.peak_bytes, self.live)
        weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self.maker.pop(key, None)
        self.live -= size


def _composites() -> dict[str, Any]:
    """Ops that run as several on a CPU, by the name of the function that is called.

    Elsewhere they are one kernel, or others: what they were taken apart into here says little.
    """
    import torch

    aten = torch.ops.aten
    recurrent = ("lstm", "gru", "rnn_tanh", "rnn_relu")
    return {
        "scaled_dot_product_attention": aten.scaled_dot_product_attention.default,
        "diff": aten.diff.default,
        **{name: getattr(aten, name).input for name in recurrent},
    }


def _evaluate(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Return what a call makes, also where a kernel of the same shapes has another type only."""
    import torch
    from torch.utils._pytree import tree_map_only

    if func.name() != "aten::_grouped_mm" or args[0].dtype == torch.bfloat16:
        return func(*args, **kwargs)
    # Shapes are worked out for bfloat16 alone, though devices have kernels for other types.
    kind = args[0].dtype
    stood_in = tree_map_only(
        torch.Tensor, lambda t: t.bfloat16() if t.is_floating_point() else t, (args, dict(kwargs))
    )
    return func(*stood_in[0], **stood_in[1]).to(kind)
