"""llama.cpp itself, through llama-cpp-python: a small model, servers as devices, its own log."""

from __future__ import annotations

import ctypes
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

#: Tokens that models are made for, and that go through together.
CONTEXT, CHUNK = 1024, 256
_HOST = "127.0.0.1"
#: What ``--n-cpu-moe`` adds for a layer (common/common.h), written again here.
_MOE = r"blk\.{}\.ffn_(up|down|gate|gate_up)_(ch|)exps"
_SERVER = """
import ctypes, sys
from pathlib import Path
base, *rest = [ctypes.CDLL(path, ctypes.RTLD_GLOBAL) for path in sys.argv[2:]]
by_name = rest[-2].ggml_backend_dev_by_name
by_name.restype, by_name.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
both = (ctypes.c_void_p * 2)(by_name(b"CPU"), by_name(b"CPU"))
start = rest[-1].ggml_backend_rpc_start_server
start.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t,
                  ctypes.c_void_p]
start(sys.argv[1].encode(), None, 1, 2, both)
"""


def write_model(
    path: Path, layers: int, hidden: int, width: int, experts: int = 0, *, tied: bool = False
) -> None:
    """Write a Llama, or a mixture, with random weights and a token for each byte."""
    import gguf

    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    heads, kv_heads = 4, 2
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "\u2581", "a", "b"]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    kinds += [gguf.TokenType.NORMAL] * 3
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(k) for k in range(len(tokens))])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

    def add(name: str, *shape: int) -> None:
        values = rng.normal(0, hidden**-0.5, shape) if len(shape) > 1 else np.ones(shape)
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))

    add("token_embd", len(tokens), hidden)
    for k in range(layers):
        lead = f"blk.{k}."
        add(f"{lead}attn_norm", hidden)
        add(f"{lead}attn_q", hidden, hidden)
        add(f"{lead}attn_k", hidden * kv_heads // heads, hidden)
        add(f"{lead}attn_v", hidden * kv_heads // heads, hidden)
        add(f"{lead}attn_output", hidden, hidden)
        add(f"{lead}ffn_norm", hidden)
        if experts:
            add(f"{lead}ffn_gate_inp", experts, hidden)
        lead, several = (f"{lead}ffn_", (experts,)) if experts else (f"{lead}ffn_", ())
        end = "_exps" if experts else ""
        add(f"{lead}gate{end}", *several, width, hidden)
        add(f"{lead}up{end}", *several, width, hidden)
        add(f"{lead}down{end}", *several, hidden, width)
    add("output_norm", hidden)
    if not tied:
        add("output", len(tokens), hidden)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def libraries(package: Any) -> list[Path]:
    """Return ggml's libraries in the order in which they need each other, RPC the last."""
    folder = Path(package.__file__).parent / "lib"
    names = ("ggml-base", "ggml-cpu", "ggml", "ggml-rpc")
    return [path for name in names for path in sorted(folder.glob(f"lib{name}.*"))[:1]]


@contextmanager
def server(package: Any) -> Iterator[str]:
    """Run a server that offers two devices, and give its address."""
    with socket.socket() as free:
        free.bind((_HOST, 0))
        address = f"{_HOST}:{free.getsockname()[1]}"
    argv = [sys.executable, "-c", _SERVER, address, *map(str, libraries(package))]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex((_HOST, int(address.rpartition(":")[2]))) == 0:
                    break
            assert process.poll() is None, "the server ended"
            time.sleep(0.05)
        yield address
    finally:
        process.kill()
        process.wait()


def read_flags(path: Path) -> dict[str, str]:
    """Return the value of each flag of a file that ``export --to llama-cpp`` wrote."""
    words = shlex.split(path.read_text(), comments=True)
    return dict(zip(words[::2], words[1::2], strict=True))


@dataclass
class Loaded:
    """A model that llama.cpp has loaded with flags, and what it logged.

    Parameters
    ----------
    package : module
        llama_cpp.
    log : list of str
    """

    package: Any
    log: list[str] = field(default_factory=list)
    _held: list[Any] = field(default_factory=list)
    _model: Any = None
    _context: Any = None

    def layers(self) -> dict[int, str]:
        """Return the device of each layer; the last is the output."""
        return {
            int(k): device for k, device in self._found(r"layer +(\d+) assigned to device (\S+),")
        }

    def caches(self) -> dict[int, str]:
        """Return the device of each layer's KV cache."""
        return {int(k): device for k, device in self._found(r"layer +(\d+): dev = (\S+)")}

    def overridden(self) -> dict[str, str]:
        """Return the device of each tensor that is elsewhere than its layer."""
        return dict(self._found(r"tensor (\S+) \(.*\) buffer type overridden to (\w+)"))

    def buffers(self) -> dict[str, float]:
        """Return the MiB of weights on each device."""
        return {name: float(size) for name, size in
                self._found(r"(\w+)(?:\[\S+\])? model buffer size = +([\d.]+) MiB")}  # fmt: skip

    def working(self) -> dict[str, float]:
        """Return the MiB for computing on each device."""
        return {name: float(size) for name, size in
                self._found(r"(\w+)(?:\[\S+\])? compute buffer size = +([\d.]+) MiB")}  # fmt: skip

    def kept(self) -> dict[str, float]:
        """Return the MiB of the KV cache on each device."""
        return {name: float(size) for name, size in
                self._found(r"(\w+)(?:\[\S+\])? KV buffer size = +([\d.]+) MiB")}  # fmt: skip

    def _found(self, pattern: str) -> list[Any]:
        return re.findall(pattern, "".join(self.log))

    def __enter__(self) -> Loaded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._context is not None:
            self.package.llama_free(self._context)
        if self._model is not None:
            self.package.llama_model_free(self._model)
        self.package.llama_log_set(self._held[0], None)

    def generate(self, prompt: Sequence[int], count: int) -> list[int]:
        """Return the tokens of the highest logits, one after another."""
        lib, found, tokens = self.package, [], list(prompt)
        vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self._model))
        for _ in range(count):
            array = (lib.llama_token * len(tokens))(*tokens)
            assert lib.llama_decode(self._context, lib.llama_batch_get_one(array, len(tokens))) == 0
            logits = lib.llama_get_logits_ith(self._context, -1)
            tokens = [int(np.argmax(np.ctypeslib.as_array(logits, shape=(vocabulary,))))]
            found += tokens
        return found


