"""Forward, backward and update ops of a training step."""

from __future__ import annotations

from talos_opt.frameworks.common.phases import find_phases


def test_what_results_come_from_is_forward() -> None:
    reads = {"a": [], "loss": ["a"], "grad": ["loss", "a"], "step": ["grad"], "mean": ["a", "x"]}
    found = find_phases(reads, ["loss", "mean", "input"], {"step"})
    forward = dict.fromkeys(("a", "loss", "mean"), "forward")
    assert found == {**forward, "grad": "backward", "step": "update"}
