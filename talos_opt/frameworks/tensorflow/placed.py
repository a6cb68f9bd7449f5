"""A model under a placement, to be called with other inputs: one session, step after step.

The session runs the graph as it was captured. So gradients do not flow through it, and a training
step is the captured one, with its loss and its plain gradient descent.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.core.machine import available_cores
from talos_opt.core.result import Result
from talos_opt.formats.schedule import ScheduleFile, open_schedule
from talos_opt.formats.schedule_header import read_header
from talos_opt.frameworks.common.running import other_inputs, read_plan
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.capture import capture
from talos_opt.frameworks.tensorflow.captured import Captured, shapes_of
from talos_opt.frameworks.tensorflow.devices import device_strings, logical_cpus
from talos_opt.frameworks.tensorflow.models import Model, as_model
from talos_opt.frameworks.tensorflow.placing import place
from talos_opt.frameworks.tensorflow.run import captured_ops
from talos_opt.frameworks.tensorflow.session import Session


def place_model(
    model: Any,
    inputs: Sequence[Any],
    schedule: Mapping[str, Any] | ScheduleFile | Result | str | os.PathLike[str],
    *,
    device_map: Mapping[str, str] | None = None,
    mode: str | None = None,
    threads: int | None = None,
) -> PlacedModel:
    """Return a model that runs under a schedule's placement.

    Parameters
    ----------
    model : Model, tf.keras.Model, tf.function, tf.Module or SavedModel
        As `models.as_model` takes them.
    inputs : sequence
        Example inputs by position, of the shapes that it was profiled with.
    schedule : mapping, ScheduleFile, Result or path
        A result, or a talos-schedule/1 document or file.
    device_map : mapping of str to str, optional
        TensorFlow's device of each device of the schedule; default: see `device_strings`.
    mode : {'inference', 'training'}, optional
        What the schedule is of; default: as the description of its graph says, else inference.
    threads : int, optional
        Intra-op threads of each CPU device; default: the cores shared out among them.

    Raises
    ------
    InputError
        If the schedule is of another graph or of other shapes, a device is not there, or the
        model cannot be captured.
    """
    opened = open_schedule(schedule)
    made = opened.made if isinstance(opened, ScheduleFile) else read_header(opened)
    if mode is None:
        trains = (made.description or "").startswith("tensorflow training")
        mode = "training" if trains else "inference"
    source = model if isinstance(model, Model) else as_model(model)
    given = [np.asarray(value) for value in inputs]
    return PlacedModel(capture(source, given, mode), given, opened, device_map, threads=threads)


class PlacedModel:
    """A captured model under a placement; made by `place_model`.

    Parameters
    ----------
    captured : Captured
    inputs : sequence of np.ndarray
        What it was captured with.
    schedule, device_map, threads
        As for `place_model`.

    Attributes
    ----------
    devices : dict of str to str
        TensorFlow's name of each device of the schedule that is used.
    notes : tuple of str
        What in the schedule does not fit the model, and what else its user should know.
    """

    def __init__(
        self,
        captured: Captured,
        inputs: Sequence[np.ndarray],
        schedule: Mapping[str, Any] | ScheduleFile,
        device_map: Mapping[str, str] | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        plan = read_plan(captured_ops(captured), schedule)
        made = schedule.made if isinstance(schedule, ScheduleFile) else read_header(schedule)
        for note in other_inputs(made.description, shapes_of(inputs)):
            raise InputError(note.partition(": the predicted")[0])
        used = [*plan.device.values(), *(d for hop in plan.hops for d in (hop.source, hop.target))]
        for name in device_map or {}:
            if name not in {*used, *plan.devices}:
                raise InputError(
                    f"device_map names {name!r}, which the schedule does not have, expected "
                    f"some of {', '.join(plan.devices)}"
                )
        self.devices = device_strings(used, device_map)
        self.notes = (*plan.notes, *captured.notes)
        self._captured = captured
        self._like = [(value.shape, value.dtype) for value in inputs]
        cpus = logical_cpus(self.devices.values())
        order = sorted(captured.op_ids(), key=lambda op: plan.start_s[op])
        placed = place(captured, plan.device, self.devices, order, plan.hops)
        self._session = Session(
            placed,
            captured.values(inputs),
            cpus=cpus,
            threads=threads or max(1, available_cores() // cpus),
        )
        self._lock = threading.Lock()

    def __call__(self, *inputs: Any) -> Any:
        """Run one step.

        Parameters
        ----------
        *inputs : array or tf.Tensor
            By position, of the captured shapes and types.

        Returns
        -------
        tf.Tensor, nested as the model's
            Of an inference, what the model returns; of a training step, the loss, then that.
            Gradients do not flow through them. Variables that the step writes have their new
            values in the model.

        Raises
        ------
        InputError
            If inputs have other shapes or types, or a tf.function is being traced.
        """
        if not tf.executing_eagerly():
            raise InputError("a placed model runs a session, which no tf.function can hold")
        captured, values = self._captured, self._fitting(inputs)
        written = captured.written()
        given: dict[str, Any] = {
            item.node: values[item.source] for item in captured.given if item.kind == "input"
        }
        with self._lock:
            given |= {item.node: item.source.numpy() for item in written}
            self._session.put(given)
            self._session.run()
            found = self._session.outputs([item.node for item in written])
        count = len(found) - len(written)
        for item, value in zip(written, found[count:], strict=True):
            item.source.assign(value)
        left = iter(found[:count])
        return tf.nest.map_structure(
            lambda leaf: tf.constant(next(left)) if tf.is_tensor(leaf) else leaf,
            captured.function.structured_outputs,
            expand_composites=True,
        )

    def refresh(self) -> None:
        """Take over weights that were changed in the model.

        Only for those that a step does not write: these are taken over before every step.
        """
        with self._lock:
            self._session.put(
                {item.node: item.source.numpy() for item in self._captured.variables()}
            )

    def close(self) -> None:
        """End the session; its memory is free after that."""
        self._session.close()

    def __enter__(self) -> PlacedModel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _fitting(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        if len(inputs) != len(self._like):
            raise InputError(
                f"inputs given: {len(inputs)}; the model was placed with {len(self._like)}"
            )
        found = [np.asarray(value) for value in inputs]
        for k, (value, (shape, dtype)) in enumerate(zip(found, self._like, strict=True)):
            if value.shape != shape or value.dtype != dtype:
                raise InputError(
                    f"input {k} is {shapes_of([value])}, expected "
                    f"{shapes_of([np.empty(shape, dtype)])}: a placed model takes the shapes and "
                    "types that it was placed for; profile and solve again for others"
                )
        return found
