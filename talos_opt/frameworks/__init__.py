"""From a real model to a graph, and back to a run: one folder per framework, what they share once.

common    profiles, statistics, calibration, the device catalogue and its roofline
torch     capture, profile, run, device maps
"""
