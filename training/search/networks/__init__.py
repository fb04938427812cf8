"""Network candidates: which ones, their cost, and their training."""
