"""A package of somebody else, which adds to talos_opt: the tests put its folder on the path."""
