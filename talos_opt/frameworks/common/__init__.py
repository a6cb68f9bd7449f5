"""What every framework needs: nothing here imports one.

profile      what is known of a model's ops, devices and links; as a problem
statistics   medians and spreads of repeated measurements
calibration  measured ops against the measured whole, estimates against measurements
catalogue    published datasheets of devices, by name; their figures stand in datasheets
op_classes   what sort of work an op is, and how much of a peak such work reaches
roofline     the time of an op from its FLOPs and bytes
"""
