"""A placement as a pipeline of micro-batches (docs/pipelines.md): the specification.

settings   how many micro-batches, and in which order stages run them
stages     the blocks that a placement consists of, their order, and what they send
memory     the bytes that each device needs
step       the time of a step: a simulation of blocks and sends
records    what comes out: blocks and steps
"""
