"""`talos`: weighted speedup through incremental min-cost flow (Talos, ASAP 2021)."""
