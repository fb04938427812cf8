"""Combinations by name. A new one is one file here and one line in the table."""

from mmfeat.models.combination.add import AddCombination
from mmfeat.models.combination.base import Combination
from mmfeat.models.combination.bilinear import BilinearCombination
from mmfeat.models.combination.linear import LinearCombination
from mmfeat.models.combination.mlp import MlpCombination

COMBINATIONS: dict[str, type[Combination]] = {
    "add": AddCombination,
    "bilinear": BilinearCombination,
    "linear": LinearCombination,
    "mlp": MlpCombination,
}

__all__ = ["COMBINATIONS", "Combination"]
