"""``python -m talos_opt``: the command line where its script is not on the path."""

import sys

from talos_opt.cli.main import main

# Solvers may spawn processes, and those import this module again.
if __name__ == "__main__":
    sys.exit(main())
