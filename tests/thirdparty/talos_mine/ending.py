"""A script: it ends the process that imports it."""

raise SystemExit(7)
