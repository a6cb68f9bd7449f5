"""JSON Schemas of the files that talos_opt reads and writes, for editors and other tools.

What they accept is what the readers accept, but for what a schema cannot say: names that exist,
sums, cycles. The readers do not use them: their errors name the line and what was expected.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from talos_opt.core.errors import ConfigError

#: Name -> what it describes.
SCHEMAS = {
    "graph": "talos-graph/1: models and the devices to place them on",
    "cluster": "talos-cluster/1: devices and links",
    "schedule": "talos-schedule/1: a placement, its times, and what is proven of it",
    "config": "a solver configuration",
    "study": "a study: many cases from one file",
    "trace": "talos-trace/1: models that arrive over time",
}


def path_of(name: str) -> Path:
    """Return the file of a schema; ``name`` is a key of `SCHEMAS`."""
    return Path(__file__).parent / f"{name}.json"


def read_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a file format as plain data: ``talos-opt schema``.

    Parameters
    ----------
    name : str
        A key of `SCHEMAS`: graph, cluster, schedule, config, study or trace.

    Returns
    -------
    dict
        Of draft 2020-12.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in SCHEMAS:
        raise ConfigError(f"no schema is called {name!r}, expected one of {', '.join(SCHEMAS)}")
    document: dict[str, Any] = json.loads(path_of(name).read_text(encoding="utf-8"))
    return document
