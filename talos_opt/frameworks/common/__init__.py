"""What every framework needs: nothing here imports one.

loading      what MODULE:CALLABLE names, and what went wrong in a user's own code
inputs       example inputs from their texts
targets      devices that a profile is made for, from their texts
profile      what is known of a model's ops, devices and links; as a problem
measuring    what was measured on a device, and how it enters a profile
disturbance  what other processes took of the machine meanwhile
threads      the best number of threads
links        latency and bandwidth
statistics   medians and spreads of repeated measurements
least_squares  with bounds
calibration  measured ops against the measured whole, estimates against measurements
catalogue    devices that are not there, by the names that people use
op_classes   what sort of work an op is, and how much of a peak such work reaches
roofline     the time of an op from its FLOPs and bytes
side_by_side a profile as a schedule, for a trace of its op times
running      what a schedule says of a captured model, and what running it showed
pipelined    what running it as a pipeline showed
"""
