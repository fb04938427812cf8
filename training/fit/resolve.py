"""Resolve options and data into a run: columns, objective, layers and recipes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmfeat.config import split_commas
from mmfeat.errors import MmfeatError
from mmfeat.features import Column, FeatureStore
from mmfeat.models.architecture import ALIGN, LOGISTIC, RIDGE, Architecture, check_fusion
from mmfeat.models.conditioning import L2, PCA, STANDARDIZE
from mmfeat.models.saved_model import input_shapes, layers_to_config
from mmfeat.models.tasks import Align
from training.columns import names_duplicates
from training.conditioning import NONE
from training.config import ModelOptions, TrainConfig
from training.config_checks import check_metric
from training.data import (
    TRAIN,
    Dataset,
    SplitRule,
    bind_text_target,
    check_input_texts,
    hint_at_regression,
    load_dataset,
    load_groups,
    read_dropped,
    warn_of_leaks,
    warn_of_odd_labels,
    warn_of_unseen_labels,
)
from training.describe_options import DESCRIBE
from training.fit.auxiliary import supports_auxiliary_losses
from training.fit.linear import dense_columns
from training.objectives import imbalance
from training.objectives.base import Objective
from training.objectives.describe import DescribeObjective
from training.objectives.multilabel import MultilabelObjective
from training.objectives.registry import OBJECTIVES
from training.recipe import (
    INVERSE_PENALTIES,
    RIDGE_PENALTIES,
    AdamWRecipe,
    LinearRecipe,
    LogisticRecipe,
    Recipe,
    RidgeRecipe,
    default_batch_size,
)

_LINEAR_MODELS: dict[str, tuple[type[LinearRecipe], Sequence[float]]] = {
    LOGISTIC: (LogisticRecipe, INVERSE_PENALTIES),
    RIDGE: (RidgeRecipe, RIDGE_PENALTIES),
}
"""Linear model → class of its recipes, and values of C to try."""

_CONDITIONINGS = {
    "default": ("",),
    NONE: ("",),
    "auto": (NONE, L2, STANDARDIZE, PCA),
}
"""Value of --condition → the conditionings to try; others stand for themselves."""


@dataclass(frozen=True)
class ResolvedRun:
    """A training run without open options.

    Attributes:
        architecture: the layers.
        recipes: one recipe for each learning rate, or value of C, to try.
        config: everything the weights depend on; written to config.json.
    """

    architecture: Architecture
    recipes: Sequence[Recipe]
    config: dict[str, Any]


def build_objective(config: TrainConfig, columns: Sequence[Column]) -> Objective:
    """Return the objective of the options.

    Raises:
        MmfeatError: the metric is not one of the task's, or an alignment has only one modality.
    """
    objective = OBJECTIVES[config.task](config.target)
    objective.null_labels = split_commas(config.null_labels)
    if isinstance(objective, MultilabelObjective):
        objective.separator = config.label_separator
    if isinstance(objective, DescribeObjective):
        objective.options = config.describe
        objective.metric = config.recipe.metric or objective.metrics[0]
    if config.task == ALIGN:
        names = [column.name for column in columns]
        if len(names) < Align.min_modalities:
            raise MmfeatError(
                f"the task 'align' takes at least {Align.min_modalities} modalities",
                got=names,
                cure="Name more with --modalities, or extract another column",
            )
        objective.bind_task(Align(names, config.model.hidden, config.recipe.align_loss))
    check_metric(config.recipe.metric or objective.metrics[0], objective.metrics, config.task)
    return objective


def resolve_split_rule(store: FeatureStore, config: TrainConfig) -> SplitRule:
    """Return the split rule of the options; the default is the column `split` if it exists."""
    options = config.split
    has_option = options.split_column or options.group_column or options.stratify
    has_column = "split" in store.samples_schema.names and config.target != "split"
    default = "split" if has_column and not has_option else ""
    if names_duplicates(store, options.group_column):
        sha256 = load_groups(options.group_column, "").sha256
        return SplitRule(duplicates=options.group_column, duplicates_sha256=sha256)
    return SplitRule(options.split_column or default, options.group_column)


def open_dataset(
    config: TrainConfig, store: FeatureStore, columns: Sequence[Column], *, quiet: bool = False
) -> Dataset:
    """Load the dataset of the options, and warn of what is odd in it, unless `quiet`."""
    objective = build_objective(config, columns)
    if isinstance(objective, DescribeObjective):
        bind_text_target(objective, store)
        if not quiet:
            check_input_texts(objective, store, columns)
    dataset = load_dataset(
        store,
        columns,
        objective,
        resolve_split_rule(store, config),
        stratify=config.split.stratify,
        access=config.run.access,
        dropped=read_dropped(config.split.drop_misaligned),
    )
    if not quiet:
        warn_of_leaks(store, columns, dataset)
        warn_of_unseen_labels(dataset)
        warn_of_odd_labels(dataset)
        hint_at_regression(config, dataset)
    return dataset


def resolve_run(
    config: TrainConfig, store: FeatureStore, columns: Sequence[Column], dataset: Dataset
) -> ResolvedRun:
    """Resolve the open options from the data."""
    architecture = _resolve_architecture(config, columns, dataset)
    recipes, method = _resolve_recipes(config, architecture, dataset)
    choices = {name: [recipe.choice[name] for recipe in recipes] for name in recipes[0].choice}
    if "conditioning" in choices:  # the layers have a field of this name
        choices["condition"] = choices.pop("conditioning")
    return ResolvedRun(
        architecture=architecture,
        recipes=recipes,
        config={
            "target": config.target,
            **dataset.objective.task.config,
            "split": dataset.rule.config,
            "columns": [asdict(column) for column in columns],
            "features": {
                "config_hash": store.manifest["config_hash"],
                "records": store.records,
            },
            **layers_to_config(architecture),
            **_without(asdict(recipes[0]), "prior", "conditioning"),
            **choices,
            "imbalance_why": method.why,
            **dataset.objective.settings,
            "precision": config.run.precision,
            **({"drop_misaligned": dataset.dropped.settings} if dataset.dropped else {}),
        },
    )


def _resolve_architecture(
    config: TrainConfig, columns: Sequence[Column], dataset: Dataset
) -> Architecture:
    """Return the layers. The default fusion is a linear model for one column, else gmu."""
    options = config.model
    is_unimodal = len(columns) == 1
    shapes = {**input_shapes(columns), "outputs": dataset.objective.task.outputs}
    linear_model = RIDGE if config.task == "regression" else LOGISTIC
    is_linear = is_unimodal and config.task != DESCRIBE
    fusion = options.fusion or (linear_model if is_linear else "gmu")
    check_fusion(fusion)
    if config.task == ALIGN:
        fusion = ALIGN
    elif fusion in _LINEAR_MODELS:
        if fusion == LOGISTIC and config.task == "regression":
            raise MmfeatError(
                "the fusion 'logistic' learns classes and labels, not numbers",
                cure="Use --fusion ridge",
            )
        return Architecture(
            **shapes, fusion=fusion, combination="linear", dropout=0.0, modality_dropout=0.0
        )
    elif is_unimodal:
        fusion = "single"
    return Architecture(
        **shapes,
        fusion=fusion,
        combination=options.combination,
        hidden=options.hidden,
        dropout=options.dropout,
        modality_dropout=_resolve_modality_dropout(options, fusion, dataset),
        decoder=dataset.objective.decoder_layers,
    )


def _resolve_modality_dropout(options: ModelOptions, fusion: str, dataset: Dataset) -> float:
    """Return the modality dropout; 0 for one modality and for pairs."""
    if fusion in ("single", ALIGN):
        return 0.0
    if options.modality_dropout is None:
        return 0.3 if dataset.has_missing_features else 0.1
    return options.modality_dropout


def _resolve_recipes(
    config: TrainConfig, architecture: Architecture, dataset: Dataset
) -> tuple[Sequence[Recipe], imbalance.ImbalanceMethod]:
    """Return a recipe for each setting to try, and the treatment of imbalanced classes."""
    options, objective = config.recipe, dataset.objective
    training = dataset.split_rows[TRAIN]
    rows = len(training)
    metric = options.metric or objective.metrics[0]
    counts = objective.class_counts(dataset.targets[training])
    method = imbalance.choose_method(
        options.imbalance, config.task, metric, counts, rows, architecture.fusion
    )
    shared: dict[str, Any] = {
        "metric": metric,
        "seed": config.seed,
        "epochs": options.epochs,
        "imbalance": method.name,
        "prior": () if counts is None else tuple((counts / rows).tolist()),
    }
    if architecture.fusion in _LINEAR_MODELS:
        if config.model.condition not in ("default", NONE):
            raise MmfeatError(
                f"the model {architecture.fusion!r} takes no --condition: it has --standardised",
                got=config.model.condition,
            )
        recipe_class, penalties = _LINEAR_MODELS[architecture.fusion]
        if options.inverse_penalty is not None:
            penalties = [options.inverse_penalty]
        scalings = [False, True] if dense_columns(dataset) else [False]
        if options.standardised is not None:
            scalings = [options.standardised]
        return [
            recipe_class(**shared, inverse_penalty=penalty, standardised=standardised)
            for standardised in scalings
            for penalty in penalties
        ], method
    return [
        AdamWRecipe(
            **shared,
            lr=lr,
            weight_decay=options.weight_decay,
            batch_size=options.batch_size or default_batch_size(rows, config.task == ALIGN),
            patience=options.patience,
            auxiliary=options.auxiliary if supports_auxiliary_losses(architecture) else 0.0,
            conditioning=conditioning,
        )
        for conditioning in _CONDITIONINGS.get(config.model.condition, (config.model.condition,))
        for lr in ([options.lr] if options.lr else objective.learning_rates)
    ], method


def _without(settings: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return settings without those that the config holds in another form."""
    return {name: value for name, value in settings.items() if name not in names}
