"""Run a placement: a session for each piece, a thread for each device, tensors handed over."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from talos_opt.frameworks.common.running import Execution, Hop, Span, in_turn
from talos_opt.frameworks.onnx.backend import ort
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.devices import Provider
from talos_opt.frameworks.onnx.events import read_profile
from talos_opt.frameworks.onnx.pieces import Piece, piece_model
from talos_opt.frameworks.onnx.sessions import array_of, moved, options_of, value_on


class _Loaded(NamedTuple):
    """A piece with its session; `began_s` is when its profile began, on the system's clock."""

    piece: Piece
    session: Any
    binding: Any
    began_s: float


class _Move(NamedTuple):
    """A value that went from one device to another; seconds on the clock of `perf_counter`."""

    value: str
    source: str
    target: str
    start_s: float
    end_s: float
    bytes: int


class Executor:
    """The pieces of a placement, ready to run.

    Parameters
    ----------
    captured : Captured
    pieces : sequence of Piece
        Each behind those that it reads.
    providers : mapping of str to Provider
        Of every device, those that only pass values on included.
    values : mapping of str to np.ndarray
        Inputs of the model: on every device that reads them before the clock starts.
    hops : iterable of Hop, optional
        How values travel; default: straight. What no hop brings to a reader comes straight.
    threads : int, optional
        Intra-op threads of each session on the CPU; default: all cores.
    watched : bool
        Whether the sessions write profiles: then `executions` has times of ops.
    """

    def __init__(
        self,
        captured: Captured,
        pieces: Sequence[Piece],
        providers: Mapping[str, Provider],
        values: Mapping[str, np.ndarray],
        hops: Iterable[Hop] | None = None,
        *,
        threads: int | None = None,
        watched: bool = False,
    ) -> None:
        self._captured, self._providers = captured, dict(providers)
        self._watched = watched
        self._routes = _routes(captured, pieces, hops)
        self._loaded: dict[str, list[_Loaded]] = defaultdict(list)
        for piece in pieces:
            self._loaded[piece.device].append(self._load(piece, threads))
        self._given = {
            device: {
                value: value_on(self._providers[device], values[value])
                for value in dict.fromkeys(v for one in loaded for v in one.piece.reads)
                if value in values
            }
            for device, loaded in self._loaded.items()
        }
        self._inputs = dict(values)
        self._pool = ThreadPoolExecutor(max_workers=len(self._loaded))
        self._moves: list[list[_Move]] = []
        self._clock_s = time.time_ns() * 1e-9 - time.perf_counter()

    def run(self) -> tuple[float, list[Any]]:
        """Run once; return the seconds from the first op to the last one's end, and the outputs."""
        run = _Run(self._captured, self._providers, self._routes, self._loaded, self._given)
        begin, end = run.finish(self._pool)
        self._moves.append(run.moves)
        return end - begin, [self._output(value, run) for value in self._captured.outputs]

    def executions(self) -> list[Execution]:
        """Return every run so far with the times of its ops; ends the profiles."""
        spans: list[list[Span]] = [[] for _ in self._moves]
        for device, loaded in self._loaded.items():
            for one in loaded:
                profile = Path(one.session.end_profiling())
                runs = read_profile(profile)
                profile.unlink()
                for k, run in enumerate(runs):
                    known = {e.name: e for e in run.nodes if e.name in self._captured.nodes}
                    for op in one.piece.ops:
                        event = known.get(op)
                        start, end = (
                            (event.start_s, event.end_s) if event else (run.end_s, run.end_s)
                        )
                        spans[k].append(Span(op, device, start + one.began_s, end + one.began_s))
        return [self._execution(ops, moves) for ops, moves in zip(spans, self._moves, strict=True)]

    def close(self) -> None:
        """End the threads; sessions go with the object."""
        self._pool.shutdown()

    def _load(self, piece: Piece, threads: int | None) -> _Loaded:
        provider = self._providers[piece.device]
        options = options_of(threads=threads if provider.is_cpu else None)
        if self._watched:
            self._captured.watch(options, piece.name)
        part = piece_model(self._captured, piece)
        session = self._captured.session(options, provider, part)
        began = session.get_profiling_start_time_ns() * 1e-9 if self._watched else 0.0
        return _Loaded(piece, session, session.io_binding(), began)

    def _output(self, value: str, run: _Run) -> Any:
        if value in self._inputs:
            return self._inputs[value]
        if value in self._captured.constants:
            return self._captured.constant(value)
        found = run.outputs[value]
        return array_of(found) if isinstance(found, ort.OrtValue) else found

    def _execution(self, ops: Sequence[Span], moves: Sequence[_Move]) -> Execution:
        origin = min(span.start_s for span in ops)
        shift = self._clock_s - origin
        transfers = []
        for move in moves:
            op, output = self._captured.named(move.value)
            transfers.append(
                Span(
                    op, move.source, move.start_s + shift, move.end_s + shift,
                    move.target, move.bytes, output,
                )
            )  # fmt: skip
        placed = [Span(s.op, s.device, s.start_s - origin, s.end_s - origin) for s in ops]
        return Execution(
            outputs=[],
            wall_s=max(span.end_s for span in placed),
            ops=tuple(sorted(placed, key=lambda span: span.start_s)),
            transfers=tuple(sorted(transfers, key=lambda span: span.start_s)),
        )


