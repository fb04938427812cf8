"""Rows that fit the candidates of a search, and rows that choose between them."""

from dataclasses import dataclass, replace

import numpy as np

from mmfeat.features import FeatureStore, row_hashes
from training.data import TRAIN, VAL, Dataset, read_hash_inputs

MAX_FOLD_ROWS = 2000
"""Number of training and validation rows below which the default is cross-validation."""

MAX_REFIT_ROWS = 20_000
"""Maximum number of rows of a search without folds whose chosen linear and kernel models are fitted
once more, to the training and validation rows."""

DEFAULT_FOLDS = 5

_PART_ROWS = 4096
"""Rows whose features are read at a time."""

_MAX_GROUP = 0.05
"""Largest fraction of the rows with equal features that are still kept in one fold. More of them
are a placeholder, not copies of one record."""


@dataclass(frozen=True)
class Folds:
    """The rows of a search.

    Attributes:
        rows: int64, ascending: the rows that choose; every candidate predicts each of them with a
            model that was not fitted on it.
        parts: for each fold the positions in `rows` that it predicts; int64.
        datasets: for each fold the dataset whose `train` fits, and whose `val` are these rows.
        whole: the dataset whose `train` fits the final linear models.
        groups: group number of each row in `rows`; rows of a group share a fold.
        final: without folds, the dataset whose `train`, training and validation rows, fits the
            chosen linear and kernel models once more. None = they are fitted once.
    """

    rows: np.ndarray
    parts: list[np.ndarray]
    datasets: list[Dataset]
    whole: Dataset
    groups: np.ndarray
    final: Dataset | None = None

    @property
    def is_crossed(self) -> bool:
        """Whether validation rows are training rows of other folds."""
        return len(self.parts) > 1


def make_folds(dataset: Dataset, store: FeatureStore, folds: int | None) -> Folds:
    """Split training and validation rows into folds, or keep validation apart.

    Rows of one group, and rows with equal features in a column, share a fold. Classes are spread
    evenly.

    Args:
        dataset: the dataset.
        store: the features; read for the groups of the split rule.
        folds: number of folds; 0 = validation rows choose, training rows fit. None =
            `DEFAULT_FOLDS` for fewer than `MAX_FOLD_ROWS` rows, else validation rows choose, and
            up to `MAX_REFIT_ROWS` rows fit the chosen linear and kernel models once more.
    """
    training, validation = dataset.split_rows[TRAIN], dataset.split_rows[VAL]
    rows = np.sort(np.concatenate([training, validation]))
    refits = folds is None and len(rows) <= MAX_REFIT_ROWS
    if folds is None:
        folds = DEFAULT_FOLDS if len(rows) < MAX_FOLD_ROWS else 0
    known = dataset.objective.has_known_label(dataset.targets[rows])
    if folds:
        groups = group_rows(dataset, store, rows)
        folds = min(folds, len(np.unique(groups[known])))
    if folds < 2:
        groups = group_rows(dataset, store, validation)
        final = _with_rows(dataset, rows[known], validation) if refits else None
        parts = [np.arange(len(validation))]
        return Folds(validation, parts, [dataset], dataset, groups, final)
    numbers = assign_folds(groups, dataset.objective.strata(dataset.targets[rows]), folds)
    datasets = [
        _with_rows(dataset, rows[(numbers != fold) & known], rows[numbers == fold])
        for fold in range(folds)
    ]
    parts = [np.flatnonzero(numbers == fold) for fold in range(folds)]
    return Folds(rows, parts, datasets, _with_rows(dataset, rows[known], rows), groups)


def _with_rows(dataset: Dataset, training: np.ndarray, validation: np.ndarray) -> Dataset:
    return replace(dataset, split_rows={**dataset.split_rows, TRAIN: training, VAL: validation})


def group_rows(dataset: Dataset, store: FeatureStore, rows: np.ndarray) -> np.ndarray:
    """Return the group number of rows that must share a fold, shape (rows,).

    Features are read in parts, and only hashes are kept.

    Args:
        dataset: the dataset.
        store: the features.
        rows: int64, ascending.
    """
    links = []
    if dataset.rule.has_groups:
        links.append(_group_hashes(dataset, store)[rows])
    for name in (column.name for column in dataset.features.columns if not column.max_tokens):
        hashes = _feature_hashes(dataset.select_columns([name]), name, rows)
        present = dataset.present[name][rows]
        _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        shared = (counts[inverse] <= max(2.0, _MAX_GROUP * len(rows))) & present
        alone = len(counts) + np.arange(len(rows))
        links.append(np.where(shared, inverse, alone))
    return _connect(links, len(rows))


def _group_hashes(dataset: Dataset, store: FeatureStore) -> np.ndarray:
    """Return a number for the group of each record of the store; equal ones for equal groups."""
    parts = []
    for shard in store.shards:
        columns = ["__key__", *filter(None, [dataset.rule.group])]
        table = store.read_samples(shard, columns)
        parts.append(np.fromiter(map(hash, read_hash_inputs(table, dataset.rule)), np.int64))
    return np.concatenate(parts)


def _feature_hashes(dataset: Dataset, name: str, rows: np.ndarray) -> np.ndarray:
    """Return a hash of the feature of each row, shape (rows,)."""
    parts = []
    for start in range(0, len(rows), _PART_ROWS):
        features, present = dataset.features.take(rows[start : start + _PART_ROWS])
        parts.append(row_hashes(features[name], present[name]))
    return np.concatenate(parts)


def _connect(links: list[np.ndarray], count: int) -> np.ndarray:
    """Return the connected components of rows that share a number in any of the links."""
    groups = np.arange(count)
    while True:
        before = groups
        for link in links:
            codes = np.unique(link, return_inverse=True)[1]
            lowest = np.full(codes.max(initial=0) + 1, count)
            np.minimum.at(lowest, codes, groups)
            groups = lowest[codes]
        if (groups == before).all():
            return groups


def assign_folds(groups: np.ndarray, strata: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold of each row: groups are dealt out by class, the largest first.

    Args:
        groups: group number of each row, shape (rows,).
        strata: class of each row, shape (rows,).
        folds: number of folds.
    """
    _, first, inverse, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    _, kinds = np.unique(strata, return_inverse=True)
    filled = np.zeros((kinds.max(initial=0) + 1, folds))
    total = np.zeros(folds)
    numbers = np.empty(len(sizes), np.int64)
    for group in np.lexsort((first, -sizes)):
        kind = kinds[first[group]]
        best = min(range(folds), key=lambda fold: (filled[kind, fold], total[fold], fold))
        numbers[group] = best
        filled[kind, best] += sizes[group]
        total[best] += sizes[group]
    return numbers[inverse]
