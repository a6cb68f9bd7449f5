"""Who solves the cases of a study.

crew         what a study asks of them
asked        those that a command asks for
pool, children, worker     processes of this machine
farm, dask_link, remote    workers of a Dask cluster
"""
