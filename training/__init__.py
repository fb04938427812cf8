"""Training on cached features: the options, the data in memory, the recipe, the metrics.

Start at `train.py`; it reads like the diagram of the stage.
"""
