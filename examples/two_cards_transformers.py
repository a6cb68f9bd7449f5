"""A transformers model over two cards of different speed, as a `device_map` for accelerate.

    python examples/two_cards_transformers.py -o device_map.json

The model is a small Llama from a config: nothing is downloaded, and it takes no memory, as its
weights are on the meta device. Put your own config in `make_model`, and your cards in `MACHINE`.
The map that accelerate makes by itself is evaluated beside it, by the same function.

With two GPUs, load the model with what is written:

    AutoModelForCausalLM.from_pretrained(..., device_map=json.load(open("device_map.json")))
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec

MISSING = [name for name in ("torch", "transformers", "accelerate") if find_spec(name) is None]
if MISSING:
    sys.exit(f"this example needs {', '.join(MISSING)}: pip install {' '.join(MISSING)}")

import torch
from accelerate import infer_auto_device_map
from transformers import LlamaConfig, LlamaForCausalLM

import talos_opt
from talos_opt.frameworks.torch.machines import Machine, catalogued
from talos_opt.frameworks.torch.placing import place
from talos_opt.frameworks.torch.planning import KVCache, evaluate_device_map, make_plan

MIB = 2**20
#: Two cards, the faster one with less memory free, and the CPU with all the rest.
MACHINE = Machine(
    (
        catalogued(0, "t4", 180 * MIB),
        catalogued(1, "rtx-3090", 120 * MIB),
        catalogued("cpu", "xeon-6430"),
    )
)
CONTEXT = 1024


def make_model() -> LlamaForCausalLM:
    """Return a Llama of 8 layers, without memory for its weights."""
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=1024,
        intermediate_size=2752,
        num_hidden_layers=8,
        num_attention_heads=16,
        num_key_value_heads=4,
        dtype=torch.float16,
    )
    with torch.device("meta"):
        return LlamaForCausalLM(config).half()


def main() -> None:
    """Plan, place, print both maps, and write ours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time-limit", type=float, default=2, help="seconds of a solve")
    parser.add_argument("-o", "--output", help="file for the device map, as JSON")
    args = parser.parse_args()

    model = make_model()
    step = {"input_ids": torch.zeros(1, 128, dtype=torch.long), "use_cache": False}
    cache = KVCache(length=CONTEXT)
    plan = make_plan(model, MACHINE, step, dtype=torch.float16, cache=cache)

    def solve(problem, start):
        return talos_opt.solve(problem, warm_start=start, time_limit=args.time_limit).schedule

    found = place(plan, solve)
    limits = {0: 180 * MIB, 1: 120 * MIB, "cpu": 64 * 1024 * MIB}
    by_accelerate = infer_auto_device_map(
        model, limits, no_split_module_classes=model._no_split_modules, dtype=torch.float16
    )

    maps = {"accelerate": by_accelerate, "talos_opt": found.device_map}
    for name, device_map in maps.items():
        worth = evaluate_device_map(plan, device_map)
        room = "fits" if worth.fits else "does not fit"
        held = ", ".join(f"{device}: {used / MIB:.0f} MiB" for device, used in worth.memory.items())
        print(f"{name:10}  {1000 * worth.step_s:.2f} ms a step, {room}; {held}")
    print(json.dumps(found.device_map, indent=1))
    if args.output:
        with open(args.output, "w") as file:
            json.dump(found.device_map, file, indent=1)
        print(f"written to {args.output}")


if __name__ == "__main__":
    main()
