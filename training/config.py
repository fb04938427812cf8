"""Options of `mmfeat train`. Each field is a flag."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from mmfeat.config import FeaturesPath, OutputPath
from mmfeat.errors import MmfeatError
from training.config_checks import check_at_least_one
from training.describe_options import DESCRIBE, DescribeOptions, check_describe
from training.objectives.imbalance import Imbalance

TaskName = Literal["multiclass", "multilabel", "regression", "align", "describe"]

ALIGN = "align"

FLAT = tyro.conf.arg(name="")
"""Flags of a group do not have the group's name as a prefix."""


@dataclass(frozen=True)
class SplitOptions:
    """Splits: training, validation and test records."""

    split_column: str = ""
    """Column with the values train, val and test. Empty = the column 'split' if it exists, else
    80/10/10 by a hash of the key."""
    group_column: str = ""
    """Column to hash instead of the key, for example the product, author or day. Records with the
    same value are in the same split. Or the output of `mmfeat dedup`: near-duplicates are in the
    same split."""
    stratify: bool = False
    """Split each class 80/10/10, by a hash of the key."""
    drop_misaligned: str = ""
    """PATH[:FRACTION]: exclude the most misaligned records from training. PATH is the output of
    `mmfeat align-report`, FRACTION the fraction of its records, 0.05 by default. Validation and
    test keep all records."""

    def __post_init__(self) -> None:
        given = [
            flag
            for flag, value in (
                ("--split-column", self.split_column),
                ("--group-column", self.group_column),
                ("--stratify", self.stratify),
            )
            if value
        ]
        if len(given) > 1:
            raise MmfeatError("only one of the split options can be given", got=", ".join(given))


