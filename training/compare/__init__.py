"""Train many models on the same rows and compare their quality and cost.

Start at `run.py`. `grid.py` lists the models, `train_trials.py` trains them in processes, and
`trials.py` keeps each training on disk. `statistics/` tests differences, `emap.py` measures
cross-modal interaction, `flops.py` counts operations, `pareto.py` picks a model, and
`leaderboard.py` puts it all into one table.
"""
