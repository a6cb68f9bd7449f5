"""Placed models: called as the plain model would be, with its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs talos-opt[tensorflow]")

from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.core.result import Result, Status  # noqa: E402
from talos_opt.core.simulator import simulate  # noqa: E402
from talos_opt.frameworks.common.profile import DeviceProfile, LinkProfile, Profile, Timing  # noqa: E402
from talos_opt.frameworks.tensorflow import place_model  # noqa: E402
from talos_opt.frameworks.tensorflow.captured import Captured  # noqa: E402
from talos_opt.frameworks.tensorflow.ops import describe_ops  # noqa: E402
from talos_opt.frameworks.tensorflow.placed import PlacedModel  # noqa: E402
from tests.frameworks.tensorflow.placements import (  # noqa: E402
    captured_anew,
    captured_net,
    inputs_of,
    random_placement,
)

DEVICES = ("cpu0", "cpu1")


def document(captured: Captured, seed: int = 0) -> dict[str, Any]:
    """Return a random schedule on two devices; times are made up."""
    import dataclasses

    times = {d: Timing(1e-5, 1e-5) for d in DEVICES}
    ops = tuple(dataclasses.replace(op, timings=times) for op in describe_ops(captured))
    devices = tuple(DeviceProfile(d, "cpu") for d in DEVICES)
    links = (LinkProfile(*DEVICES, 1e-6, 1e9),)
    problem = Profile("model", "tensorflow", captured.mode, ops, devices, links).problem()
    where = random_placement(captured, DEVICES, seed)
    device = np.array([DEVICES.index(where[op.id]) for op in problem.ops])
    schedule = simulate(problem, device, np.arange(len(device)))
    return Result(problem, Status.FEASIBLE, schedule, 0.0, "random").to_dict()


@pytest.fixture(scope="module")
def cnn() -> PlacedModel:
    captured = captured_net("cnn")
    return PlacedModel(captured, inputs_of("cnn"), document(captured), threads=1)


@pytest.mark.parametrize("name", ["cnn", "bert", "two_inputs", "several"])
def test_other_inputs(name: str) -> None:
    captured, given = captured_net(name), inputs_of(name)
    with PlacedModel(captured, given, document(captured), threads=1) as placed:
        assert set(placed.devices.values()) == {"/device:CPU:0", "/device:CPU:1"}
        for _ in range(2):
            given = [np.roll(value, 1, 0)[::-1] for value in given]
            expected = captured.function(*(tf.constant(value) for value in given))
            found = placed(*given)
            tf.nest.assert_same_structure(found, expected)
            for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_steps_of_training_change_the_model() -> None:
    placed_one, plain = captured_anew("cnn", "training"), captured_anew("cnn", "training")
    given = inputs_of("cnn")
    with PlacedModel(placed_one, given, document(placed_one), threads=1) as placed:
        for _ in range(3):
            loss, _ = placed(*given)
            expected, _ = plain.function(*(tf.constant(value) for value in given))
            np.testing.assert_allclose(loss, expected, rtol=1e-4)
    for a, b in zip(placed_one.variables(), plain.variables(), strict=True):
        np.testing.assert_allclose(a.source.numpy(), b.source.numpy(), rtol=1e-3, atol=1e-5)


def test_weights_that_were_changed_in_the_model() -> None:
    captured, (x,) = captured_anew("branches"), inputs_of("branches")
    with PlacedModel(captured, [x], document(captured), threads=1) as placed:
        before = tf.nest.flatten(placed(x))[0]
        for item in captured.variables():
            item.source.assign(item.source * 0.5)
        np.testing.assert_array_equal(tf.nest.flatten(placed(x))[0], before)
        placed.refresh()
        expected = tf.nest.flatten(captured.function(tf.constant(x)))[0]
        np.testing.assert_allclose(tf.nest.flatten(placed(x))[0], expected, rtol=1e-4)
        assert not np.allclose(expected, before)


def test_what_does_not_fit(cnn: PlacedModel) -> None:
    (x,) = inputs_of("cnn")
    with pytest.raises(InputError, match="input 0 is 2x16x16x3:float32, expected 4x16x16x3:float3"):
        cnn(x[:2])
    with pytest.raises(InputError, match="inputs given: 2; the model was placed with 1"):
        cnn(x, x)
    with pytest.raises(InputError, match=r"which no tf\.function can hold"):
        tf.function(cnn, autograph=False)(tf.constant(x))
    captured = captured_net("cnn")
    made = document(captured)
    with pytest.raises(InputError, match="device_map names 'gpu9'"):
        PlacedModel(captured, [x], made, {"gpu9": "cpu"})
    with pytest.raises(InputError, match="device '/device:GPU:99' is not available"):
        PlacedModel(captured, [x], made, {"cpu1": "gpu:99"})
    with pytest.raises(InputError, match="a schedule of another graph"):
        PlacedModel(captured_net("branches"), inputs_of("branches"), made)
    stated = {**made["made"], "description": "tensorflow inference; inputs: 1x16x16x3:float32"}
    with pytest.raises(InputError, match="profiled with inputs 1x16x16x3:float32, and the model"):
        PlacedModel(captured, [x], made | {"made": stated})


def test_from_a_keras_model() -> None:
    tf.keras.backend.clear_session()
    model = tf.keras.Sequential([tf.keras.Input((4,), 2), tf.keras.layers.Dense(3)])
    x = np.ones((2, 4), np.float32)
    from talos_opt.frameworks.tensorflow.capture import capture
    from talos_opt.frameworks.tensorflow.models import as_model

    made = document(capture(as_model(model), [x], "training"))
    with place_model(model, [x], made, threads=1) as placed:  # a step, as the schedule says
        before = model(x).numpy()
        loss, output = placed(x)
    np.testing.assert_allclose(output, before, rtol=1e-5)
    np.testing.assert_allclose(loss, (before**2).mean(), rtol=1e-5)
    assert not np.allclose(model(x), before)