@dataclass(frozen=True)
class LayerOptions:
    """Layers that all fusions share."""

    hidden: int = 256
    """Length of each projected modality."""
    dropout: float = 0.2
    """Fraction of a feature's values set to 0 in training."""
    modality_dropout: float | None = None
    """Probability to hide a modality in training. None = 0.1, or 0.3 if training records lack a
    modality."""

    def __post_init__(self) -> None:
        check_at_least_one(self, "hidden")
        for name in ("dropout", "modality_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise MmfeatError(f"--{name.replace('_', '-')} must be in [0, 1)", got=value)


@dataclass(frozen=True)
class ModelOptions(LayerOptions):
    """Layers."""

    fusion: str = ""
    """How the modalities are combined (see docs/fusion.md). Fusions of one vector per modality:
    sum, concat, hadamard, align_hadamard, concat_had, cross, seed_literal, seed_sigmoid,
    mod_scalar, gmu, film, mlb, mfb, lmf, tfn, fusion_transformer. Of tokens: co_attention,
    resampler. Of the logits of each modality: late, late_stacked. One modality: single. Linear
    models on the features: logistic, ridge. Empty = search: validation chooses the columns and the
    model."""
    combination: str = "mlp"
    """Layer after the fusion: linear (no hidden layer), mlp, add, bilinear."""
    condition: Literal["default", "none", "center", "l2", "standardize", "pca", "auto"] = "default"
    """Input conditioning of all columns, fitted on the training rows. none: features as they are.
    center: subtract the mean. l2: center, then length 1. standardize: mean 0 and standard deviation
    1. pca: l2, then the first 128 principal components. auto: the best of none, l2, standardize
    and pca on validation. default = none with --fusion; a search tries pca and none. Linear models
    have a scaling of their own."""


@dataclass(frozen=True)
class RecipeOptions:
    """Training settings."""

    metric: str = ""
    """Validation metric for early stopping and all choices. multiclass: accuracy,
    balanced_accuracy, macro_f1. multilabel: map, macro_f1, micro_f1, auroc, subset_accuracy.
    regression: mae, rmse, pearson, r2. align: recall_at_1, recall_at_5, recall_at_10, median_rank.
    describe: loss, perplexity, cider. Empty = the first metric of the task."""
    align_loss: Literal["infonce", "siglip"] = "infonce"
    """Loss of the task align: infonce, a softmax over the batch, or siglip, a sigmoid per pair."""
    imbalance: Annotated[Imbalance, tyro.conf.arg(metavar="NAME")] = "auto"
    """Treatment of imbalanced classes: none, logit_adjustment, class_weights, balanced_sampling,
    focal. multilabel: none, pos_weight, focal. auto = logit_adjustment or pos_weight, if the
    classes are very imbalanced and the metric weights them equally."""
    lr: float | None = None
    """Learning rate. None = the best of 1e-4, 3e-4, 1e-3 and 3e-3 on validation."""
    inverse_penalty: float | None = None
    """C of logistic and ridge; a larger value means a weaker penalty. None = the best of several
    values on validation."""
    standardised: bool | None = None
    """Whether logistic and ridge divide each value of a dense column by its standard deviation.
    None = the better choice on validation."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    auxiliary: float = 0.0
    """Weight of the auxiliary losses, one per modality. They keep all modalities learning if one
    is learned faster. late, logistic, ridge and align have none."""
    batch_size: int | None = None
    """Rows per step. None = a 50th of the training rows, between 32 and 1024; for align a fifth,
    between 64 and 1024."""
    epochs: int = 50
    """Maximum number of epochs."""
    patience: int = 10
    """Number of epochs without a better validation metric after which training stops."""

    def __post_init__(self) -> None:
        check_at_least_one(self, "epochs", "patience", "batch_size")
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
    """Access to the features."""

    access: Literal["auto", "memory", "blocks"] = "auto"
    """Where training rows are read from. memory: all features in memory. blocks: blocks of the
    store, shuffled together; the store can be larger than memory. auto = memory if the features
    take at most half of the available memory."""


@dataclass(frozen=True)
class RunOptions(AccessOptions):
    """Hardware and logging."""

    threads: int = 1
    """Threads of a matrix product. Use more only on an idle machine: beside another busy process,
    two threads on two cores were 15 to 40 times slower than one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the training. auto = a GPU if available. Features stay in its memory if they
    fit."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the forward pass in training; everything else is float32. auto = bfloat16 if
    there are at least 50,000 training rows and bfloat16 is measured to be at least 1.25 times
    faster."""
    logger: Annotated[
        Literal["", "tensorboard", "wandb", "mlflow"], tyro.conf.arg(metavar="NAME")
    ] = ""
    """Also write the metrics of each epoch to tensorboard (in OUTPUT/tensorboard), wandb, or mlflow
    (in OUTPUT/mlruns, or at MLFLOW_TRACKING_URI). Needs the package. Empty = to log.jsonl only."""

    def __post_init__(self) -> None:
        check_at_least_one(self, "threads")


_MAX_FOLDS, _MAX_ENSEMBLE = 50, 100
"""With these, the models of three networks, one per fold, and of linear candidates are fewer than
`mmfeat.models.architecture.MAX_MEMBERS`."""


@dataclass(frozen=True)
class SearchOptions:
    """Search for the best model. Only without --fusion."""

    quality: Literal["fast", "default", "best"] = "default"
    """Size of the search. fast: linear models and one network. best: several times the time, more
    networks, larger ensembles."""
    folds: int | None = None
    """Number of folds of the cross-validation over training and validation rows. 0 = the split val
    chooses. At most 50. None = 5 for fewer than 2,000 of these rows, else 0."""
    ensemble: int | None = None
    """Maximum number of models to combine; each counts as often as it is picked. 1 = the best model
    alone, at most 100. None = 5, with --quality fast 1, with best 8."""
    time_limit: float | None = None
    """Seconds after which no further network is started. The result then depends on the speed of
    the machine; config.json and metrics.json say so. None = no limit; the work is limited by the
    shapes of the data."""

    def __post_init__(self) -> None:
        if self.folds not in (None, 0) and not 2 <= self.folds <= _MAX_FOLDS:
            raise MmfeatError(f"--folds must be 0 or from 2 to {_MAX_FOLDS}", got=self.folds)
        check_at_least_one(self, "ensemble")
        if self.ensemble is not None and self.ensemble > _MAX_ENSEMBLE:
            raise MmfeatError(f"--ensemble must be at most {_MAX_ENSEMBLE}", got=self.ensemble)
        if self.time_limit is not None and not self.time_limit > 0:
            raise MmfeatError("--time-limit must be above 0", got=self.time_limit)


@dataclass(frozen=True)
class TrainConfig:
    """Train a fusion model on extracted features.

    The same features, options and seed give the same weights, byte for byte (on one machine, with
    one number of threads). A second run leaves a finished model as it is and resumes a killed run.
    """

    features: FeaturesPath
    """Output directory of `mmfeat extract`."""
    output: OutputPath
    """Directory of the model: config.json, model.safetensors, metrics.json, report.html."""
    target: str = ""
    """Column of the samples table to learn. multilabel: also several columns of 0 and 1, separated
    by commas. align: no target."""
    task: TaskName = "multiclass"
    """multiclass: one of several classes. multilabel: any number of labels, from a column of lists
    or of text with commas. regression: a number. align: no target; the model learns which features
    belong to the same record. describe: a text, generated from the features."""
    label_separator: str = ","
    """Separator between the labels in a text column. --task multilabel only."""
    null_labels: str = ""
    """Texts of the target column that mean "no target", separated by commas, for example NA,None.
    Null, NaN and empty values always do."""
    modalities: str = ""
    """Feature columns to use, for example image,text. Empty = all. One column has no fusion: any
    fusion name except logistic and ridge then means single."""
    seed: int = 0
    """Seed of the initial weights, the order of the rows, and dropout."""
    split: Annotated[SplitOptions, FLAT] = field(default_factory=SplitOptions)
    model: Annotated[ModelOptions, FLAT] = field(default_factory=ModelOptions)
    recipe: Annotated[RecipeOptions, FLAT] = field(default_factory=RecipeOptions)
    search: Annotated[SearchOptions, FLAT] = field(default_factory=SearchOptions)
    describe: Annotated[DescribeOptions, FLAT] = field(default_factory=DescribeOptions)
    run: Annotated[RunOptions, FLAT] = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise MmfeatError("--seed must not be negative", got=self.seed)
        if not self.is_search and self.search != SearchOptions():
            raise MmfeatError(
                "--quality, --folds, --ensemble and --time-limit are options of the search",
                got=f"--fusion {self.model.fusion}" if self.model.fusion else f"--task {self.task}",
                cure="Leave them out, or leave out --fusion",
            )
        unused = {"--auxiliary": self.recipe.auxiliary}
        check_describe(self.task, self.describe, unused, self.model.fusion)
        if self.task in ("regression", DESCRIBE) and self.split.stratify:
            raise MmfeatError(
                "--stratify needs classes or labels",
                got=f"--task {self.task}",
                cure="Leave it out: a hash of the key splits 80/10/10",
            )
        if self.task == ALIGN:
            self._check_align()
        elif self.model.fusion == "align":
            raise MmfeatError("the fusion 'align' requires the task align", cure="Add --task align")
        elif not self.target:
            raise MmfeatError(
                f"the task {self.task!r} requires a target",
                cure="Name a column of the samples table with --target, or use --task align",
            )

    @property
    def named_fusions(self) -> list[str]:
        """The fusion, in a list that is empty without one."""
        return [self.model.fusion] if self.model.fusion else []

    @property
    def is_search(self) -> bool:
        """Whether validation chooses the fusion."""
        return not self.model.fusion and self.task not in (ALIGN, DESCRIBE)

    def _check_align(self) -> None:
        """Check that the options fit the task align."""
        for flag, value in (
            ("--target", self.target),
            ("--stratify", self.split.stratify),
            ("--fusion", self.model.fusion not in ("", "align") and self.model.fusion),
            ("--modality-dropout", self.model.modality_dropout),
        ):
            if value:
                raise MmfeatError(f"the task 'align' takes no {flag}", got=value)
