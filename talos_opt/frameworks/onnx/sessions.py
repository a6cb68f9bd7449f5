"""Sessions of ONNX Runtime: how each is set up, and what it says where it refuses a model."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.onnx import dtypes
from talos_opt.frameworks.onnx.backend import QUIET, ort, ox
from talos_opt.frameworks.onnx.devices import CPU, Provider

#: How far a graph is optimised, by the names that profiles state. Of a ``file`` nothing is changed,
#: not even ops that have no kernel; see `capture.capture`.
LEVELS = {
    "file": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def options_of(level: str = "none", threads: int | None = None) -> Any:
    """Return the options of a session whose ops run one after another.

    Its threads stop waiting for work when a run ends: they would take the cores of other sessions.

    Parameters
    ----------
    level : str
        One of `LEVELS`.
    threads : int, optional
        Intra-op threads; default: the runtime's own, all cores.
    """
    options = ort.SessionOptions()
    options.log_severity_level = QUIET
    options.graph_optimization_level = LEVELS[level]
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.inter_op_num_threads = 1
    if threads is not None:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def session_of(
    model: Any,
    options: Any = None,
    *,
    folder: Path | None = None,
    provider: Provider = CPU,
    level: str = "none",
    name: object = "the model",
) -> Any:
    """Return a session of a model.

    Parameters
    ----------
    model : onnx.ModelProto or path
    options : onnxruntime.SessionOptions, optional
        Default: those of `options_of` for `level`.
    folder : Path, optional
        Where external data of a model that is not a file lie.
    provider : Provider
    level : str
    name : object
        What messages call the model.

    Raises
    ------
    InputError
        If the runtime refuses it.
    """
    options = options_of(level) if options is None else options
    if folder is not None:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, str(folder.resolve()))
    given = model.SerializeToString() if isinstance(model, ox.ModelProto) else os.fspath(model)
    try:
        return ort.InferenceSession(given, options, providers=provider.chain())
    except Exception as error:
        raise refused(name, error) from error


def refused(name: object, error: Exception, doing: str = "ONNX Runtime refuses it") -> InputError:
    """Return what to raise where a library refuses a model: its message in one line."""
    return InputError(f"{name}: {doing}: {' '.join(str(error).split())}")


class Bound:
    """A session with its inputs on its device: run after run, with nothing copied in between.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    provider : Provider
    values : mapping of str to np.ndarray
        Inputs that the session takes.
    """

    def __init__(self, session: Any, provider: Provider, values: Mapping[str, np.ndarray]) -> None:
        self.session = session
        self._binding = session.io_binding()
        for value in session.get_inputs():
            held = value_on(provider, values[value.name])
            self._binding.bind_ortvalue_input(value.name, held)
        self._outputs = [value.name for value in session.get_outputs()]
        self._memory = provider.memory, provider.index

    def run(self) -> float:
        """Run once, and return the seconds that it took."""
        for name in self._outputs:
            self._binding.bind_output(name, *self._memory)
        begin = time.perf_counter()
        self.session.run_with_iobinding(self._binding)
        return time.perf_counter() - begin

    def outputs(self) -> list[Any]:
        """Return what the last run made: tensors as arrays, sequences and maps as Python's."""
        held = self._binding.get_outputs()
        if all(value.is_tensor() for value in held):
            return [array_of(value) for value in held]
        made: list[Any] = self._binding.copy_outputs_to_cpu()
        return made


def value_on(provider: Provider, array: np.ndarray) -> Any:
    """Return an array as the runtime's value, in the memory of a device."""
    code = ox.helper.np_dtype_to_tensor_dtype(array.dtype)
    if dtypes.is_narrow(code):
        held = ort.OrtValue.ortvalue_from_shape_and_type(array.shape, code)
        packed = ox.numpy_helper.from_array(array).raw_data
        ctypes.memmove(held.data_ptr(), packed, len(packed))
        return held if provider.is_cpu else moved(held, provider)
    if provider.is_cpu:
        make = ort.OrtValue.ortvalue_from_numpy_with_onnx_type
        return make(np.ascontiguousarray(array), code)
    return ort.OrtValue.ortvalue_from_numpy(array, provider.memory, provider.index)


def array_of(value: Any) -> Any:
    """Return a value of the runtime as an array; of a type that NumPy lacks, in ml_dtypes'."""
    code = value.element_type()
    if not dtypes.is_narrow(code):
        return value.numpy()
    held = value if value.device_name() == CPU.memory else moved(value, CPU)
    raw = ctypes.string_at(held.data_ptr(), held.tensor_size_in_bytes())
    packed = ox.TensorProto(data_type=code, dims=held.shape(), raw_data=raw)
    return ox.numpy_helper.to_array(packed)


def moved(value: Any, provider: Provider) -> Any:
    """Return a copy of a tensor in the memory of a device."""
    there = ort.OrtValue.ortvalue_from_shape_and_type(
        value.shape(), value.element_type(), provider.memory, provider.index
    )
    ort.copy_tensors([value], [there])
    return there
