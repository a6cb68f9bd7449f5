"""Sessions that run a placed graph as it stands: no device or op is changed behind our back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.loading import explain
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.placing import Placed


class Session:
    """A placed graph with its values in place, ready to run.

    Parameters
    ----------
    placed : Placed
    values : mapping of str to np.ndarray
        By placeholder, as `Captured.values` returns them.
    cpus : int
        Logical CPU devices.
    threads : int, optional
        Intra-op threads of each; default: all cores.
    concurrency : int, optional
        Ops that run at a time, on all devices together; default: one for each device in use.
    """

    def __init__(
        self,
        placed: Placed,
        values: Mapping[str, np.ndarray],
        *,
        cpus: int = 1,
        threads: int | None = None,
        concurrency: int | None = None,
    ) -> None:
        self.placed = placed
        self._values = values
        self._given = {slot.given: slot for slot in placed.given}
        graph = tf.Graph()
        with graph.as_default():
            tf.graph_util.import_graph_def(placed.graph_def, name="")
        config = _config(cpus, threads or 0, concurrency or len(placed.steps))
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        steps = [graph.get_operation_by_name(name) for name in placed.steps]
        try:
            self.reset()
            self._step = self._session.make_callable(steps, accept_options=True)
        except tf.errors.OpError as error:
            self._session.close()
            raise _refused(error) from error

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session, and free what it holds."""
        self._session.close()

    def reset(self) -> None:
        """Put inputs, weights and all other variables back to what they were given as."""
        self.put(self._values)

    def put(self, values: Mapping[str, np.ndarray]) -> None:
        """Give some inputs, weights or other variables a value.

        Parameters
        ----------
        values : mapping of str to np.ndarray
            By placeholder.
        """
        for slot in self.placed.given:
            if slot.given in values:
                self._session.run(slot.write, {f"{slot.value}:0": values[slot.given]})

    def run(self) -> float:
        """Run one step and return the seconds it took."""
        began = time.perf_counter()
        self._run()
        return time.perf_counter() - began

    def trace(self, *, partitions: bool = False) -> Any:
        """Run one step and return its RunMetadata: times and memory of every node.

        Parameters
        ----------
        partitions : bool
            Also the graphs that the devices ran, with their sends.
        """
        options = tf.compat.v1.RunOptions(
            trace_level=tf.compat.v1.RunOptions.FULL_TRACE, output_partition_graphs=partitions
        )
        found = tf.compat.v1.RunMetadata()
        self._run(options=options, run_metadata=found)
        return found

    def _run(self, **kwargs: Any) -> None:
        try:
            self._step(**kwargs)
        except tf.errors.OpError as error:
            raise _refused(error) from error

    def outputs(self, written: Sequence[str] = ()) -> list[np.ndarray]:
        """Return what the last step returned, then some variables, by their placeholders."""
        reads = [slot.read for slot in self.placed.outputs]
        reads += [self._given[name].read for name in written]
        return [np.asarray(value) for value in self._session.run(reads)] if reads else []


def _config(cpus: int, threads: int, concurrency: int) -> Any:
    """Return the settings under which a graph runs as it stands."""
    config = tf.compat.v1.ConfigProto(
        device_count={"CPU": cpus},
        intra_op_parallelism_threads=threads,
        inter_op_parallelism_threads=concurrency,
        use_per_session_threads=True,
        allow_soft_placement=False,
    )
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    # L0: nothing is folded or merged, so that every op is there to be timed.
    config.graph_options.optimizer_options.opt_level = -1
    config.gpu_options.allow_growth = True
    return config


def _refused(error: Exception) -> InputError:
    return InputError(f"TensorFlow does not run the placed graph: {explain(error)}")
