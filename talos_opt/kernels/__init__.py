"""Compiled inner loops: arrays in, arrays out, nothing else.

Each kernel has a slow and obvious twin in the tests. Importing a kernel module imports numba, so
solvers import them when they run. Compiled code is cached on disk beside the module, or in the
user's cache folder where the package is read-only.
"""

from talos_opt.importing import import_whole

import_whole("numba")  # Ctrl-C amid a plain import would leave half of it, for good
