"""The options of `mmfeat audit`. Each field is a flag."""

from dataclasses import dataclass

from mmfeat.config import FeaturesPath, OutputPath
from mmfeat.errors import MmfeatError
from training.config_checks import check_at_least_one


@dataclass(frozen=True)
class AuditConfig:
    """List records whose labels or features look wrong.

    Writes OUTPUT/issues.parquet, ranked, and OUTPUT/report.html with thumbnails. Labels are judged
    by models that were not trained on the record (out-of-fold logistic regression).
    """

    features: FeaturesPath
    """Output directory of `mmfeat extract`."""
    output: OutputPath
    """Directory for issues.parquet and report.html."""
    target: str
    """Column of the samples table with the labels to check: one class per record."""
    modalities: str = ""
    """Feature columns to use, separated by commas. Empty = all."""
    null_labels: str = ""
    """Labels that mean 'no label', separated by commas."""
    folds: int = 5
    """Number of parts of the records; each is judged by a model of the others."""
    threshold: float = 0.95
    """Lowest cosine similarity of near-duplicates, as in `mmfeat dedup`. They share a fold."""
    most: int = 1000
    """Number of records to list of each kind of issue."""
    shown: int = 24
    """Number of records of each kind on the page."""
    seed: int = 0
    """Seed of the records that outliers are compared with."""
    threads: int = 1
    """Threads per matrix product."""

    def __post_init__(self) -> None:
        check_at_least_one(self, "most", "threads")
        if not 2 <= self.folds <= 50:
            raise MmfeatError("--folds must be from 2 to 50", got=self.folds)
        if not 0 < self.threshold <= 1:
            raise MmfeatError("--threshold must be above 0 and at most 1", got=self.threshold)
        if not 0 <= self.shown <= 200:
            raise MmfeatError("--shown must be from 0 to 200", got=self.shown)
