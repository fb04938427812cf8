"""What is true of several models at once: which differ, what interaction is worth, what they cost.

`bootstrap.py` tells differences from luck, `emap.py` what a model owes to interaction between
modalities, `flops.py` what a record costs, `pareto.py` which model to take. Nothing here reads or
writes files. This file imports nothing.
"""
