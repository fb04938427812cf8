"""Turn the options of a search into a query vector and the column to compare it with.

A record (--like) is compared with the other records in one column. A text or an image can be
compared where the column declares a shared space:

    its own modality       the column's encoder encodes the query
    CLIP towers            the column has the projected output of a two-tower checkpoint, and the
                           other tower of the same checkpoint encodes the query
    an alignment (--model) both are mapped to the space that the model has learned
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.features import Column, FeatureStore
from mmfeat.records import safe_key
from mmfeat.retrieval.alignment_space import load_alignment, make_projection
from mmfeat.retrieval.config import SearchConfig
from mmfeat.retrieval.query_encoder import encode_query, query_title
from mmfeat.retrieval.searched_column import SearchedColumn, normalize, require_column

if TYPE_CHECKING:
    from mmfeat.models.saved_model import LoadedModel

_TOWERS = ("hf", "open_clip")
"""Schemes whose output `projected` is a space that images and texts share."""


@dataclass(frozen=True)
class Query:
    """A query.

    Attributes:
        vector: float32, shape (d,), of length 1.
        searched: the column to compare it with.
        title: what is searched for, for people.
        exclude: key that is not a result: that of the query itself.
    """

    vector: np.ndarray
    searched: SearchedColumn
    title: str
    exclude: str = ""


def make_query(config: SearchConfig, store: FeatureStore) -> Query:
    """Make the query.

    Raises:
        MmfeatError: no such record, column, file or model; or the column and the query share no
            space.
    """
    model = load_alignment(config.model, store) if config.model else None
    if config.like:
        return _query_of_record(config, store, model)
    modality = "text" if config.text else "image"
    if model:
        return _query_of_alignment(config, store, model, modality)
    column = _choose_column(config, store, modality)
    vector = encode_query(config, store, column)
    return Query(vector, SearchedColumn(store, column), query_title(config))


def _query_of_record(
    config: SearchConfig, store: FeatureStore, model: "LoadedModel | None"
) -> Query:
    pooled = [name for name, column in store.columns.items() if not column.max_tokens]
    names = model.column_names if model else pooled
    if not names:
        raise MmfeatError(
            f"{store.path} has no column with one vector per record",
            cure="Extract one, or name a model with --model",
        )
    columns = [
        require_column(store, name, pooled=not model)
        for name in ([config.column] if config.column else names)
    ]
    key, shard, row = _find_record(store, config.like)
    for column in columns:
        project = make_projection(model, column.name) if model else None
        searched = SearchedColumn(store, column, project)
        found = searched.read(shard, np.array([row]))
        if len(found.rows):
            return Query(found.vectors[0], searched, query_title(config), key)
    raise MmfeatError(
        f"the record {config.like!r} has no feature of {', '.join(c.name for c in columns)}",
        cure="Name another column with --column" if config.column else "Name another record",
    )


def _find_record(store: FeatureStore, key: str) -> tuple[str, str, int]:
    """Return key, shard and row of a record: of its last row, if it was tried again.

    The key may be the one of the table that `mmfeat shard` read, such as `a/1` for `a_1`.
    """
    for name in dict.fromkeys((key, safe_key(key))):
        for shard in reversed(store.shards):
            keys = store.read_keys(shard).to_pylist()
            if name in keys:
                return name, shard, keys.index(name)
    raise MmfeatError(
        f"{store.path} has no record with this key (--like)",
        got=key,
        cure="mmfeat preview shows some",
    )


def _choose_column(config: SearchConfig, store: FeatureStore, modality: str) -> Column:
    """Return the column that a text or an image is compared with.

    Raises:
        MmfeatError: no column shares a space with it.
    """
    if config.column:
        column = require_column(store, config.column, pooled=True)
        if _shares_space(column, modality):
            return column
        problem = f"the vectors of column {column.name} share no space with {modality}s"
    else:
        pooled = [column for column in store.columns.values() if not column.max_tokens]
        shared = [column for column in pooled if _shares_space(column, modality)]
        shared.sort(key=lambda column: column.modality == modality)  # the other tower first
        if shared:
            return shared[0]
        problem = f"no column of {store.path} shares a space with {modality}s"
    encoder = config.column and str(store.columns[config.column].encoder.get("name", ""))
    raise MmfeatError(
        problem,
        got=f"encoder {encoder!r}" if encoder else None,
        cure="Extract a column of a two-tower checkpoint such as open_clip:ViT-B-32/…, or train "
        "an alignment (mmfeat train --task align) and name it with --model",
    )


def _shares_space(column: Column, modality: str) -> bool:
    if column.modality == modality:
        return True
    is_tower = column.encoder.get("scheme") in _TOWERS
    return is_tower and column.encoder.get("output") == "projected"


def _query_of_alignment(
    config: SearchConfig, store: FeatureStore, model: "LoadedModel", modality: str
) -> Query:
    own = [column for column in model.columns if column.modality == modality]
    if not own:
        raise MmfeatError(
            f"the alignment in {model.path} has no column of {modality}s",
            got=", ".join(model.column_names),
            cure=f"Train one with a column of {modality}s",
        )
    others = [name for name in model.column_names if name != own[0].name]
    name = config.column or others[0]
    if name not in model.column_names:
        raise MmfeatError(
            "--column must be one of the alignment: " + ", ".join(model.column_names), got=name
        )
    column = own[0]
    if column.max_tokens:
        raise MmfeatError(
            f"a {modality} is compared by a column with one vector per record",
            got=f"{column.name}, with up to {column.max_tokens}",
        )
    encoded = encode_query(config, store, column)
    vector, _ = normalize(make_projection(model, column.name)(encoded[None], np.ones(1, bool)))
    searched = SearchedColumn(store, store.columns[name], make_projection(model, name))
    return Query(vector[0], searched, query_title(config))
