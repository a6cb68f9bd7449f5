"""What each command does, as a function: the command parses, calls it, and prints.

Functions that already are where their subject is (`talos_opt.api`, `talos_opt.robust`, ...) are not
repeated here. docs/python.md has the table of commands and functions.

explaining   a schedule, an op or a module
exporting    the forms of other tools
analyzing    speedups, affinity and packing
drawing      pictures, pages and traces
sweeping     studies
fitting      the largest of a family of problems
joining      several graphs as one
languages    the graph of a language model from its files
traces       two traces, op type by op type
models       profiling and running
"""
