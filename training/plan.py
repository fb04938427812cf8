"""From options and data to a settled run: the columns, the layers, the numbers, the claim."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.features import Column, FeatureStore
from mmfeat.models.architecture import LOGISTIC, Architecture
from mmfeat.options import comma_list
from training.config import TrainConfig
from training.data import Dataset
from training.recipe import (
    INVERSE_PENALTIES,
    LEARNING_RATES,
    ProbeRecipe,
    StepRecipe,
    batch_size_for,
    log_prior_for,
)
from training.splits import TRAIN


@dataclass(frozen=True)
class Plan:
    """A training run, settled.

    Attributes:
        recipes: one for each learning rate, or inverse penalty, to try.
        claim: all that determines the weights; becomes config.json.
    """

    architecture: Architecture
    recipes: Sequence[StepRecipe | ProbeRecipe]
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
    chosen = [column for name, column in store.columns.items() if name in names]
    for column in chosen:
        if column.max_tokens:
            raise MmfeatError(
                "a column of tokens cannot be trained on; fusions take one vector a modality",
                got=column.name,
                cure="Choose others with --modalities, or extract it with output=pooled",
            )
    return chosen


def choose_split_column(store: FeatureStore, config: TrainConfig) -> str:
    """The column that names the split; empty where the key's hash decides."""
    has_split = "split" in store.samples_schema.names and config.target != "split"
    return config.split_column or ("split" if has_split else "")


def plan_training(
    config: TrainConfig, store: FeatureStore, columns: Sequence[Column], dataset: Dataset
) -> Plan:
    """Settle what the options leave open."""
    architecture = _architecture(config, columns, dataset)
    recipes = _recipes(config, architecture, dataset)
    settled = asdict(recipes[0])
    choices = {name: [recipe.choice[name] for recipe in recipes] for name in recipes[0].choice}
    return Plan(
        architecture=architecture,
        recipes=recipes,
        claim={
            "task": "multiclass",
            "target": config.target,
            "classes": dataset.classes,
            "split": asdict(dataset.rule),
            "columns": [asdict(column) for column in columns],
            "features": {
                "config_hash": store.manifest["config_hash"],
                "records": store.records,
            },
            **_without(asdict(architecture), "dims", "outputs"),
            **_without(settled, "log_prior"),
            **choices,
            "logit_adjustment": bool(settled["log_prior"]),
        },
    )


def _architecture(config: TrainConfig, columns: Sequence[Column], dataset: Dataset) -> Architecture:
    """The layers: without a fusion named, logistic regression for one column, gmu for more."""
    dims = {column.name: column.dim for column in columns}
    alone = len(columns) == 1
    fusion = config.fusion or (LOGISTIC if alone else "gmu")
    if fusion == LOGISTIC:
        return Architecture(
            dims, len(dataset.classes), fusion, "linear", dropout=0.0, modality_dropout=0.0
        )
    modality_dropout = config.modality_dropout
    if modality_dropout is None:
        modality_dropout = 0.3 if dataset.has_gaps else 0.1
    return Architecture(
        dims=dims,
        outputs=len(dataset.classes),
        fusion="single" if alone else fusion,
        combination=config.combination,
        hidden=config.hidden,
        dropout=config.dropout,
        modality_dropout=0.0 if alone else modality_dropout,
    )


def _recipes(
    config: TrainConfig, architecture: Architecture, dataset: Dataset
) -> Sequence[StepRecipe | ProbeRecipe]:
    """A recipe for each value of what is chosen on validation."""
    labels = dataset.labels[dataset.parts[TRAIN]]
    shared: dict[str, Any] = {
        "metric": config.metric,
        "seed": config.seed,
        "epochs": config.epochs,
        "log_prior": log_prior_for(labels, architecture.outputs, config.metric),
    }
    if architecture.fusion == LOGISTIC:
        penalties = [config.inverse_penalty] if config.inverse_penalty else INVERSE_PENALTIES
        return [ProbeRecipe(**shared, inverse_penalty=penalty) for penalty in penalties]
    return [
        StepRecipe(
            **shared,
            lr=lr,
            weight_decay=config.weight_decay,
            batch_size=config.batch_size or batch_size_for(len(labels)),
            patience=config.patience,
        )
        for lr in ([config.lr] if config.lr else LEARNING_RATES)
    ]


def _without(facts: dict[str, Any], *names: str) -> dict[str, Any]:
    """The facts that the claim does not already hold in another form."""
    return {name: value for name, value in facts.items() if name not in names}
