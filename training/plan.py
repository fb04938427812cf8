"""From options and data to a settled run: the columns, the layers, the numbers, the claim."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.features import Column, FeatureStore
from mmfeat.models.architecture import Architecture
from mmfeat.options import comma_list
from training.config import TrainConfig
from training.data import Dataset
from training.recipe import LEARNING_RATES, Recipe, batch_size_for, log_prior_for
from training.splits import TRAIN


@dataclass(frozen=True)
class Plan:
    """A training run, settled.

    Attributes:
        recipes: one for each learning rate to try.
        claim: all that determines the weights; becomes config.json.
    """

    architecture: Architecture
    recipes: list[Recipe]
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


def choose_split_column(store: FeatureStore, config: TrainConfig) -> str:
    """The column that names the split; empty where the key's hash decides."""
    has_split = "split" in store.samples_schema.names and config.target != "split"
    return config.split_column or ("split" if has_split else "")


def plan_training(
    config: TrainConfig, store: FeatureStore, columns: Sequence[Column], dataset: Dataset
) -> Plan:
    """Settle what the options leave open."""
    modality_dropout = config.modality_dropout
    if modality_dropout is None:
        modality_dropout = 0.3 if dataset.has_gaps else 0.1
    architecture = Architecture(
        dims={column.name: column.dim for column in columns},
        classes=len(dataset.classes),
        fusion=config.fusion if len(columns) > 1 else "single",
        combination=config.combination,
        hidden=config.hidden,
        dropout=config.dropout,
        modality_dropout=modality_dropout if len(columns) > 1 else 0.0,
    )
    rows = dataset.parts[TRAIN]
    rates = [config.lr] if config.lr else list(LEARNING_RATES)
    recipe = Recipe(
        lr=rates[0],
        weight_decay=config.weight_decay,
        batch_size=config.batch_size or batch_size_for(len(rows)),
        epochs=config.epochs,
        patience=config.patience,
        metric=config.metric,
        seed=config.seed,
        log_prior=log_prior_for(dataset.labels[rows], len(dataset.classes), config.metric),
    )
    return Plan(
        architecture=architecture,
        recipes=[replace(recipe, lr=lr) for lr in rates],
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
            **_without(asdict(architecture), "dims", "classes"),
            **_without(asdict(recipe), "lr", "log_prior"),
            "lr": rates,
            "logit_adjustment": bool(recipe.log_prior),
        },
    )


def _without(facts: dict[str, Any], *names: str) -> dict[str, Any]:
    """The facts that the claim does not already hold in another form."""
    return {name: value for name, value in facts.items() if name not in names}
