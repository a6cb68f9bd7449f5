"""Slow, obvious twins of checker and solvers, written from docs/model.md alone.

They share nothing with the package but the domain objects (Graph, Cluster, Schedule): no array
view, no occupancy, no simulator. Steps of pipelines are the exception (`steps`).
"""
