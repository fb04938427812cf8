"""`mmfeat audit`: suspected label errors, near-duplicates with different labels, outliers.

Start at `audit_store.py`.
"""
