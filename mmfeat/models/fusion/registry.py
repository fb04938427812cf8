"""Fusions by name. A new fusion is one class and one line here.

The first line of the class's docstring and its documented lines make the table in docs/fusion.md:
`python -m tests.mmfeat.models.test_fusion_doc` writes it.
"""

from mmfeat.models.fusion.attention import CoAttentionFusion, ResamplerFusion, TransformerFusion
from mmfeat.models.fusion.base import Fusion
from mmfeat.models.fusion.bilinear import LmfFusion, MfbFusion, MlbFusion, TensorFusion
from mmfeat.models.fusion.elementwise import (
    AlignHadamardFusion,
    ConcatFusion,
    ConcatHadamardFusion,
    HadamardFusion,
    SingleModality,
    SumFusion,
)
from mmfeat.models.fusion.film import FilmFusion
from mmfeat.models.fusion.weighted import (
    CrossFusion,
    GatedMultimodalUnit,
    ModalityScalarFusion,
    SeedLiteralFusion,
    SeedSigmoidFusion,
)
from mmfeat.plugins import Registry

FUSIONS: Registry[type[Fusion]] = Registry(
    "mmfeat.fusions",
    {
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
    },
)
