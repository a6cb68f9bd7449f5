"""Plain data to a cluster: the ``cluster`` of talos-graph/1, inline or in a file of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from talos_opt.core import units
from talos_opt.core.bundles import Bundles
from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import FormatError, GraphError
from talos_opt.core.plain import (
    Keys,
    as_list,
    as_mapping,
    as_name,
    as_text,
    join,
    made,
)
from talos_opt.formats.source import Source, open_source

SCHEMA = "talos-cluster/1"

CLUSTER_KEYS = Keys("devices", "schema name description reference contention links bundles")
DEVICE_KEYS = Keys("id kind", "memory memory_fraction slots copy_engine")
LINK_KEYS = Keys("", "between from to latency bandwidth via duplex")


def read_cluster(source: str | os.PathLike[str]) -> Cluster:
    """Read a file that holds a cluster.

    Raises
    ------
    InputError
        If it cannot be read, or is not a cluster; names file, line and path.
    """
    return _cluster_of(open_source(source))


def cluster_beside(
    value: object,
    source: Source,
    bundles: Bundles | str | Mapping[str, Any] | None = None,
) -> Cluster:
    """Return the cluster of a graph file: an inline mapping, or a path relative to the file.

    Parameters
    ----------
    value : object
        Plain data.
    source : Source
    bundles : Bundles, mapping or 'all', optional
        In place of what the cluster says.

    Raises
    ------
    InputError
        With paths from the graph's root, or those of the cluster's own file.
    """
    found = _cluster_beside(value, source)
    return found if bundles is None else replace(found, bundles=Bundles.of(bundles))


def _cluster_beside(value: object, source: Source) -> Cluster:
    if not isinstance(value, str):
        return cluster_from(value, "cluster")
    try:
        file = open_source(os.fspath(source.folder / Path(value)))
    except FormatError as error:
        raise FormatError(
            f"cluster names {value!r}, but {error.source} {error.message}", path="cluster"
        ) from None
    return _cluster_of(file)


def _cluster_of(file: Source) -> Cluster:
    with file.blamed():
        return cluster_from(file.document, "")


def cluster_from(value: object, path: str) -> Cluster:
    """Return the cluster that a mapping describes.

    Parameters
    ----------
    value : object
        Plain data.
    path : str
        JSON path of the value, empty for a file's root.

    Raises
    ------
    GraphError
    """
    schema = as_mapping(value, "the cluster", path).get("schema", SCHEMA)
    if schema != SCHEMA:
        raise GraphError(
            f"schema is {units.describe(schema)}, expected {SCHEMA!r}", path=join(path, "schema")
        )
    record = CLUSTER_KEYS.check(value, "the cluster", path)
    for key in ("name", "description"):
        if key in record:
            as_text(record[key], key, join(path, key))
    optional: dict[str, Any] = {
        key: as_name(record[key], key, join(path, key))
        for key in ("reference", "contention")
        if key in record
    }
    if "links" in record:
        where = join(path, "links")
        links = as_list(record["links"], "links", where)
        optional["links"] = tuple(_link(link, f"{where}[{k}]") for k, link in enumerate(links))
    if "bundles" in record:
        optional["bundles"] = Bundles.of(record["bundles"], join(path, "bundles"))
    where = join(path, "devices")
    rows = as_list(record["devices"], "devices", where)
    devices = tuple(_device(row, f"{where}[{k}]") for k, row in enumerate(rows))
    return made(Cluster, path, devices=devices, **optional)


def _device(value: object, path: str) -> Device:
    record = DEVICE_KEYS.check(value, "a device", path)
    given = dict(record) | {
        key: as_name(record[key], key, f"{path}.{key}") for key in ("id", "kind")
    }
    if record.get("memory", 0) is None:  # a Device takes None for no limit, a file leaves it out
        units.size(None, "memory", path=f"{path}.memory")
    return made(Device, path, **given)


def _link(value: object, path: str) -> Link:
    record = LINK_KEYS.check(value, "a link", path)
    a, b, one_way = _ends(record, path)
    if "via" in record:
        for key in ("latency", "bandwidth", "duplex"):
            if key in record:
                raise GraphError(
                    f"a link via a device has no {key} of its own: the links of its two hops do",
                    path=f"{path}.{key}",
                )
    given = {key: record[key] for key in ("via", "latency", "bandwidth", "duplex") if key in record}
    for key in ("via", "duplex"):
        if key in given:
            given[key] = as_name(given[key], key, f"{path}.{key}")
    if "bandwidth" in given:  # a Link may be of infinite bandwidth, a file leaves it out
        where = f"{path}.bandwidth"
        given["bandwidth"] = units.bandwidth(given["bandwidth"], "bandwidth", path=where)
    return made(Link, path, a=a, b=b, one_way=one_way, **given)


def _ends(record: Any, path: str) -> tuple[str, str, bool]:
    """Return the two ends of a link and whether it leads one way only."""
    named = [key for key in ("between", "from", "to") if key in record]
    if named == ["from", "to"]:
        return (
            as_name(record["from"], "from", f"{path}.from"),
            as_name(record["to"], "to", f"{path}.to"),
            True,
        )
    if named != ["between"]:
        raise GraphError(
            f"a link has {' and '.join(named) or 'no ends'}, "
            "expected between: [a, b], or from: a and to: b",
            path=path,
        )
    where = f"{path}.between"
    ends = as_list(record["between"], "between", where)
    if len(ends) != 2:
        raise GraphError(f"between names {len(ends)} ends, expected two", path=where)
    a, b = (as_name(end, "an end", f"{where}[{k}]") for k, end in enumerate(ends))
    return a, b, False
