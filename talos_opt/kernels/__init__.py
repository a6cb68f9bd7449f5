"""Compiled inner loops: arrays in, arrays out, nothing else.

Each kernel has a slow and obvious twin in the tests. Importing a kernel module imports numba, so
solvers import them when they run. Compiled code is cached on disk beside the module, or in the
user's cache folder where the package is read-only.
"""
