"""The options of `mmfeat train` and `mmfeat evaluate`: their fields are the flags."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from mmfeat.config.flags import FeaturesPath, ModelPath, OutputPath
from mmfeat.errors import MmfeatError
from training.objectives.imbalance import Imbalance

TaskName = Literal["multiclass", "multilabel", "regression", "align"]

FLAT = tyro.conf.arg(name="")
"""A group's fields are flags without the group's name before them."""


@dataclass(frozen=True)
class SplitOptions:
    """Which rows train, which choose, which judge."""

    split_column: str = ""
    """Column that says train, val or test; empty = 'split' where there is one, or 80/10/10 by a
    hash of the key."""
    group_column: str = ""
    """Column whose value is hashed in place of the key, so that records of one product, author or
    day never stand in two splits."""
    stratify: bool = False
    """Give every split a like part of each class. Only where a hash of the key splits."""
    drop_misaligned: str = ""
    """PATH[:FRACTION]: leave out of training the records that `mmfeat align-report` lists first in
    its directory PATH: this part of all it lists, 0.05 where not given. Validation and test stay
    whole."""

    def __post_init__(self) -> None:
        asked = [
            flag
            for flag, given in (
                ("--split-column", self.split_column),
                ("--group-column", self.group_column),
                ("--stratify", self.stratify),
            )
            if given
        ]
        if len(asked) > 1:
            raise MmfeatError("only one way to split can be asked for", got=", ".join(asked))


@dataclass(frozen=True)
class LayerOptions:
    """The layers, but for how the modalities meet."""

    hidden: int = 256
    """Length every modality is projected to."""
    dropout: float = 0.2
    """Part of a feature's values set to 0 in training."""
    modality_dropout: float | None = None
    """Chance that a modality is hidden in training; None = 0.1, or 0.3 where records lack one."""

    def __post_init__(self) -> None:
        at_least_one(self, "hidden")
        for name in ("dropout", "modality_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise MmfeatError(f"--{name.replace('_', '-')} must lie in [0, 1)", got=value)


@dataclass(frozen=True)
class ModelOptions(LayerOptions):
    """The layers."""

    fusion: str = ""
    """How the modalities meet (see docs/fusion.md). Of one vector a modality: sum, concat,
    hadamard, align_hadamard, concat_had, cross, seed_literal, seed_sigmoid, mod_scalar, gmu, film,
    mlb, mfb, lmf, tfn, fusion_transformer; of tokens: co_attention, resampler; of the verdicts on
    each modality: late, late_stacked; of one modality: single. On the features themselves, without
    layers: logistic, ridge. Empty = gmu; for one modality alone logistic, or ridge to learn a
    number."""
    combination: str = "mlp"
    """What follows the fusion: linear (shows what the fusion itself can do), mlp, add, bilinear."""


@dataclass(frozen=True)
class RecipeOptions:
    """How the layers learn."""

    metric: str = ""
    """What early stopping and all choices go by, on validation: accuracy, balanced_accuracy,
    macro_f1; map, macro_f1, micro_f1, auroc, subset_accuracy of labels; mae, rmse, pearson, r2 of
    numbers; recall_at_1, recall_at_5, recall_at_10, median_rank of align. Empty = the first of the
    task's."""
    align_loss: Literal["infonce", "siglip"] = "infonce"
    """Loss of the task align: infonce, a softmax over the batch, or siglip, each pair by itself."""
    imbalance: Annotated[Imbalance, tyro.conf.arg(metavar="NAME")] = "auto"
    """What is done against unbalanced classes: none, logit_adjustment, class_weights,
    balanced_sampling, focal; of labels none, pos_weight, focal. auto = logit_adjustment, or
    pos_weight of labels, where they are far apart and the metric weighs them evenly."""
    lr: float | None = None
    """Learning rate; None = the best on validation of 1e-4, 3e-4, 1e-3 and 3e-3."""
    inverse_penalty: float | None = None
    """C of logistic and ridge, larger for weaker; None = the best on validation of several."""
    standardised: bool | None = None
    """Whether logistic and ridge divide each value of a dense column by its deviation; None = the
    better on validation."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    auxiliary: float = 0.0
    """Weight of the losses that each modality has alone, beside the fused one's, so that none is
    left unlearned where another is learned faster; late, logistic, ridge and align have none."""
    batch_size: int | None = None
    """Rows a step; None = a 50th of the training rows, at least 32 and at most 1024; of align a
    fifth, at least 64."""
    epochs: int = 50
    """Most passes over the training rows."""
    patience: int = 10
    """Passes without a better validation metric after which training stops."""

    def __post_init__(self) -> None:
        at_least_one(self, "epochs", "patience", "batch_size")
        if self.lr is not None and self.lr <= 0:
            raise MmfeatError("--lr must be above 0", got=self.lr)
        if self.inverse_penalty is not None and self.inverse_penalty <= 0:
            raise MmfeatError("--inverse-penalty must be above 0", got=self.inverse_penalty)
        if self.weight_decay < 0:
            raise MmfeatError("--weight-decay must not be negative", got=self.weight_decay)
        if self.auxiliary < 0:
            raise MmfeatError("--auxiliary must not be negative", got=self.auxiliary)


@dataclass(frozen=True)
class AccessOptions:
    """Where rows come from."""

    access: Literal["auto", "memory", "blocks"] = "auto"
    """Where training rows come from: memory, or blocks of shards that are shuffled together, so
    that a store larger than memory trains too; auto = memory where half of what is available
    holds the features."""


@dataclass(frozen=True)
class RunOptions(AccessOptions):
    """How the machine is used."""

    threads: int = 1
    """Threads of a matrix product. More help where the machine has nothing else to do; beside one
    other busy process, two threads on two cores were 15 to 40 times slower than one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the layers learn; auto = a GPU where there is one. Features stay on it if they fit."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the forward in training; all else is float32. auto = bfloat16 where, with 50,000 training
    rows or more, a measurement finds it at least 1.25 times faster here."""
    tensorboard: bool = False
    """Write the numbers of each epoch for TensorBoard too, into OUTPUT/tensorboard. Needs the
    extra mmfeat[tensorboard]."""

    def __post_init__(self) -> None:
        at_least_one(self, "threads")


@dataclass(frozen=True)
class TrainConfig:
    """Train a fusion and a head on cached features.

    The same features, options and seed give the same weights, byte for byte (on one machine, with
    one number of threads). Run again, a finished model is left alone and a killed run goes on.
    """

    features: FeaturesPath
    """Directory that `mmfeat extract` wrote."""
    output: OutputPath
    """Directory of the model: config.json, model.safetensors, metrics.json, report.html."""
    target: str = ""
    """Column of the samples table to learn; of multilabel also several columns of 0 and 1; of
    align none."""
    task: TaskName = "multiclass"
    """multiclass: one class out of several; multilabel: any number of labels, a column of lists
    or of text with commas; regression: a number; align: no target, but which modalities belong
    together."""
    label_separator: str = ","
    """What stands between the labels where --task multilabel finds text."""
    modalities: str = ""
    """Feature columns to use, as image,text; empty = all. One alone needs no fusion
    (a name other than logistic or ridge then means single)."""
    seed: int = 0
    """Fixes the first weights, the order of rows, and dropout."""
    split: Annotated[SplitOptions, FLAT] = field(default_factory=SplitOptions)
    model: Annotated[ModelOptions, FLAT] = field(default_factory=ModelOptions)
    recipe: Annotated[RecipeOptions, FLAT] = field(default_factory=RecipeOptions)
    run: Annotated[RunOptions, FLAT] = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise MmfeatError("--seed must not be negative", got=self.seed)
        if self.task == "regression" and self.split.stratify:
            raise MmfeatError(
                "--stratify gives every split a like part of each class, and a number has none",
                got="--task regression",
                cure="Leave it out: a hash of the key splits 80/10/10",
            )
        if self.task == "align":
            self._check_align()
        elif self.model.fusion == "align":
            raise MmfeatError(
                "the fusion 'align' is that of the task align alone", cure="Add --task align"
            )
        elif not self.target:
            raise MmfeatError(
                f"the task {self.task!r} learns a column of the samples table, and none is named",
                cure="Name it with --target, or learn which modalities belong together: "
                "--task align",
            )

    def _check_align(self) -> None:
        """Check that nothing is asked for that an alignment has not."""
        for flag, given in (
            ("--target", self.target),
            ("--stratify", self.split.stratify),
            ("--fusion", self.model.fusion not in ("", "align") and self.model.fusion),
            ("--modality-dropout", self.model.modality_dropout),
        ):
            if given:
                raise MmfeatError(
                    f"the task 'align' learns from pairs alone and takes no {flag}", got=given
                )


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure a model on a split of a feature store."""

    model: ModelPath
    """Directory that `mmfeat train` wrote."""
    features: FeaturesPath
    """Directory that `mmfeat extract` wrote, with the columns the model was trained on."""
    split: Literal["train", "val", "test", "all"] = "test"
    """Rows to measure on, by the rule the model was trained with; all = every row with a target."""
    json: bool = False
    """Print one JSON object and nothing else."""
    threads: int = 1
    """Threads of a matrix product."""

    def __post_init__(self) -> None:
        at_least_one(self, "threads")


def at_least_one(options: Any, *names: str) -> None:
    """Check that whole numbers are 1 or more, or not given."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise MmfeatError(f"--{name.replace('_', '-')} must be at least 1", got=value)


def check_metric(metric: str, known: Iterable[str], task: str) -> None:
    """Raise the error that lists what a model of the task can be chosen by."""
    if metric not in known:
        raise MmfeatError(
            f"--metric of the task {task!r} must be one of: {', '.join(known)}", got=metric
        )
