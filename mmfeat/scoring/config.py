"""Options of `mmfeat score`."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from mmfeat.config import (
    InputPath,
    ModelPath,
    OutputPath,
    RepeatedFlag,
    check_separate,
)
from mmfeat.encoders import EncoderSpec
from mmfeat.errors import MmfeatError
from mmfeat.models.decoder.decoding_options import DecodingOptions


@dataclass
class ScoreConfig:
    """Score every record of a feature store, or of shards, with trained models.

    Each input record gets one row: the prediction, the probability of each class and the weight
    of each modality, or the reason why it cannot be scored. Shards are encoded on the way with the
    encoders the model was trained on, and no features are written. Several models may be named
    before INPUT: `mmfeat score MODEL MODEL INPUT OUTPUT`; the columns of each then begin with the
    name of its directory. Unknown flags go to Apache Beam, for example --runner=DataflowRunner.
    """

    model: ModelPath
    """Output directory of `mmfeat train`."""
    input: InputPath
    """Output directory of `mmfeat extract`, with the encoders the model was trained on, or of
    `mmfeat shard`."""
    output: OutputPath
    """Directory to write the predictions to."""
    more_models: RepeatedFlag = ()
    """Another model that scores the same records. May be repeated."""
    columns: RepeatedFlag = ()
    """Columns of the samples table to copy to the predictions, for example label,sku. May be
    repeated. A name that the predictions already have gets the prefix meta_."""
    top_k: int | None = None
    """Number of most likely classes to write as lists, `top_classes` and `top_probabilities`; 0 = a
    column `p_CLASS` for each class; None = 0 up to 100 classes, else 10."""
    embedding: bool = False
    """Write the fused vector of each record, `embedding`: what the classifier reads."""
    explain: bool = False
    """Write for each modality how the logit of the prediction changes when the modality is left
    out, `without_COLUMN`."""
    where: str = ""
    """Score only records whose metadata meet a condition, for example 'label == "cat"'."""
    keys: str = ""
    """Score only records whose keys are in this file: one per line, or a table."""
    partition_by: str = ""
    """Column of the samples table: the rows of each of its values go into a folder of their own,
    data/COLUMN=VALUE, as Hive and Spark name them."""
    max_drift: float | None = None
    """Stop if the population stability index of a feature column exceeds this number; 0.25 is
    usual. Shards that are scored are kept."""
    keep_features: str = ""
    """Directory to keep the features in, if INPUT is shards."""
    encoder: RepeatedFlag = ()
    """COLUMN=SCHEME:NAME, where an encoder of the model is now, if INPUT is shards. It must have
    the weights of the training. May be repeated."""
    device: str = "auto"
    """Device of the encoders: auto (all GPUs, or the CPU if there is none), cpu, cuda, cuda:1,
    cuda:0,1."""
    batch_size: int = 0
    """Maximum number of records per batch of an encoder; 0 = measure the fastest."""
    trust_remote_code: bool = False
    """Run code that is part of the checkpoint of an encoder."""
    processes: int = 0
    """Processes that encode shards in parallel on this machine; 0 = as `mmfeat extract` chooses."""
    threads: int = 0
    """Threads per process that decode and encode; 0 = one per core."""

    texts: Annotated[DecodingOptions, tyro.conf.arg(name="")] = field(
        default_factory=DecodingOptions
    )

    def __post_init__(self) -> None:
        for name in ("top_k", "batch_size", "processes", "threads"):
            if (getattr(self, name) or 0) < 0:
                flag = f"--{name.replace('_', '-')}"
                raise MmfeatError(f"{flag} must not be negative", got=getattr(self, name))
        if self.max_drift is not None and not self.max_drift > 0:
            raise MmfeatError("--max-drift must be above 0", got=self.max_drift)
        for flag in self.encoder:
            EncoderSpec.parse(flag)
        stores = {"INPUT": self.input, "OUTPUT": self.output, "MODEL": self.model}
        check_separate(self.keep_features, stores, "--keep-features")
        for path in self.more_models:
            check_separate(self.output, {"MODEL": path})

    @property
    def models(self) -> list[str]:
        """The directories of all models."""
        return [self.model, *self.more_models]
