"""Intervals of models' metrics, and the models that are tied with the best one."""

from training.compare.statistics.comparison import ModelComparison, compare_with_best
from training.compare.statistics.variance import Interval

__all__ = ["Interval", "ModelComparison", "compare_with_best"]
