"""A Hypothesis profile for kernels that are interpreted, which takes a hundred times as long."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("interpreted", settings.get_profile("default"), max_examples=8)
