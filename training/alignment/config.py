"""The options of `mmfeat align-report`. Each field is a flag."""

from dataclasses import dataclass

from mmfeat.config import FeaturesPath, ModelPath, OutputPath
from training.config_checks import check_at_least_one


@dataclass(frozen=True)
class AlignReportConfig:
    """List the records whose modalities disagree most, such as an image with a wrong text.

    Writes OUTPUT/misaligned.parquet, which `mmfeat train --drop-misaligned OUTPUT` reads.
    """

    model: ModelPath
    """Directory that `mmfeat train --task align` wrote."""
    features: FeaturesPath
    """Directory that `mmfeat extract` wrote, with the columns the model was trained on."""
    output: OutputPath
    """Directory for misaligned.parquet."""
    most: int | None = None
    """Number of records to list, most misaligned first; None = all."""
    cross_fit: bool = True
    """Score each record with a model that was not trained on it: train two models like MODEL, each
    on one half of the training records, and score the other half. A model scores the pairs it was
    trained on too high. --no-cross-fit scores with MODEL itself, as `mmfeat score` does; use it
    for records that MODEL was not trained on."""
    threads: int = 1
    """Threads per matrix product."""

    def __post_init__(self) -> None:
        check_at_least_one(self, "most", "threads")
