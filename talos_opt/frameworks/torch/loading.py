"""From the words on a command line to a module and its example inputs."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from talos_opt.core.errors import InputError

#: Types that inputs may have, by the names that users type.
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})-({_NUMBER})")
_FORM = "SHAPE[:dtype[:low-high]] such as 8x3x224x224 or 1x128:int64:0-30521"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An example input: what it looks like, and from where its values are drawn.

    Parameters
    ----------
    shape : tuple of int
    dtype : torch.dtype
    low, high : float, optional
        Both ends belong to the range. None: normally distributed floats, or either truth value.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    low: float | None = None
    high: float | None = None

    @classmethod
    def parse(cls, text: str) -> InputSpec:
        """Read SHAPE[:dtype[:low-high]]; the shape of a scalar is ``scalar``.

        Raises
        ------
        InputError
            If it has another form, or if whole numbers have no range.
        """
        shape_text, *rest = text.split(":")
        if len(rest) > 2:
            raise InputError(f"input {text!r} is not of the form {_FORM}")
        name = rest[0] if rest else "float32"
        if name not in DTYPES:
            raise InputError(
                f"input {text!r}: dtype {name!r} is unknown, expected one of {', '.join(DTYPES)}"
            )
        dtype = DTYPES[name]
        low, high = _range(text, rest[1]) if len(rest) == 2 else (None, None)
        if low is None and not dtype.is_floating_point and dtype != torch.bool:
            raise InputError(f"input {text!r}: {name} needs a range, such as :{name}:0-30521")
        if low is not None and not dtype.is_floating_point:
            _require_whole(text, dtype, (low, high or 0.0))
        return cls(_shape(text, shape_text), dtype, low, high)

    def make(self, generator: torch.Generator, device: str | torch.device) -> torch.Tensor:
        """Return a tensor of random values; the same for the same state of the generator."""
        if torch.device(device).type == "meta":
            return torch.empty(self.shape, dtype=self.dtype, device=device)
        if self.dtype.is_floating_point:
            if self.low is None or self.high is None:
                made = torch.randn(self.shape, generator=generator)
            else:
                drawn = torch.rand(self.shape, generator=generator, dtype=torch.float64)
                made = self.low + (self.high - self.low) * drawn
        else:
            low = 0 if self.low is None else int(self.low)
            high = 1 if self.high is None else int(self.high)
            made = torch.randint(low, high + 1, self.shape, generator=generator)
        return made.to(dtype=self.dtype, device=device)


def _shape(text: str, shape: str) -> tuple[int, ...]:
    if shape == "scalar":
        return ()
    parts = shape.split("x")
    if not all(part.isdecimal() for part in parts):
        raise InputError(f"input {text!r} is not of the form {_FORM}")
    if any(int(part) == 0 for part in parts):
        raise InputError(f"input {text!r} has no elements")
    return tuple(int(part) for part in parts)


def _range(text: str, span: str) -> tuple[float, float]:
    match = _RANGE.fullmatch(span)
    if match is None:
        raise InputError(f"input {text!r}: {span!r} is no range such as 0-30521")
    low, high = float(match[1]), float(match[2])
    if low > high:
        raise InputError(f"input {text!r}: the range ends below its start")
    return low, high


def _require_whole(text: str, dtype: torch.dtype, ends: tuple[float, float]) -> None:
    least, most = (0, 1) if dtype == torch.bool else _limits(dtype)
    for end in ends:
        if end != int(end) or not least <= end <= most:
            raise InputError(f"input {text!r}: {end:g} is no {str(dtype).removeprefix('torch.')}")


def _limits(dtype: torch.dtype) -> tuple[int, int]:
    info = torch.iinfo(dtype)
    # A 64-bit end plus one must still be drawn from.
    return int(info.min), min(int(info.max), 2**63 - 2)


def make_inputs(
    specs: Sequence[InputSpec | str], device: str | torch.device = "cpu", seed: int = 0
) -> tuple[torch.Tensor, ...]:
    """Return example inputs, drawn on the host so that they are the same for every device.

    Parameters
    ----------
    specs : sequence of InputSpec or str
        Specs, or their texts.
    device : str or torch.device
    seed : int

    Returns
    -------
    tuple of torch.Tensor
        On the meta device without values.
    """
    generator = torch.Generator().manual_seed(seed)
    parsed = [InputSpec.parse(spec) if isinstance(spec, str) else spec for spec in specs]
    return tuple(spec.make(generator, device) for spec in parsed)


def load_callable(target: str, device: str | torch.device | None = None) -> nn.Module:
    """Return the module that MODULE:CALLABLE names or makes.

    Parameters
    ----------
    target : str
        Importable module, or path of a Python file, and the name of a module instance or of a
        callable without arguments that returns one.
    device : str or torch.device, optional
        What the callable makes is made there: on ``meta`` it takes no memory.

    Raises
    ------
    InputError
        If there is no such thing, if it raises, or if it makes something else.
    """
    place, colon, name = target.rpartition(":")
    if not (colon and place and name):
        raise InputError(f"{target!r} is not of the form MODULE:CALLABLE or ./file.py:CALLABLE")
    found = _attribute(_import(place, target), name, target)
    if isinstance(found, nn.Module):
        return found.to(device) if device is not None else found
    if not callable(found):
        raise InputError(f"{target}: {name} is a {type(found).__name__}, expected a callable")
    context = torch.device(device) if device is not None else contextlib.nullcontext()
    try:
        with context, _importable(place):
            made = found()
    except (Exception, SystemExit) as error:
        raise InputError(f"{target}: {name}() raised {explain(error)}") from error
    if not isinstance(made, nn.Module):
        raise InputError(
            f"{target}: {name}() returned a {type(made).__name__}, expected a torch.nn.Module"
        )
    return made


def _import(place: str, target: str) -> ModuleType:
    """Import a file or a module; the working folder counts as a place for modules."""
    is_file = place.endswith(".py")
    if is_file and not Path(place).is_file():
        raise InputError(f"{target}: there is no file {place}")
    try:
        with _importable(place):
            return _from_file(Path(place)) if is_file else importlib.import_module(place)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not is_file and (place == missing or place.startswith(f"{missing}.")):
            raise InputError(f"{target}: there is no module {missing}") from error
        raise InputError(f"{target}: importing {place} raised {explain(error)}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{target}: importing {place} raised {explain(error)}") from error


def _from_file(path: Path) -> ModuleType:
    name = f"_talos_opt_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look modules up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def _importable(place: str) -> Iterator[None]:
    """Let a user's file import what lies beside it, and a module lie in the working folder."""
    folder = str(Path(place).resolve().parent) if place.endswith(".py") else str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _attribute(module: ModuleType, name: str, target: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(
                f"{target}: {module.__name__.removeprefix('_talos_opt_')} has no {name}"
            )
        found = getattr(found, part)
    return found


def explain(error: BaseException) -> str:
    """Return an error in one line: its type, the first line of its message, the user's line."""
    message = str(error).strip().split("\n")[0]
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    place = user_line(error)
    return f"{text} ({place})" if place else text


def user_line(error: BaseException) -> str:
    """Return the last line of code outside torch and this package that an error came through."""
    own = str(Path(__file__).resolve().parents[2])
    library = str(Path(torch.__file__).resolve().parent)
    last = ""
    for frame in traceback.extract_tb(error.__traceback__):
        inside = frame.filename.startswith((own, library, "<frozen ", "<eval_with_key>"))
        if not inside and not frame.filename.startswith(str(Path(contextlib.__file__).parent)):
            last = f"{frame.filename}:{frame.lineno}: {(frame.line or '').strip()}".rstrip(": ")
    return last
