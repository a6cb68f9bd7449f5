"""Placements that need no search: what an answer must at least beat."""
