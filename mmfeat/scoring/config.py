"""Options of `mmfeat score`."""

from dataclasses import dataclass

from mmfeat.config import FeaturesPath, ModelPath, OutputPath, RepeatedFlag


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
