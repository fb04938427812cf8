"""Verify a store: compare every file with its receipt, and un-commit what is damaged."""

from mmfeat.verification.check_trials import count_trials
from mmfeat.verification.parts import Damage, Part
from mmfeat.verification.repair import uncommit
from mmfeat.verification.verify import Verification, verify_store

__all__ = ["Damage", "Part", "Verification", "count_trials", "uncommit", "verify_store"]
