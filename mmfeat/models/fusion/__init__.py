"""Fusions by name. A new one is one file here and one line in the table."""

from mmfeat.models.fusion.align_hadamard import AlignHadamardFusion
from mmfeat.models.fusion.base import Fused, Fusion, PooledFusion, TokenFusion
from mmfeat.models.fusion.co_attention import CoAttentionFusion
from mmfeat.models.fusion.concat import ConcatFusion
from mmfeat.models.fusion.concat_had import ConcatHadamardFusion
from mmfeat.models.fusion.cross import CrossFusion
from mmfeat.models.fusion.film import FilmFusion
from mmfeat.models.fusion.fusion_transformer import TransformerFusion
from mmfeat.models.fusion.gmu import GatedMultimodalUnit
from mmfeat.models.fusion.hadamard import HadamardFusion
from mmfeat.models.fusion.lmf import LmfFusion
from mmfeat.models.fusion.mfb import MfbFusion
from mmfeat.models.fusion.mlb import MlbFusion
from mmfeat.models.fusion.mod_scalar import ModalityScalarFusion
from mmfeat.models.fusion.resampler import ResamplerFusion
from mmfeat.models.fusion.seed_literal import SeedLiteralFusion
from mmfeat.models.fusion.seed_sigmoid import SeedSigmoidFusion
from mmfeat.models.fusion.single import SingleModality
from mmfeat.models.fusion.sum import SumFusion
from mmfeat.models.fusion.tfn import TensorFusion

FUSIONS: dict[str, type[Fusion]] = {
    "align_hadamard": AlignHadamardFusion,
    "co_attention": CoAttentionFusion,
    "concat": ConcatFusion,
    "concat_had": ConcatHadamardFusion,
    "cross": CrossFusion,
    "film": FilmFusion,
    "fusion_transformer": TransformerFusion,
    "gmu": GatedMultimodalUnit,
    "hadamard": HadamardFusion,
    "lmf": LmfFusion,
    "mfb": MfbFusion,
    "mlb": MlbFusion,
    "mod_scalar": ModalityScalarFusion,
    "resampler": ResamplerFusion,
    "seed_literal": SeedLiteralFusion,
    "seed_sigmoid": SeedSigmoidFusion,
    "single": SingleModality,
    "sum": SumFusion,
    "tfn": TensorFusion,
}

__all__ = ["FUSIONS", "Fused", "Fusion", "GatedMultimodalUnit", "PooledFusion", "TokenFusion"]
