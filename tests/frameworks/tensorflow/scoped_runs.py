"""Runs graphs under device scopes, in a process of its own, and prints what was found as JSON.

TensorFlow must not be loaded in the process of other tests: it breaks CP-SAT there.

    python -m tests.frameworks.tensorflow.scoped_runs FOLDER

Traces are written to the folder.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tensorflow.python.client import timeline
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.profiler.internal import _pywrap_profiler_plugin as plugin
from tensorflow.tsl.profiler.protobuf import trace_events_pb2

from talos_opt.core.errors import InputError
from talos_opt.frameworks.tensorflow.scopes import apply_device_scopes
from tests.frameworks.tensorflow.nets import cnn

CPUS = ("/device:CPU:0", "/device:CPU:1")
#: What profiling folds into the readers, and what scopes therefore do not name.
FOLDED = ("Const", "Placeholder", "Identity", "NoOp")


def frozen() -> Any:
    """Return a small convolutional network with its weights as constants."""
    model = cnn()
    call = tf.function(lambda image: model(image, training=False))
    return convert_variables_to_constants_v2(
        call.get_concrete_function(tf.TensorSpec((2, 16, 16, 3)))
    )


def run(graph_def: Any, cpus: int, feed: Any, fetch: str, folder: Path) -> dict[str, Any]:
    """Run a graph; return its output and partitions, and write its timelines."""
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    config = tf.compat.v1.ConfigProto(device_count={"CPU": cpus}, allow_soft_placement=False)
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = -1  # L0: nodes stay as they are
    options = tf.compat.v1.RunOptions(
        trace_level=tf.compat.v1.RunOptions.FULL_TRACE, output_partition_graphs=True
    )
    metadata = tf.compat.v1.RunMetadata()
    with tf.compat.v1.Session(graph=graph, config=config) as session:
        session.run(fetch, feed)
        output = session.run(fetch, feed, options=options, run_metadata=metadata)
    for memory in (False, True):
        made = timeline.Timeline(metadata.step_stats)
        text = made.generate_chrome_trace_format(show_memory=memory, show_dataflow=True)
        (folder / f"timeline{cpus}{'_memory' * memory}.json").write_text(text)
    sends = [
        (node.input[0].partition(":")[0], node.attr["recv_device"].s.decode().rpartition("/")[2])
        for part in metadata.partition_graphs
        for node in part.node
        if node.op == "_Send"
    ]
    partitions = {
        part.node[0].device.rpartition("/")[2]: [node.name for node in part.node]
        for part in metadata.partition_graphs
    }
    return {"output": output.tolist(), "partitions": partitions, "sends": sends}


def profiled(call: Any, image: Any, folder: Path) -> None:
    """Write a run's profile as the profiler's plugin for TensorBoard does."""
    value = tf.constant(image)
    call(value)
    tf.profiler.experimental.start(str(folder))
    call(value)
    tf.profiler.experimental.stop()
    (packed,) = folder.glob("plugins/profile/*/*.xplane.pb")
    data, _ = plugin.xspace_to_tools_data([str(packed)], "trace_viewer", {})
    trace = trace_events_pb2.Trace.FromString(data)
    events: list[dict[str, Any]] = []
    for device in trace.devices.values():
        common = {"ph": "M", "pid": device.device_id}
        events.append(common | {"name": "process_name", "args": {"name": device.name}})
        for row in device.resources.values():
            common["tid"] = row.resource_id
            events.append(common | {"name": "thread_name", "args": {"name": row.name}})
    for event in trace.trace_events:
        events.append(
            {"ph": "X", "pid": event.device_id, "tid": event.resource_id, "name": event.name}
            | {"ts": event.timestamp_ps / 1e6, "dur": max(event.duration_ps, 1) / 1e6}
            | {"args": dict(event.args)}
        )
    document = {"displayTimeUnit": "ns", "traceEvents": [*events, {}]}
    target = packed.with_name(packed.name.replace(".xplane.pb", ".trace.json.gz"))
    target.write_bytes(gzip.compress(json.dumps(document).encode()))


def real(folder: Path) -> dict[str, Any]:
    """Run the network on one device and, alternating between its ops, on two."""
    function = frozen()
    graph_def = function.graph.as_graph_def()
    image = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    feed, fetch = {function.inputs[0].name: image}, function.outputs[0].name
    ops = [node.name for node in graph_def.node if node.op not in FOLDED]
    scopes = {name: CPUS[k // 3 % 2] for k, name in enumerate(ops)}
    placed = apply_device_scopes(graph_def, scopes)
    found = {
        "ops": ops,
        "scopes": scopes,
        "devices": {node.name: node.device for node in placed.node},
        "nodes": {node.name: [node.op, *node.input] for node in graph_def.node},
        "untouched": all(not node.device for node in graph_def.node),
        "one": run(graph_def, 1, feed, fetch, folder),
        "two": run(placed, 2, feed, fetch, folder),
    }
    profiled(function, image, folder)
    return found


def variable() -> dict[str, Any]:
    """Run a graph whose variable is wanted on two devices and written on one of them."""
    graph = tf.Graph()
    with graph.as_default():
        start = tf.compat.v1.placeholder(tf.float32, (3,), name="x")
        held = tf.compat.v1.get_variable(
            "v", initializer=tf.constant([1.0, 2.0, 3.0]), use_resource=True
        )
        a = tf.multiply(held.read_value(), start, name="a")
        b = tf.add(held.read_value(), a, name="b")
        written = held.assign_add(b).op
    scopes = {"a": CPUS[0], "b": CPUS[1], written.name: CPUS[1]}
    placed = apply_device_scopes(graph.as_graph_def(), scopes)
    other = tf.Graph()
    with other.as_default():
        tf.import_graph_def(placed, name="")
    config = tf.compat.v1.ConfigProto(device_count={"CPU": 2}, allow_soft_placement=False)
    with tf.compat.v1.Session(graph=other, config=config) as session:
        session.run("v/Assign")
        before = session.run("b:0", {"x:0": [1.0, 1.0, 1.0]})
    return {
        "b": before.tolist(),
        "devices": {node.name: node.device for node in placed.node},
        "types": {node.name: node.op for node in placed.node},
    }


def by_hand(nodes: dict[str, Any], scopes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Apply scopes to a graph that is given as ``{name: [type, inputs, colocated with]}``."""
    graph_def = tf.compat.v1.GraphDef()
    for name, (kind, inputs, *beside) in nodes.items():
        node = graph_def.node.add(name=name, op=kind, input=inputs)
        if beside:
            node.attr["_class"].list.s.extend(f"loc:@{other}".encode() for other in beside)
    try:
        placed = apply_device_scopes(graph_def, scopes, **more)
    except InputError as error:
        return {"error": str(error)}
    return {
        "devices": {node.name: node.device for node in placed.node},
        "beside": {
            node.name: [text.decode() for text in node.attr["_class"].list.s]
            for node in placed.node
            if "_class" in node.attr
        },
        "attributes": sum(len(node.attr) for node in placed.node),
    }


def main() -> None:
    """Do all of it."""
    cases = json.load(sys.stdin)
    found = {
        "real": real(Path(sys.argv[1])),
        "variable": variable(),
        "cases": [by_hand(**case) for case in cases],
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
