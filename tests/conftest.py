"""Hypothesis profiles; choose one with HYPOTHESIS_PROFILE (default or thorough)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_common = settings(
    deadline=None,  # brute force takes as long as it takes
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],  # the machine may be shared
)
settings.register_profile("default", _common, max_examples=60)
settings.register_profile("thorough", _common, max_examples=1500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
