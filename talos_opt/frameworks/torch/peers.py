"""Processes of one machine that send each other tensors: how they meet, and how long that takes."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import connection
from typing import Any

import torch
import torch.distributed as dist

from talos_opt.core.errors import InputError, SolverError
from talos_opt.frameworks.common.links import link_rates

_dist: Any = dist  # not all of its names have annotations

#: Host of the store by which the processes find each other: this machine.
_HOST = "127.0.0.1"
#: Round trips by which a hand-over is timed, after one that opens the connection.
_TRIPS = 20
#: Seconds for which a process that was ended is waited for.
PATIENCE = 5.0
#: Seconds that the processes of a link may take to start and to send everything.
_LINK_S = 120.0


def open_store(port: int | None = None) -> Any:
    """Return the store by which processes find each other; the process that calls this keeps it.

    Parameters
    ----------
    port : int, optional
        Default: one that is free.

    Raises
    ------
    InputError
        If the port is in use, or not this user's to take.
    """
    try:
        return _dist.TCPStore(_HOST, port or 0, is_master=True, wait_for_workers=False)
    except dist.DistError as error:
        if port is None:
            raise SolverError(f"no port can be opened for the processes: {error}") from error
        raise InputError(
            f"--port {port} is in use or cannot be opened here; without --port a free one is taken"
        ) from None


def obey_parent() -> None:
    """Let the parent decide when this process ends: at its end at the latest."""
    # Ctrl-C in a terminal reaches this process as well; it is for the parent to end it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_outlive_no_parent, daemon=True).start()


def _outlive_no_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def wire_of(devices: Sequence[torch.device], rank: int) -> torch.device:
    """Return where a stage's tensors are when they are sent and received.

    NCCL sends from GPU to GPU and needs one for each process; what any other stages send each
    other goes by gloo, through the memory of the host.
    """
    gpus = {device for device in devices if device.type == "cuda"}
    return devices[rank] if len(gpus) == len(devices) else torch.device("cpu")


def join_group(rank: int, count: int, port: int, wire: torch.device, timeout_s: float) -> None:
    """Join the group of processes: by NCCL from GPU to GPU, by gloo from CPU to CPU."""
    timeout = datetime.timedelta(seconds=timeout_s)
    if sys.platform.startswith("linux"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine
    store = _dist.TCPStore(_HOST, port, is_master=False, timeout=timeout)
    cuda = wire.type == "cuda"
    if cuda:
        torch.cuda.set_device(wire)
    dist.init_process_group(
        "nccl" if cuda else "gloo", store=store, rank=rank, world_size=count, timeout=timeout
    )


def handover_s(tensors: Sequence[torch.Tensor], other: int, *, first: bool) -> float:
    """Return the seconds that tensors take to another process, which calls this at the same time.

    Parameters
    ----------
    tensors : sequence of torch.Tensor
        As many and as large in both.
    other : int
        Rank of the other process.
    first : bool
        Whether this one sends first: one of the two does.
    """
    trips = [_trip(tensors, other, first=first) for _ in range(_TRIPS + 1)][1:]
    # The shortest: a process that others keep from its core answers a time slice later.
    return min(trips) / 2


def _trip(tensors: Sequence[torch.Tensor], other: int, *, first: bool) -> float:
    """Send tensors and get as many back, or the other way round."""
    start = time.perf_counter()
    for way in (dist.isend, dist.irecv) if first else (dist.irecv, dist.isend):
        for work in [way(x, other) for x in tensors]:
            if work is not None:
                work.wait()
    return time.perf_counter() - start


def process_link() -> tuple[float, float]:
    """Return latency in seconds and bytes per second from one process to another, on the CPU.

    Raises
    ------
    SolverError
        If the processes cannot be started or do not answer.
    """
    context = multiprocessing.get_context("spawn")
    store = open_store()
    here, there = context.Pipe(duplex=False)
    processes = [
        context.Process(target=_link_end, args=(rank, store.port, there), daemon=True)
        for rank in range(2)
    ]
    try:
        for process in processes:
            process.start()
        there.close()
        if here in connection.wait([here], _LINK_S):
            found: tuple[float, float] = here.recv()
            return found
        raise SolverError("the processes between which links are measured do not answer")
    except EOFError:
        raise SolverError("the processes between which links are measured have ended") from None
    finally:
        end_all(processes)
        here.close()


def end_all(processes: Sequence[Any]) -> None:
    """End processes that were started, whatever they do."""
    started = [process for process in processes if process.pid is not None]
    for process in started:
        process.kill()
    for process in started:
        process.join(PATIENCE)


def _link_end(rank: int, port: int, pipe: connection.Connection) -> None:
    obey_parent()
    torch.set_num_threads(1)
    join_group(rank, 2, port, torch.device("cpu"), _LINK_S)

    def took(size: int) -> float:
        tensor = torch.zeros(size, dtype=torch.uint8)
        return handover_s([tensor], 1 - rank, first=rank == 0)

    found = link_rates(took)
    if rank == 0:
        pipe.send(found)
    pipe.close()
    dist.barrier()
    dist.destroy_process_group()
