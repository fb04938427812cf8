"""Options of `mmfeat score`."""

from dataclasses import dataclass

from mmfeat.config import FeaturesPath, ModelPath, OutputPath, RepeatedFlag
from mmfeat.errors import MmfeatError


@dataclass
class ScoreConfig:
    """Score every record of a feature store with a trained model.

    Each input record gets one row: the prediction, the probability of each class and the weight
    of each modality, or the reason why it cannot be scored. Unknown flags go to Apache Beam, for
    example --runner=DataflowRunner.
    """

    model: ModelPath
    """Output directory of `mmfeat train`."""
    features: FeaturesPath
    """Output directory of `mmfeat extract`, with the encoders the model was trained on."""
    output: OutputPath
    """Directory to write the predictions to."""
    columns: RepeatedFlag = ()
    """Columns of the samples table to copy to the predictions, for example label,sku. May be
    repeated. A name that the predictions already have gets the prefix meta_."""
    top_classes: int | None = None
    """Number of most likely classes to write as lists, `top_classes` and `top_probabilities`; 0 = a
    column `p_CLASS` for each class; None = 0 up to 100 classes, else 10."""

    def __post_init__(self) -> None:
        if self.top_classes is not None and self.top_classes < 0:
            raise MmfeatError("--top-classes must not be negative", got=self.top_classes)
