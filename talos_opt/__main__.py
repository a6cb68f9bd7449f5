"""``python -m talos_opt``: the command line where its script is not on the path."""

# Solvers may spawn processes, and those import this module again.
if __name__ == "__main__":
    import sys

    from talos_opt.cli.start import main

    sys.exit(main())
