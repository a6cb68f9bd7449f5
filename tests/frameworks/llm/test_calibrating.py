"""Efficiencies from measurements: those that data was made with are found again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talos_opt.core.errors import InputError
from talos_opt.frameworks.llm.calibrating import calibrate
from talos_opt.frameworks.llm.devices import Card, parse_cards
from talos_opt.frameworks.llm.graph import problem_of
from talos_opt.frameworks.llm.measurements import Measurement, read_measurements
from talos_opt.frameworks.llm.model import LanguageModel, read_model
from talos_opt.frameworks.llm.workload import Workload
from tests.frameworks.llm.files import metadata, mixture_rows, write_config, write_gguf

DEVICES = ("rtx-3090", "slow=16GB:100GB/s:5TFLOPS", "xeon-8480+")
LAYERS = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """Eight layers of Llama 8B."""
    folder = write_config(
        tmp_path_factory.mktemp("m"), hidden_size=4096, intermediate_size=14336,
        num_hidden_layers=LAYERS, num_attention_heads=32, num_key_value_heads=8, vocab_size=32000,
    )  # fmt: skip
    return read_model(folder)


def read(model: LanguageModel, folder: Path, *rows: dict[str, Any]) -> tuple[Measurement, ...]:
    """Measurements of 1 token per second, where nothing else is said."""
    path = folder / "m.json"
    path.write_text(json.dumps({"measurements": [{"tokens_per_second": 1.0} | r for r in rows]}))
    return read_measurements(path, model, ("rtx-3090", "slow", "xeon-8480+"))


def made(
    model: LanguageModel, folder: Path, cards: Sequence[Card], *rows: dict[str, Any]
) -> list[Measurement]:
    """Measurements as cards would have given them."""
    return [replace(one, rate=rate(model, cards, one)) for one in read(model, folder, *rows)]


def slowed(card: Card, bandwidth: float, peak: float) -> Card:
    """A card whose speeds are multiplied, as a device that reaches less has them."""
    if card.sheet is None:
        assert card.peak is not None
        return replace(card, bandwidth=card.bandwidth * bandwidth, peak=card.peak * peak)
    peaks = {dtype: value * peak for dtype, value in card.sheet.peak.items()}
    return replace(
        card, sheet=replace(card.sheet, bandwidth=card.sheet.bandwidth * bandwidth, peak=peaks)
    )


def rate(model: LanguageModel, cards: Sequence[Card], one: Measurement) -> float:
    """Tokens per second of a split, from the graph: the sum of times and of hops."""
    load = Workload(one.context, one.batch, one.phase)
    problem = problem_of(model, [replace(card, memory=None) for card in cards], load)
    times = [op.time[name] for op, name in zip(problem.ops, one.devices, strict=True)]
    total = sum(times)
    for op, a, b in zip(problem.ops[1:], one.devices[:-1], one.devices[1:], strict=True):
        if a != b:
            total += hop(problem, a, b, op.inputs[0].bytes)
    tokens = one.context if one.phase == "prefill" else 1
    return one.batch * tokens / (total * 1e-6)


def hop(problem: Any, a: str, b: str, size: int) -> float:
    """Microseconds of a copy: by its own link, or by those to and from the host."""
    rules = {frozenset((link.a, link.b)): link for link in problem.cluster.links}
    link = rules[frozenset((a, b))]
    if link.via is not None:
        return hop(problem, a, link.via, size) + hop(problem, link.via, b, size)
    return float(link.latency + size / link.bandwidth * 1e6)


ALL = f"0-{LAYERS - 1}"
SPLITS: list[dict[str, Any]] = [
    {"layers": {"rtx-3090": "0-3", "slow": "4-5", "xeon-8480+": [6, 7]}, "context": 4096},
    {"layers": {"rtx-3090": 0, "slow": "1-7"}, "context": 100},
    {"layers": {"xeon-8480+": "0-6", "slow": 7}, "head": "rtx-3090", "context": 1000},
    {"layers": "rtx-3090", "phase": "prefill", "context": 2048},
    {"layers": {"slow": "0-3", "xeon-8480+": "4-7"}, "phase": "prefill", "context": 512},
    {"layers": {"slow": "0", "xeon-8480+": "1-7"}, "phase": "prefill", "context": 1024, "batch": 2},
]
_share = st.floats(0.1, 1.0)


@settings(max_examples=12)
@given(st.lists(_share, min_size=6, max_size=6))
def test_efficiencies_that_made_the_data_are_found(
    tmp_path_factory: pytest.TempPathFactory, model: LanguageModel, shares: list[float]
) -> None:
    cards, _ = parse_cards(DEVICES)
    real = [slowed(card, *shares[2 * d : 2 * d + 2]) for d, card in enumerate(cards)]
    measured = made(model, tmp_path_factory.mktemp("data"), real, *SPLITS)
    found = calibrate(model, cards, measured, Workload(1))
    assert max(map(abs, found.errors)) < 1e-6
    for d, card in enumerate(cards):
        for k in range(2):
            now, before = found.found[card.id][k], found.before[card.id][k]
            assert now == pytest.approx(shares[2 * d + k] * before, rel=1e-5)
    for one, seconds in zip(measured, found.seconds, strict=True):
        assert rate(model, found.cards, one) == pytest.approx(one.rate, rel=1e-6)
        assert seconds == pytest.approx(one.seconds, rel=1e-6)


def test_what_was_not_measured_stays(model: LanguageModel, tmp_path: Path) -> None:
    """Tokens alone say nothing of peaks, and nothing of a device that has no layer."""
    cards, _ = parse_cards(DEVICES)
    real = [slowed(card, 0.5, 0.5) for card in cards]
    rows = [{"layers": "slow", "context": 64}]
    found = calibrate(model, cards, made(model, tmp_path, real, *rows), Workload(1))
    assert found.found["slow"] == (pytest.approx(0.5, rel=1e-6), None)
    assert found.found["rtx-3090"] == (None, None)
    assert found.cards[0] == cards[0]
    assert found.cards[1].peak == cards[1].peak
    assert found.cards[1].bandwidth == pytest.approx(50e9, rel=1e-6)


def test_devices_of_one_product_share_what_is_found(model: LanguageModel, tmp_path: Path) -> None:
    """Two cards with the same shares every time could not be distinguished else."""
    cards, _ = parse_cards(("a=rtx-3090", "b=rtx-3090"))
    path = tmp_path / "m.json"
    rows = [{"layers": {"a": "0-3", "b": "4-7"}, "context": 64, "tokens_per_second": 1.0}]
    path.write_text(json.dumps({"measurements": rows}))
    real = [slowed(card, 0.7, 1.0) for card in cards]
    measured = [replace(one, rate=rate(model, real, one))
                for one in read_measurements(path, model, ("a", "b"))]  # fmt: skip
    found = calibrate(model, cards, measured, Workload(1))
    assert found.found["a"] == found.found["b"]
    assert found.found["a"].bandwidth == pytest.approx(0.7 * 0.8, rel=1e-6)
    assert found.cards[1].sheet is not None
    assert found.cards[1].sheet.bandwidth == pytest.approx(0.7 * 936e9, rel=1e-6)


def test_noise_is_averaged_out(model: LanguageModel, tmp_path: Path) -> None:
    cards, _ = parse_cards(DEVICES)
    real = [slowed(card, 0.6, 0.4) for card in cards]
    rows = [row | {"context": context} for row in SPLITS for context in (256, 1024, 4000)]
    noisy = [
        replace(one, rate=one.rate * (1.02 if k % 2 else 0.98))
        for k, one in enumerate(made(model, tmp_path, real, *rows))
    ]
    found = calibrate(model, cards, noisy, Workload(1))
    for card in cards:
        for k, true in enumerate((0.6, 0.4)):
            now, before = found.found[card.id][k], found.before[card.id][k]
            assert now == pytest.approx(true * before, rel=0.1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (  # always in the same shares
            [{"layers": {"rtx-3090": "0-3", "slow": "4-7"}, "context": 64},
             {"layers": {"rtx-3090": "4-7", "slow": "0-3"}, "head": "slow", "context": 64}],
            "do not distinguish bandwidth of rtx-3090, bandwidth of slow: add some with other",
        ),
        (
            [{"layers": "rtx-3090", "context": 64, "tokens_per_second": 1e6}],
            r"measurements\[0\]: 1e\+06 tokens per second are more than the devices' bandwidths",
        ),
        (
            [{"layers": "rtx-3090", "context": 64, "tokens_per_second": 1e-6}],
            r"measurements\[0\]: 1e-06 tokens per second are fewer than 1 % of the devices'",
        ),
    ],
)  # fmt: skip
def test_measurements_that_say_nothing_are_refused(
    model: LanguageModel, tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    cards, _ = parse_cards(DEVICES)
    with pytest.raises(InputError, match=message):
        calibrate(model, cards, read(model, tmp_path, *rows), Workload(1))


BAD = [
    ({"layers": "rtx"}, "unknown device 'rtx', expected one of rtx-3090, slow, xeon-8480+"),
    ({"layers": {"slow": "0-6"}}, "leaves out layer 7, expected all of 8"),
    ({"layers": {"slow": "0-4", "rtx-3090": "4-7"}}, "has layer 4 twice: on slow and rtx-3090"),
    ({"layers": {"slow": "0-8"}}, "is '0-8', expected layers of 0 to 7, such as 0-3,7"),
    ({"layers": {"slow": "7-0"}}, "is '7-0', expected layers"),
    ({"layers": {"slow": True}}, "is True, expected layers"),
    ({"layers": {"slow": None}}, "is empty, expected layers"),
    ({"layers": {}}, "leaves out layer 0 and 7 others"),
    ({"phase": "both"}, "phase is 'both', expected decode or prefill"),
    ({"context": 0}, "context"),
    ({"context": 5000}, "context is 5000, the model's is 4096"),
    ({"tokens_per_second": 0}, "tokens_per_second is 0, expected a number above 0"),
    ({"tokens_per_second": "fast"}, "tokens_per_second is 'fast'"),
    ({"tokens_per_second": float("inf")}, "tokens_per_second"),
    ({"head": "gpu"}, "unknown device 'gpu'"),
    ({"experts": {"slow": 3}}, "names layer 3, which has no routed experts"),
    ({"speed": 3}, "unknown key 'speed'"),
    ({"batch": -1}, "batch"),
]


@pytest.mark.parametrize(("row", "message"), BAD, ids=[str(row) for row, _ in BAD])
def test_bad_files_are_refused(
    model: LanguageModel, tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(model, tmp_path, {"layers": "slow", "context": 64} | row)
    assert message in str(caught.value)
    assert "m.json" in str(caught.value)


def test_a_file_without_measurements(model: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 0 measurements, expected 1 to"):
        read(model, tmp_path)


def test_experts_elsewhere(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", metadata(3, expert_count=8, expert_used_count=2),
               mixture_rows(3))  # fmt: skip
    model = read_model(tmp_path)
    row = {"layers": {"slow": "0,2", "rtx-3090": 1}, "experts": {"xeon-8480+": "0-1"},
           "context": 9}  # fmt: skip
    (one,) = read(model, tmp_path, row)
    where = {part.id: name for part, name in zip(model.parts, one.devices, strict=True)}
    assert where["blk.0.attn"] == where["blk.2.experts"] == where["output"] == "slow"
    assert where["blk.0.experts"] == where["blk.1.experts"] == "xeon-8480+"
    assert where["blk.1.router"] == "rtx-3090"
