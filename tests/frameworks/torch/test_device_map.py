"""Plans of device maps: blocks, memory, time; held against accelerate's own maps."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")

import talos_opt  # noqa: E402
from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.core.granularity import by_module  # noqa: E402
from talos_opt.core.problem import Problem  # noqa: E402
from talos_opt.core.schedule import Schedule  # noqa: E402
from talos_opt.formats.device_map import device_map_of  # noqa: E402
from talos_opt.formats.schedule_document import bound_schedule  # noqa: E402
from talos_opt.frameworks.common.catalogue import lookup, names  # noqa: E402
from talos_opt.frameworks.common.roofline import Call  # noqa: E402
from talos_opt.frameworks.torch.blocks import find_blocks  # noqa: E402
from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from talos_opt.frameworks.torch.loading import make_inputs  # noqa: E402
from talos_opt.frameworks.torch.machines import (  # noqa: E402
    CPU,
    DISK,
    Machine,
    Processor,
    Target,
    catalogued,
)
from talos_opt.frameworks.torch.placing import place  # noqa: E402
from talos_opt.frameworks.torch.planning import (  # noqa: E402
    KVCache,
    evaluate_device_map,
    make_plan,
    schedule_of,
)
from tests.frameworks.torch import nets  # noqa: E402
from tests.frameworks.torch.synthetic import problem_of, random_schedule  # noqa: E402

nn = torch.nn
HOST = Processor(CPU, None, 1e11, 2e10, 1e-6)
#: So slow that copying weights to a GPU in every step is better.
SLOW = Processor(CPU, None, 1e7, 1e7, 1e-4)


def gpu(index: int, memory: int | None, flops: float = 1e13) -> Processor:
    return Processor(index, memory, flops, 5e11)


def solve(problem: Problem, start: Schedule | None) -> Schedule | None:
    return talos_opt.solve(problem, warm_start=start, time_limit=2, workers=1).schedule


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.register_buffer("scale", torch.ones(width))

    def forward(self, x: Any) -> Any:
        return x + self.down(torch.relu(self.up(x))) * self.scale


class Net(nn.Module):
    """A table tied to the head, a tensor of its own, layers."""

    def __init__(self, tie: bool = True) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(8))
        self.table = nn.Embedding(100, 8)
        self.drop = nn.Dropout()
        self.layers = nn.ModuleList(Layer(8) for _ in range(4))
        self.head = nn.Linear(8, 100, bias=False)
        if tie:
            self.head.weight = self.table.weight

    def forward(self, ids: Any) -> Any:
        x = self.drop(self.table(ids) + self.offset)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


IDS = (torch.zeros(2, 5, dtype=torch.long),)
LAYER = 4 * (8 * 16 + 16 + 16 * 8 + 8 + 8)
TABLE = 4 * 100 * 8


def test_blocks() -> None:
    blocks = find_blocks(Net(), ["Layer"])
    assert [block.name for block in blocks] == [
        "offset", "table", "layers.0", "layers.1", "layers.2", "layers.3", "head",
    ]  # fmt: skip
    by_name = {block.name: block for block in blocks}
    assert by_name["offset"].owned_bytes == 32
    assert by_name["table"].also == ("drop",)
    assert (by_name["table"].owned_bytes, by_name["head"].owned_bytes) == (TABLE, 0)
    assert by_name["head"].parameter_bytes == TABLE
    assert by_name["table"].group == by_name["head"].group == "tied:table"
    assert by_name["layers.0"].owned_bytes == LAYER
    assert by_name["layers.0"].buffer_bytes == 32
    assert by_name["layers.0"].group is None
    assert "layers.0.up" in {block.name for block in find_blocks(Net(), [])}
    halved = find_blocks(Net(), ["Layer"], torch.float16)
    assert sum(b.owned_bytes for b in halved) == sum(b.owned_bytes for b in blocks) // 2
    with pytest.raises(InputError, match="neither parameters nor buffers"):
        find_blocks(nn.ReLU())


def test_what_blocks_do_in_a_step() -> None:
    plan = make_plan(Net(), Machine((HOST,)), IDS, no_split=["Layer"])
    names = [block.name for block in plan.blocks]
    assert names == [*names[:6], "offset"], "what is never called comes last"
    flops: dict[str, dict[str, float]] = {name: {} for name in names}
    for name, activity in zip(names, plan.activities, strict=True):
        for call in activity.ops:
            flops[name][call.type] = flops[name].get(call.type, 0) + (call.flops or 0)
    assert flops["layers.0"] == {
        "aten.addmm": 2 * (2 * 10 * 8 * 16), "aten.relu": 160, "aten.mul": 80, "aten.add": 80,
    }  # fmt: skip
    assert flops["head"] == {"aten.mm": 2 * 10 * 8 * 100}
    hidden = 4 * 10 * 8
    assert plan.edges[names.index("layers.1"), names.index("layers.2")] == hidden
    peaks = {n: a.peak_bytes for n, a in zip(names, plan.activities, strict=True)}
    assert 3 * hidden <= peaks["layers.1"] <= 6 * hidden


def test_without_inputs_a_step_is_guessed() -> None:
    plan = make_plan(Net(), Machine((HOST,)), tokens=10, no_split=["Layer"])
    activity = dict(zip((block.name for block in plan.blocks), plan.activities, strict=True))
    flops = sum(call.flops or 0 for call in activity["layers.0"].ops)
    assert flops == 2 * 10 * (LAYER - 32) / 4
    assert activity["table"].ops == [Call("aten.embedding", 0.0, 0, 0)], (
        "no tokens of unknown width"
    )
    with pytest.raises(InputError, match="does not run on fake tensors"):
        make_plan(Net(), Machine((HOST,)), (torch.zeros(2, 3),))


def test_memory_and_time_of_a_map() -> None:
    machine = Machine((gpu(0, 2 * LAYER), gpu(1, None), HOST), disk=True, latency_s=0.0)
    plan = make_plan(Net(False), machine, IDS, no_split=["Layer"], activations=False)
    given: dict[str, Target] = {
        "offset": 1, "table": CPU, "layers.0": 0, "layers.1": 0, "layers": 1, "head": DISK,
    }  # fmt: skip
    found = evaluate_device_map(plan, given)
    assert found.main == 0
    # The main device also has room for the table, the largest block that is offloaded.
    assert found.memory == {0: 2 * LAYER + TABLE, 1: 2 * LAYER + 32, CPU: 2 * TABLE, DISK: TABLE}
    assert found.over == {0: TABLE}
    assert found.streamed_bytes == 2 * TABLE
    computing = sum(
        machine.processor(1 if block.name in ("offset", "layers.2", "layers.3") else 0).seconds(o)
        for block, activity in zip(plan.blocks, plan.activities, strict=True)
        for o in activity.ops
    )
    copying = TABLE / machine.host_bandwidth * 2 + TABLE / machine.disk_bandwidth
    moving = 2 * 320 / machine.peer_bandwidth  # to layer 2, and back to the head
    assert found.step_s == pytest.approx(computing + copying + moving)
    on_host = evaluate_device_map(plan, given | {"head": CPU}, main=CPU)
    assert on_host.streamed_bytes == 0
    assert on_host.fits


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"table": 0}, "gives no device for 'layers.0'"),
        ({"": 0, "layers.0.up": CPU}, "splits 'layers.0' over"),
        ({"": 7}, "mapped to 7, which the machine does not have"),
    ],
)
def test_maps_that_do_not_suit(given: dict[str, Target], message: str) -> None:
    plan = make_plan(Net(), Machine((gpu(0, None), HOST)), IDS, no_split=["Layer"])
    with pytest.raises(InputError, match=message):
        evaluate_device_map(plan, given)


def test_machines_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="has no 'cpu'"):
        Machine((gpu(0, None),))
    with pytest.raises(InputError, match="two devices called 0"):
        Machine((gpu(0, None), gpu(0, None), HOST))
    with pytest.raises(InputError, match="neither the index of a GPU nor 'cpu'"):
        Machine((Processor("tape", None, 1.0, 1.0), HOST))
    with pytest.raises(InputError, match="not a finite number above 0"):
        Machine((HOST,), host_bandwidth=0.0)
    assert catalogued(0, "t4").memory == 16 * 2**30
    assert catalogued(0, "t4", 5, "float32").memory == 5


@given(st.floats(0, 1e16), st.integers(0, 10**13), st.sampled_from(["float32", "float16"]))
def test_no_processor_exceeds_its_datasheet(flops: float, size: int, dtype: str) -> None:
    for name in names():
        sheet = lookup(name)
        seconds = catalogued(0, name, dtype=dtype).seconds(Call("aten.mm", flops, size, 1))
        assert flops / seconds <= sheet.peak_for(dtype)
        assert size / seconds <= sheet.bandwidth


def test_tied_weights_stay_together_and_all_is_mapped() -> None:
    module = Net()
    machine = Machine((gpu(0, TABLE + LAYER + 40), gpu(1, 3 * LAYER + 40), SLOW))
    plan = make_plan(module, machine, IDS, no_split=["Layer"], activations=False)
    for found in (place(plan), place(plan, solve)):
        assert found.evaluation.fits
        assert found.evaluation.streamed_bytes == 0
        assert {0, 1} == {*found.device_map.values()}
        assert found.device_map["table"] == found.device_map["head"]
        assert found.device_map["drop"] == found.device_map["table"]
        for name in module.state_dict():
            assert any(name == p or name.startswith(f"{p}.") for p in found.device_map), name
    problem, schedule = schedule_of(plan, found.targets, found.main)
    assert evaluate_device_map(plan, device_map_of(problem, schedule)) == found.evaluation


def test_what_is_offloaded_leaves_room_on_the_main_device() -> None:
    limit = TABLE + 2 * LAYER
    machine = Machine((gpu(0, limit), SLOW))
    plan = make_plan(Net(), machine, IDS, no_split=["Layer"], activations=False)
    found = place(plan, solve)
    assert found.evaluation.fits
    assert found.evaluation.memory[0] <= limit
    assert found.evaluation.streamed_bytes > 0
    with pytest.raises(InputError, match=r"no device map of Net fits.* the largest, 'table'"):
        place(make_plan(Net(), Machine((replace(HOST, memory=10),)), IDS, activations=False))


def test_the_disk_takes_what_the_host_cannot() -> None:
    machine = Machine((gpu(0, 2 * LAYER), replace(HOST, memory=TABLE + 10)), disk=True)
    plan = make_plan(Net(False), machine, IDS, no_split=["Layer"], activations=False)
    with pytest.raises(InputError, match="no device map"):
        place(plan, solve)  # the table passes through GPU 0, which is too small for it
    machine = Machine((gpu(0, TABLE + LAYER), replace(HOST, memory=2 * TABLE)), disk=True)
    plan = make_plan(Net(False), machine, IDS, no_split=["Layer"], activations=False)
    found = place(plan, solve)
    assert found.evaluation.fits
    assert DISK in found.targets


# -- against accelerate --------------------------------------------------------------------------


def load_cases() -> Any:
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from tests.frameworks.torch import device_map_cases

    return device_map_cases


def small_cases(bench: Any) -> dict[str, Any]:
    """The cases of the benchmark, with smaller models."""
    mib = 2**20
    split = ("BertEmbeddings", "BertLayer")
    decoder = {"inputs": {"input_ids": bench.tokens(1, 32), "use_cache": False},
               "dtype": torch.float16, "no_split": ("LlamaDecoderLayer",)}  # fmt: skip

    def llama() -> Any:
        return bench.llama(8, 512, 4000)

    share = bench.size_of(bench.bert()) // 8
    on_bert = {"make": bench.bert, "gpus": [("t4", share)] * 8, "no_split": split,
               "inputs": {"input_ids": bench.tokens(1, 32)}}  # fmt: skip
    gpus = [("rtx-2080-ti", 26 * mib), ("t4", 36 * mib)]
    tight = [("rtx-2080-ti", 20 * mib), ("t4", 15 * mib)]
    counted = {"cache": KVCache(128), "activations": True}
    return {
        "bert": bench.Case("bert", **on_bert),
        "bert, main cpu": bench.Case("bert", **on_bert, mains=[CPU], host="i9-9900k"),
        "unbalanced": bench.Case(
            "unbalanced", lambda: bench.unbalanced(20_000, 128, 8),
            [("t4", 6 * mib), ("t4", 12 * mib)], [bench.tokens(2, 32)],
        ),
        "decoder": bench.Case("decoder", llama, gpus, **decoder),
        "decoder, KV": bench.Case("decoder", llama, gpus, **decoder, **counted),
        "decoder, offloaded": bench.Case("decoder", llama, tight, **decoder),
    }  # fmt: skip


NAMES = ["bert", "bert, main cpu", "unbalanced", "decoder", "decoder, KV", "decoder, offloaded"]


@pytest.mark.parametrize("name", NAMES)
def test_never_worse_than_accelerate(name: str) -> None:
    bench = load_cases()
    case = small_cases(bench)[name]
    outcome = bench.compare(case, 2.0)
    ours, theirs = outcome.ours, outcome.their_evaluation
    if outcome.lowered is not None:
        theirs = outcome.lowered[1]
    assert ours.evaluation.step_s <= theirs.step_s * (1 + 1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # keys that are no modules
        from accelerate.utils.modeling import check_device_map

        check_device_map(outcome.module, ours.device_map)
    held = weights_on(outcome.module, ours.device_map)
    for target, limit in case.limits.items():
        assert held.get(target, 0) <= limit
        assert ours.evaluation.memory[target] <= limit
    for name_, part in outcome.module.named_modules():
        if type(part).__name__ in case.no_split:
            assert not any(key.startswith(f"{name_}.") for key in ours.device_map)


def weights_on(module: Any, device_map: dict[str, Target]) -> dict[Target, int]:
    """Bytes of parameters and buffers by device, from the module itself."""
    held: dict[Target, int] = {}
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        covering = [p for p in device_map if p in ("", name) or name.startswith(f"{p}.")]
        target = device_map[max(covering, key=len)]
        held[target] = held.get(target, 0) + tensor.numel() * tensor.element_size()
    return held


def test_bert_uses_gpus_where_accelerate_uses_none() -> None:
    bench = load_cases()
    outcome = bench.compare(small_cases(bench)["bert, main cpu"], 2.0)
    assert set(outcome.theirs.values()) == {CPU}
    assert set(range(8)) <= set(outcome.ours.device_map.values())
    assert outcome.ours.evaluation.step_s < outcome.their_evaluation.step_s


def test_accelerate_dispatches_a_map_as_it_is() -> None:
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from accelerate import dispatch_model

    module = Net().eval()
    expected = module(*IDS)
    machine = Machine((replace(HOST, memory=None),))
    found = place(make_plan(module, machine, IDS, no_split=["Layer"]))
    assert found.device_map == {"": CPU}
    with torch.no_grad():
        dispatched = dispatch_model(module, found.device_map, force_hooks=True)
        assert torch.allclose(dispatched(*IDS), expected)


# -- from the graph of a captured model -----------------------------------------------------------


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_graph_of_ops_at_module_granularity_gives_a_valid_map(mode: str) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    modeling = pytest.importorskip(
        "accelerate.utils.modeling", reason="accelerate is not installed"
    )
    captured = capture(nets.bert(), make_inputs(["2x12:int64:0-499"]), mode)
    whole = problem_of(captured)
    layers = by_module(whole, ["embeddings", "encoder.layer.*"])
    for seed in range(3):
        schedule = bound_schedule(random_schedule(layers, seed), layers)
        device_map = device_map_of(layers, schedule)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            modeling.check_device_map(captured.module, device_map)
        assert not any(key.startswith("encoder.layer.0.") for key in device_map)
    if mode == "inference":
        return  # there, a module without parts is one op
    schedule = bound_schedule(random_schedule(whole, 0), whole)
    with pytest.raises(InputError, match="is split: op"):
        device_map_of(whole, schedule)


def test_a_decoder_of_7_billion_parameters_needs_no_memory() -> None:
    bench = load_cases()
    (case,) = (case for case in bench.cases()[:5] if case.cache is not None)
    plan = make_plan(
        case.make(), case.machine, case.inputs, no_split=case.no_split, dtype=case.dtype,
        cache=case.cache,
    )  # fmt: skip
    assert 13e9 < sum(block.owned_bytes for block in plan.blocks) < 14e9
    assert sum(plan.cache) == 2 * 32 * 4096 * 4096 * 2
    assert place(plan).evaluation.fits