def load(package: Any, path: Path, flags: dict[str, str], address: str | None = None) -> Loaded:
    """Load a model as llama.cpp's programs do with these flags.

    Parameters
    ----------
    package : module
        llama_cpp.
    path : path
    flags : dict
        See `read_flags`.
    address : str, optional
        Of a server whose devices are called RPC0 and RPC1.
    """
    found = Loaded(package)

    @package.llama_log_callback
    def log(level: int, text: bytes, data: Any) -> None:
        found.log.append(text.decode())

    found._held.append(log)
    package.llama_log_set(log, None)
    libs = [ctypes.CDLL(str(p), ctypes.RTLD_GLOBAL) for p in libraries(package)]
    registry = libs[2]
    by_name, buffer_type = registry.ggml_backend_dev_by_name, libs[0].ggml_backend_dev_buffer_type
    by_name.restype, by_name.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    buffer_type.restype, buffer_type.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    if address is not None and not by_name(b"RPC0"):
        add = libs[3].ggml_backend_rpc_add_server
        add.restype, add.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
        registry.ggml_backend_register.argtypes = [ctypes.c_void_p]
        registry.ggml_backend_register(add(address.encode()))

    def device(name: str) -> int:
        handle = by_name(name.encode())
        assert handle, f"llama.cpp has no device {name}"
        return int(handle)

    params = package.llama_model_default_params()
    params.n_gpu_layers = int(flags["-ngl"])
    if "-dev" in flags:
        names = flags["-dev"].split(",")
        handles = (ctypes.c_void_p * (len(names) + 1))(*map(device, names), None)
        found._held.append(handles)
        params.devices = ctypes.cast(handles, ctypes.c_void_p)
    if "-ts" in flags:
        shares = [float(share) for share in flags["-ts"].split(",")]
        split = (ctypes.c_float * package.llama_max_devices())(*shares)
        found._held.append(split)
        params.tensor_split = split
    pairs = [(_MOE.format(k), "CPU") for k in range(int(flags.get("--n-cpu-moe", 0)))]
    pairs += [tuple(item.split("=")) for item in flags["-ot"].split(",")] if "-ot" in flags else []  # type: ignore[misc]
    if pairs:

        class Override(ctypes.Structure):
            _fields_ = (("pattern", ctypes.c_char_p), ("buffer", ctypes.c_void_p))

        rows = [Override(pattern.encode(), buffer_type(device(name))) for pattern, name in pairs]
        overrides = (Override * (len(rows) + 1))(*rows)
        found._held.append(overrides)
        params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
    found._model = package.llama_model_load_from_file(str(path).encode(), params)
    assert found._model, "".join(found.log)[-2000:]
    context = package.llama_context_default_params()
    context.n_ctx, context.n_threads, context.n_threads_batch = CONTEXT, 1, 1
    context.n_batch = context.n_ubatch = CHUNK
    found._context = package.llama_init_from_model(found._model, context)
    assert found._context, "".join(found.log)[-2000:]
    return found