def _routes(
    captured: Captured, pieces: Sequence[Piece], hops: Iterable[Hop] | None
) -> dict[str, list[tuple[str, str]]]:
    """Return where each value goes, from and to, in turn: once to each device that reads it."""
    home = {value: piece.device for piece in pieces for value in piece.makes}
    planned: dict[tuple[str, str], list[Hop]] = defaultdict(list)
    for hop in hops or ():
        planned[hop.op, hop.output].append(hop)
    routes: dict[str, list[tuple[str, str]]] = {value: [] for value in home}
    for value, device in home.items():
        found = in_turn(planned[captured.named(value)], device)
        routes[value] = [(hop.source, hop.target) for hop in found]
    for piece in pieces:
        for value in piece.reads:
            if value in home:
                there = {home[value], *(target for _, target in routes[value])}
                if piece.device not in there:
                    routes[value].append((home[value], piece.device))
    return routes


class _Stopped(Exception):
    """Another device's thread has failed."""


class _Run:
    """State of one run: values on every device, and who waits for them."""

    def __init__(
        self,
        captured: Captured,
        providers: Mapping[str, Provider],
        routes: Mapping[str, Sequence[tuple[str, str]]],
        loaded: Mapping[str, Sequence[_Loaded]],
        given: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.moves: list[_Move] = []
        self.outputs: dict[str, Any] = {}
        self._wanted = frozenset(captured.outputs)
        self._providers, self._routes, self._loaded = providers, routes, loaded
        self._values = {device: dict(given.get(device, {})) for device in providers}
        self._left = {
            device: Counter(value for one in parts for value in one.piece.reads)
            for device, parts in loaded.items()
        }
        self._arrived = {
            (value, target): threading.Event()
            for value, route in routes.items()
            for _, target in route
        }
        self._failed = False

    def finish(self, pool: ThreadPoolExecutor) -> tuple[float, float]:
        """Run all pieces; return begin and end of the first and the last."""
        futures = [pool.submit(self._work, device) for device in self._loaded]
        spans, errors = [], []
        for future in futures:
            try:
                spans.append(future.result())
            except _Stopped:
                continue
            except BaseException as error:
                self._stop()
                errors.append(error)
        if errors:
            raise errors[0]
        return min(begin for begin, _ in spans), max(end for _, end in spans)

    def _stop(self) -> None:
        self._failed = True
        for event in self._arrived.values():
            event.set()

    def _work(self, device: str) -> tuple[float, float]:
        """Run a device's pieces in their order."""
        first = last = 0.0
        try:
            for one in self._loaded[device]:
                self._await(device, one.piece.reads)
                begin = time.perf_counter()
                self._run(device, one)
                last = time.perf_counter()
                first = first or begin
                self._hand_over(device, one.piece.makes)
                self._free(device, one.piece.reads)
        except BaseException:
            self._stop()
            raise
        return first, last

    def _await(self, device: str, reads: Iterable[str]) -> None:
        for value in reads:
            event = self._arrived.get((value, device))
            if event is not None:
                event.wait()
            if self._failed:
                raise _Stopped

    def _run(self, device: str, one: _Loaded) -> None:
        held, provider = self._values[device], self._providers[device]
        for value in one.piece.reads:
            one.binding.bind_ortvalue_input(value, held[value])
        for value in one.piece.makes:
            one.binding.bind_output(value, provider.memory, provider.index)
        one.session.run_with_iobinding(one.binding)
        for value, made in zip(one.piece.makes, one.binding.get_outputs(), strict=True):
            held[value] = made
        self._keep(one)
        one.binding.clear_binding_inputs()
        one.binding.clear_binding_outputs()

    def _keep(self, one: _Loaded) -> None:
        """Keep what the model returns; sequences and maps as Python has them."""
        wanted = [value for value in one.piece.makes if value in self._wanted]
        if not wanted:
            return
        made = dict(zip(one.piece.makes, one.binding.get_outputs(), strict=True))
        if all(made[value].is_tensor() for value in wanted):
            self.outputs |= {value: made[value] for value in wanted}
            return
        copied = dict(zip(one.piece.makes, one.binding.copy_outputs_to_cpu(), strict=True))
        self.outputs |= {value: copied[value] for value in wanted}

    def _hand_over(self, device: str, makes: Iterable[str]) -> None:
        for value in makes:
            held = {device: self._values[device][value]}
            for source, target in self._routes[value]:
                begin = time.perf_counter()
                there = _moved(held[source], self._providers[source], self._providers[target])
                held[target] = self._values[target][value] = there
                self._arrived[value, target].set()
                end = time.perf_counter()
                size = there.tensor_size_in_bytes() if there.is_tensor() else 0
                self.moves.append(_Move(value, source, target, begin, end, size))
            if not self._left[device][value]:
                del self._values[device][value]

    def _free(self, device: str, reads: Iterable[str]) -> None:
        """Let go of what no later piece of the device reads."""
        for value in reads:
            self._left[device][value] -= 1
            if not self._left[device][value]:
                self._values[device].pop(value, None)


def _moved(value: Any, source: Provider, target: Provider) -> Any:
    """Return a value in the memory of another device; the same where that is the same memory."""
    if (source.memory, source.index) == (target.memory, target.index):
        return value
    return moved(value, target)
