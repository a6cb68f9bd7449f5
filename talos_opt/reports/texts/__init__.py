"""What the command line and Python objects say to a person.

tables     numbers, names and tables
breakdown  where the time of a schedule goes
summary    a result: `talos-opt solve` and `Result.summary`
notebook   a result in a notebook: `Result._repr_html_`
"""
