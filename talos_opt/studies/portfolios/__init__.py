"""One problem, solved by several solvers on the workers of a Dask cluster, which help each other.

portfolio    who solves what, and when all stop
standings    what they have come to together, after a check of their claims
boards       where they share what they find
news         how it travels
"""
