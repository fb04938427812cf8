"""Options of `mmfeat evaluate`. Each field is a flag."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from mmfeat.config import FeaturesPath, ModelPath
from mmfeat.models.decoder.decoding_options import DecodingOptions
from training.config_checks import check_at_least_one


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate a model on a split of a feature store."""

    model: ModelPath
    """Output directory of `mmfeat train`."""
    features: FeaturesPath
    """Output directory of `mmfeat extract`, with the columns the model was trained on."""
    split: Literal["train", "val", "test", "all"] = "test"
    """Split to evaluate, by the model's split rule. all = every row with a target."""
    json: bool = False
    """Print one JSON object and nothing else."""
    threads: int = 1
    """Threads of a matrix product."""
    texts: Annotated[DecodingOptions, tyro.conf.arg(name="")] = field(
        default_factory=DecodingOptions
    )

    def __post_init__(self) -> None:
        check_at_least_one(self, "threads")
