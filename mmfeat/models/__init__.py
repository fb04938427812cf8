"""Models on cached features: fusions, combinations, the classifier, and its files on disk.

Start at `fusion_model.py`. A fusion is one file in `fusion/` and one line in its table, a
combination likewise. This file imports nothing, so that naming the package never waits for torch.
"""
