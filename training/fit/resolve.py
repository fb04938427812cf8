"""From options and data to a settled run: the columns, the layers, the numbers, the claim."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmfeat.config.flags import comma_list
from mmfeat.errors import MmfeatError
from mmfeat.features.column_format import Column
from mmfeat.features.store import FeatureStore
from mmfeat.models.architecture import ALIGN, LOGISTIC, RIDGE, Architecture
from mmfeat.models.checkpoint import input_shapes
from mmfeat.models.tasks import Align
from mmfeat.system.console import note
from training.config import ModelOptions, TrainConfig, check_metric
from training.data.dataset import Dataset, load_dataset
from training.data.exclusions import read_dropped
from training.data.splits import TRAIN, SplitRule
from training.fit.auxiliary import learns_each
from training.fit.recipe import (
    INVERSE_PENALTIES,
    LEARNING_RATES,
    RIDGE_PENALTIES,
    LinearRecipe,
    ProbeRecipe,
    Recipe,
    RidgeRecipe,
    StepRecipe,
    batch_size_for,
)
from training.fit.scaling import dense_columns
from training.objectives import OBJECTIVES, MultilabelObjective, Objective, imbalance


@dataclass(frozen=True)
class Plan:
    """A training run, settled.

    Attributes:
        recipes: one for each learning rate, or inverse penalty, to try.
        claim: all that determines the weights; becomes config.json.
    """

    architecture: Architecture
    recipes: Sequence[Recipe]
    claim: dict[str, Any]


def choose_columns(store: FeatureStore, modalities: str) -> list[Column]:
    """The feature columns to train on, in the store's order.

    Args:
        store: the features.
        modalities: names, separated by commas; empty = all of the store.

    Raises:
        MmfeatError: the store lacks one of them.
    """
    names = comma_list(modalities) or list(store.columns)
    for name in names:
        if name not in store.columns:
            raise MmfeatError(
                f"no feature column of that name in {store.path}",
                got=name,
                cure=f"There are: {', '.join(store.columns)}",
            )
    return [column for name, column in store.columns.items() if name in names]


def make_objective(config: TrainConfig, columns: Sequence[Column]) -> Objective:
    """What the options ask to learn.

    Raises:
        MmfeatError: the metric is not one of the task's, or an alignment has one modality alone.
    """
    objective = OBJECTIVES[config.task](config.target)
    if isinstance(objective, MultilabelObjective):
        objective.separator = config.label_separator
    if config.task == ALIGN:
        names = [column.name for column in columns]
        if len(names) < Align.least:
            raise MmfeatError(
                f"the task 'align' takes at least {Align.least} modalities",
                got=names,
                cure="Name more with --modalities, or extract another column",
            )
        objective.know(Align(names, config.model.hidden, config.recipe.align_loss))
    check_metric(config.recipe.metric or objective.metrics[0], objective.metrics, config.task)
    return objective


def choose_rule(store: FeatureStore, config: TrainConfig) -> SplitRule:
    """How the options split; a column called `split` counts where they ask for nothing."""
    asked = config.split
    found = "split" in store.samples_schema.names and config.target != "split"
    silent = not (asked.split_column or asked.group_column or asked.stratify)
    return SplitRule(
        asked.split_column or ("split" if found and silent else ""), asked.group_column
    )


def open_dataset(
    config: TrainConfig, store: FeatureStore, columns: Sequence[Column], *, quiet: bool = False
) -> Dataset:
    """The rows the options ask for; says so where the splits leak, unless it is to be quiet."""
    dataset = load_dataset(
        store,
        columns,
        make_objective(config, columns),
        choose_rule(store, config),
        stratify=config.split.stratify,
        access=config.run.access,
        dropped=read_dropped(config.split.drop_misaligned),
    )
    if dataset.leakage.worst and not quiet:
        note(f"mmfeat: warning: the splits leak: {dataset.leakage.worst}. Split by --group-column")
    return dataset


def plan_training(
    config: TrainConfig, store: FeatureStore, columns: Sequence[Column], dataset: Dataset
) -> Plan:
    """Settle what the options leave open."""
    architecture = _architecture(config, columns, dataset)
    recipes, treatment = _recipes(config, architecture, dataset)
    settled = asdict(recipes[0])
    choices = {name: [recipe.choice[name] for recipe in recipes] for name in recipes[0].choice}
    return Plan(
        architecture=architecture,
        recipes=recipes,
        claim={
            "target": config.target,
            **dataset.objective.task.facts,
            "split": asdict(dataset.rule),
            "columns": [asdict(column) for column in columns],
            "features": {
                "config_hash": store.manifest["config_hash"],
                "records": store.records,
            },
            **_without(asdict(architecture), "dims", "tokens", "outputs"),
            **_without(settled, "prior"),
            **choices,
            "imbalance_why": treatment.why,
            "precision": config.run.precision,
            **({"drop_misaligned": dataset.dropped.facts} if dataset.dropped else {}),
        },
    )


def _architecture(config: TrainConfig, columns: Sequence[Column], dataset: Dataset) -> Architecture:
    """The layers: without a fusion named, logistic regression for one column, gmu for more."""
    options = config.model
    alone = len(columns) == 1
    shapes = {**input_shapes(columns), "outputs": dataset.objective.task.outputs}
    fusion = options.fusion or (_linear_for(config.task) if alone else "gmu")
    if config.task == ALIGN:
        fusion = ALIGN
    elif fusion in _LINEAR:
        if fusion == LOGISTIC and config.task == "regression":
            raise MmfeatError(
                "the fusion 'logistic' learns classes and labels, no numbers",
                cure="Name the fusion 'ridge'",
            )
        return Architecture(
            **shapes, fusion=fusion, combination="linear", dropout=0.0, modality_dropout=0.0
        )
    elif alone:
        fusion = "single"
    return Architecture(
        **shapes,
        fusion=fusion,
        combination=options.combination,
        hidden=options.hidden,
        dropout=options.dropout,
        modality_dropout=_modality_dropout(options, fusion, dataset),
    )


def _modality_dropout(options: ModelOptions, fusion: str, dataset: Dataset) -> float:
    """Hiding a modality teaches nothing where there is one alone, or where pairs are learned."""
    if fusion in ("single", ALIGN):
        return 0.0
    if options.modality_dropout is None:
        return 0.3 if dataset.has_gaps else 0.1
    return options.modality_dropout


_LINEAR: dict[str, tuple[type[LinearRecipe], Sequence[float]]] = {
    LOGISTIC: (ProbeRecipe, INVERSE_PENALTIES),
    RIDGE: (RidgeRecipe, RIDGE_PENALTIES),
}
"""Linear model → how it is fitted, and the penalties that are tried."""


def _linear_for(task: str) -> str:
    return RIDGE if task == "regression" else LOGISTIC


def _recipes(
    config: TrainConfig, architecture: Architecture, dataset: Dataset
) -> tuple[Sequence[Recipe], imbalance.Choice]:
    """A recipe for each value of what is chosen on validation, and what is done on imbalance."""
    options, objective = config.recipe, dataset.objective
    rows = len(dataset.parts[TRAIN])
    metric = options.metric or objective.metrics[0]
    counts = objective.counts(dataset.targets[dataset.parts[TRAIN]])
    treatment = imbalance.choose(
        options.imbalance, config.task, metric, counts, rows, architecture.fusion
    )
    shared: dict[str, Any] = {
        "metric": metric,
        "seed": config.seed,
        "epochs": options.epochs,
        "imbalance": treatment.name,
        "prior": () if counts is None else tuple((counts / rows).tolist()),
    }
    if architecture.fusion in _LINEAR:
        kind, penalties = _LINEAR[architecture.fusion]
        if options.inverse_penalty is not None:
            penalties = [options.inverse_penalty]
        scalings = [False, True] if dense_columns(dataset) else [False]
        if options.standardised is not None:
            scalings = [options.standardised]
        return [
            kind(**shared, inverse_penalty=penalty, standardised=standardised)
            for standardised in scalings
            for penalty in penalties
        ], treatment
    return [
        StepRecipe(
            **shared,
            lr=lr,
            weight_decay=options.weight_decay,
            batch_size=options.batch_size or batch_size_for(rows, config.task == ALIGN),
            patience=options.patience,
            auxiliary=options.auxiliary if learns_each(architecture) else 0.0,
        )
        for lr in ([options.lr] if options.lr else LEARNING_RATES)
    ], treatment


def _without(facts: dict[str, Any], *names: str) -> dict[str, Any]:
    """The facts that the claim does not already hold in another form."""
    return {name: value for name, value in facts.items() if name not in names}
