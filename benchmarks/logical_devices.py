"""TensorFlow models across logical CPU devices: does what is predicted come true?

Each model is profiled on logical devices, solved for makespan, and run, all in one process with
one thread for each device. `one` is the same graph on one device with as many threads. On a
machine with fewer free cores than devices a run takes turns instead.

    python -m benchmarks.logical_devices [--devices N] [--max-time S] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.report import Column, Row, make_parser, progress, publish, solve
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.capture import capture
from talos_opt.frameworks.tensorflow.models import as_model
from talos_opt.frameworks.tensorflow.profile import profile_model
from talos_opt.frameworks.tensorflow.run import run_schedule

layers = tf.keras.layers
COLUMNS = [
    Column("model"),
    Column("mode"),
    Column("ops"),
    Column("factor", 3),
    Column("predicted ms", 2),
    Column("measured ms", 2),
    Column("predicted one", 2),
    Column("measured one", 2),
    Column("sends"),
    Column("transfers"),
    Column("error"),
]


def branches(count: int = 2, depth: int = 4, width: int = 1024) -> tf.keras.Model:
    """Independent heavy branches, joined by a small op."""
    features = layers.Input((width,))
    ends = []
    for _ in range(count):
        x = features
        for _ in range(depth):
            x = layers.Dense(width, activation="relu", use_bias=False)(x)
        ends.append(layers.Dense(8)(x))
    return tf.keras.Model(features, layers.Add()(ends))


def encoder(blocks: int = 4, width: int = 256) -> tf.keras.Model:
    """Transformer blocks as in BERT, over embedded tokens."""
    x = tokens = layers.Input((128, width))
    for _ in range(blocks):
        y = layers.MultiHeadAttention(4, width // 4)(x, x)
        x = layers.LayerNormalization()(x + y)
        y = layers.Dense(4 * width, activation="gelu")(x)
        x = layers.LayerNormalization()(x + layers.Dense(width)(y))
    return tf.keras.Model(tokens, layers.Dense(2)(x[:, 0]))


def inception() -> tf.keras.Model:
    """Inception v3: blocks of parallel branches."""
    return tf.keras.applications.InceptionV3(weights=None, input_shape=(150, 150, 3))


def resnet50() -> tf.keras.Model:
    """ResNet-50: a chain with short cuts."""
    return tf.keras.applications.ResNet50(weights=None)


CASES: tuple[tuple[Callable[[], Any], tuple[int, ...], str], ...] = (
    (branches, (128, 1024), "inference"),
    (branches, (128, 1024), "training"),
    (encoder, (4, 128, 256), "inference"),
    (inception, (2, 150, 150, 3), "inference"),
    (resnet50, (2, 224, 224, 3), "inference"),
    (resnet50, (2, 224, 224, 3), "training"),
)


def measure(make: Callable[[], Any], shape: tuple[int, ...], mode: str, args: Any) -> Row:
    """Profile, solve and run one model."""
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    model = as_model(make(), make.__name__)
    inputs = (np.random.default_rng(0).random(shape, dtype=np.float32),)
    profile = profile_model(
        model, inputs, mode=mode, logical_devices=args.devices, threads=1, max_time_s=args.max_time
    )
    result = solve(profile.problem(), time_limit=args.time_limit)
    captured = capture(model, inputs, mode)
    document = result.to_dict()
    report = run_schedule(captured, inputs, document, threads=1, repeats=9)
    return {
        "model": model.name,
        "mode": mode,
        "ops": len(profile.ops),
        "factor": profile.devices[0].factor,
        "predicted ms": report.predicted_s * 1e3,
        "measured ms": report.measured_s * 1e3,
        "predicted one": profile.sum_of_ops_s(profile.devices[0].id) * 1e3,
        "measured one": report.single_device_s * 1e3,
        "sends": report.transfers,
        "transfers": sum(row["bytes"] > 0 for row in document["transfers"]),
        "error": f"{report.max_abs_error:.1e}" if report.outputs_equal else "DIFFERS",
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--devices", type=int, default=2, help="logical devices (default: 2)")
    parser.add_argument("--max-time", type=float, default=20.0, help="seconds of measuring each")
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds of solving each")
    args = parser.parse_args()
    rows = []
    for make, shape, mode in CASES:
        progress(f"{make.__name__}, {mode}")
        rows.append(measure(make, shape, mode, args))
    settings = {"devices": args.devices, "threads": 1, "time_limit": args.time_limit}
    publish("logical_devices", COLUMNS, rows, settings=settings, target=args.target)


if __name__ == "__main__":
    main()
