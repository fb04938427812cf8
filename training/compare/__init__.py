"""Which model to take: many are trained on the same rows, and told apart by quality and cost.

Start at `run.py`. `systems.py` says what is compared, `cells.py` trains and keeps one training,
`interaction.py` and `emap.py` tell what a model owes to interaction between modalities,
`bootstrap.py` differences from luck, `flops.py` what a record costs, `pareto.py` which to take,
`leaderboard.py` all of it. This file imports nothing.
"""
