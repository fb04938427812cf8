"""Train many models on the same rows and compare their quality and cost.

Start at `run.py`. `grid.py` lists the models and `schedule.py` runs their trainings in processes:
`train_trials.py` trains one, `inputs.py` conditions its features, and `trials.py` keeps it on disk.
`statistics/` tests differences and picks a model, `emap.py` measures cross-modal interaction,
`flops.py` counts operations, and `leaderboard.py` puts it all into one table.
"""
