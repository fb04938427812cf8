"""`mmfeat train` without --fusion: validation chooses the columns and the model.

Start at `search_model.py`.
"""
