"""What of the models and options determines the predictions."""

from dataclasses import asdict
from typing import Any, NamedTuple

import pyarrow as pa

from mmfeat.errors import MmfeatError
from mmfeat.models.decoder.decoding_options import DecodingOptions
from mmfeat.prediction_files import check_partition_column
from mmfeat.scoring.config import ScoreConfig
from mmfeat.scoring.predicting import (
    FusedVectors,
    ScoredModel,
    ScoredModels,
    check_explainable,
)
from mmfeat.scoring.rows import (
    check_column_name,
    choose_columns,
    describe_selection,
    list_length,
)


def check_models(models: ScoredModels, config: ScoreConfig) -> None:
    """Check that the models can do what options ask for.

    Raises:
        MmfeatError: a model has no fused vector, or no logit to explain, or no statistics; or no
            model generates the texts that options are for.
    """
    for model in models.models:
        if config.explain:
            check_explainable(model.loaded)
        if config.embedding:
            FusedVectors(model.loaded)
    describing = [m for m in models.models if m.loaded.task.name == "describe"]
    for model in describing or models.models:
        model.loaded.decode_with(config.texts)
    if config.max_drift and not models.statistics:
        raise MmfeatError(
            f"--max-drift needs a model with statistics of its training rows: {config.model}",
            got="a model of an earlier version",
            cure="Train it again, or leave the flag out",
        )


def describe_models(models: ScoredModels, config: ScoreConfig) -> dict[str, Any]:
    """Return the settings of a run as far as they depend on the models."""
    columns = {name: column.fingerprint for name, column in models.columns.items()}
    described = [_describe(model, config) for model in models.models]
    if len(described) == 1:
        settings: dict[str, Any] = {**described[0], "columns": columns}
    else:
        named = zip(models.models, described, strict=True)
        settings = {"models": [{"name": m.name, **facts} for m, facts in named], "columns": columns}
    settings |= {name: True for name in ("embedding", "explain") if getattr(config, name)}
    if config.texts != DecodingOptions():
        settings["decoding"] = asdict(config.texts)
    return settings


def _describe(model: ScoredModel, config: ScoreConfig) -> dict[str, Any]:
    facts: dict[str, Any] = {"model": model.sha256, **model.loaded.task.config}
    if lists := list_length(model.loaded.task, config.top_k):
        facts["top_classes"] = lists
    return facts


class CopiedColumns(NamedTuple):
    """Columns of the samples table that the predictions have, too.

    Attributes:
        names: the columns, that of --partition-by last unless --columns names it.
        settings: what of them, and of the selection of rows, determines the predictions.
    """

    names: list[str]
    settings: dict[str, Any]


def find_columns(config: ScoreConfig, schema: pa.Schema) -> CopiedColumns:
    """Check the columns of the samples table that options name.

    Raises:
        MmfeatError: the table lacks one, --partition-by names one that cannot be in the names of
            folders, or there is no file of keys.
    """
    settings: dict[str, Any] = {}
    names = choose_columns(config.columns, schema.names, config.input)
    if names:
        settings["sample_columns"] = list(names)
    if column := config.partition_by:
        check_column_name(column, schema.names, config.input, "--partition-by")
        check_partition_column(column, schema.field(column).type)
        settings["partition_by"] = column
        names = [*dict.fromkeys([*names, column])]
    return CopiedColumns(names, settings | describe_selection(config, schema))
