"""The options of `mmfeat train` and `mmfeat evaluate`: their fields are the flags."""

from dataclasses import dataclass
from typing import Literal

from mmfeat.errors import MmfeatError
from mmfeat.options import FeaturesPath, ModelPath, OutputPath

Metric = Literal["accuracy", "balanced_accuracy", "macro_f1"]


@dataclass(frozen=True)
class TrainConfig:
    """Train a fusion and a classifier on cached features.

    The same features, options and seed give the same weights, byte for byte (on one machine, with
    one number of threads). Run again, a finished model is left alone and a killed run starts over.
    """

    features: FeaturesPath
    """Directory that `mmfeat extract` wrote."""
    output: OutputPath
    """Directory of the model: config.json, model.safetensors, metrics.json, log.jsonl."""
    target: str
    """Column of the samples table that holds the class."""
    fusion: str = ""
    """How the modalities meet: concat, gmu, single, sum; or logistic, a logistic regression on the
    features themselves. Empty = gmu, and logistic for one modality alone."""
    combination: str = "mlp"
    """What follows the fusion: linear (shows what the fusion itself can do) or mlp."""
    modalities: str = ""
    """Feature columns to use, as image,text; empty = all. One alone needs no fusion
    (a name other than logistic then means single)."""
    split_column: str = ""
    """Column that says train, val or test; empty = 'split', or a hash of the key (80/10/10)."""
    metric: Metric = "accuracy"
    """What early stopping and the choice of the learning rate go by, on validation."""
    seed: int = 0
    """Fixes the first weights, the order of rows, and dropout."""
    hidden: int = 256
    """Length every modality is projected to."""
    dropout: float = 0.2
    """Part of a feature's values set to 0 in training."""
    modality_dropout: float | None = None
    """Chance that a modality is hidden in training; None = 0.1, or 0.3 where records lack one."""
    lr: float | None = None
    """Learning rate; None = the best on validation of 1e-4, 3e-4, 1e-3 and 3e-3."""
    inverse_penalty: float | None = None
    """C of logistic, larger for weaker; None = the best on validation of 1, 3, 10, … 300."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    batch_size: int | None = None
    """Rows a step; None = a 50th of the training rows, at least 32 and at most 1024."""
    epochs: int = 50
    """Most passes over the training rows."""
    patience: int = 10
    """Passes without a better validation metric after which training stops."""
    threads: int = 1
    """Threads of a matrix product. More help where the machine has nothing else to do; beside one
    other busy process, two threads on two cores were 15 to 40 times slower than one."""

    def __post_init__(self) -> None:
        for name in ("hidden", "epochs", "patience", "batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise MmfeatError(f"--{name.replace('_', '-')} must be at least 1", got=value)
        if self.lr is not None and self.lr <= 0:
            raise MmfeatError("--lr must be above 0", got=self.lr)
        if self.inverse_penalty is not None and self.inverse_penalty <= 0:
            raise MmfeatError("--inverse-penalty must be above 0", got=self.inverse_penalty)
        if self.weight_decay < 0:
            raise MmfeatError("--weight-decay must not be negative", got=self.weight_decay)
        if self.seed < 0:
            raise MmfeatError("--seed must not be negative", got=self.seed)
        for name in ("dropout", "modality_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise MmfeatError(f"--{name.replace('_', '-')} must lie in [0, 1)", got=value)


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure a model on a split of a feature store."""

    model: ModelPath
    """Directory that `mmfeat train` wrote."""
    features: FeaturesPath
    """Directory that `mmfeat extract` wrote, with the columns the model was trained on."""
    split: Literal["train", "val", "test", "all"] = "test"
    """Rows to measure on, by the rule the model was trained with; all = every row with a label."""
    json: bool = False
    """Print one JSON object and nothing else."""
    threads: int = 1
    """Threads of a matrix product."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise MmfeatError("--threads must be at least 1", got=self.threads)
