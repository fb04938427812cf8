"""Models on cached features: fusions, combinations, tasks, and models on disk.

Start at `fusion_model.py`. A new fusion is one class in `fusion/` and one line in its registry.
"""
