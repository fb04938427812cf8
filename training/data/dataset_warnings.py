"""Warn of odd datasets: splits that leak, labels without training rows, numbers as classes."""

from collections.abc import Sequence

from mmfeat.features import Column, FeatureStore
from mmfeat.shards import find_standard_columns, sha256_column
from mmfeat.system import print_err
from training.config import TrainConfig
from training.data.dataset import Dataset
from training.data.odd_labels import describe_odd_labels
from training.data.split_rule import TEST, VAL
from training.objectives.targets import MANY_NUMBERS, hold_numbers

_SHOWN_COLUMNS = 10
"""Columns that a message names."""

_LEAK_WARNINGS: set[tuple[str, str]] = set()
"""Features and warnings of this process: the quickstart trains several models on the same rows."""


def warn_of_leaks(store: FeatureStore, columns: Sequence[Column], dataset: Dataset) -> None:
    """Warn if rows of two splits have the same features, and say how to prevent it."""
    if not dataset.leakage.summary:
        return
    warning = f"mmfeat: warning: the splits leak: {dataset.leakage.summary}. "
    warning += _describe_grouping(store, columns, dataset)
    if (store.path, warning) not in _LEAK_WARNINGS:
        _LEAK_WARNINGS.add((store.path, warning))
        print_err(warning)


def _describe_grouping(store: FeatureStore, columns: Sequence[Column], dataset: Dataset) -> str:
    """Name, for each column that leaks, a column that keeps its equal values in one split."""
    names = store.samples_schema.names
    leaking = [column for column in columns if column.name in dataset.leakage.columns]
    digests = {column.name: sha256_column(column.slot) for column in leaking}
    digests = {name: digest for name, digest in digests.items() if digest in names}
    advice = [
        f"--group-column {digest} keeps equal {name} files" for name, digest in digests.items()
    ]
    if others := [column.name for column in leaking if column.name not in digests]:
        advice.append(_describe_other_grouping(store, others, dataset))
    return f"To keep equal values in one split: {'; '.join(advice)}"


def _describe_other_grouping(store: FeatureStore, leaking: Sequence[str], dataset: Dataset) -> str:
    names = store.samples_schema.names
    own = {*find_standard_columns(names), *dataset.objective.target_columns, *dataset.rule.columns}
    others = [name for name in names if name not in own]
    others = [name for name in others if not _is_key(store, name)]
    more = [f"and {len(others) - _SHOWN_COLUMNS} more"] if len(others) > _SHOWN_COLUMNS else []
    return (
        f"for {', '.join(leaking)}, --group-column with a column that identifies equal rows; "
        f"there are: {', '.join([*others[:_SHOWN_COLUMNS], *more]) or 'none'}"
    )


def _is_key(store: FeatureStore, column: str) -> bool:
    """Return whether a column is the one that the keys come from: no two rows share its value.

    The first shard tells.
    """
    samples = store.read_samples(next(iter(store.shards)), ["__key__", column])
    keys, values = samples["__key__"].to_pylist(), samples[column].to_pylist()
    return keys == [None if value is None else str(value) for value in values]


def warn_of_unseen_labels(dataset: Dataset) -> None:
    """Warn if half of the labels of a split do not occur in training."""
    for split in (VAL, TEST):
        targets = dataset.targets[dataset.split_rows[split]]
        unseen = dataset.objective.unseen_labels(targets)
        if unseen and unseen.are_most:
            print_err(f"mmfeat: warning: of the {split} rows, {unseen}")


def warn_of_odd_labels(dataset: Dataset) -> None:
    """Warn of words for "no value", near-equal labels, and labels of one row."""
    counts = dataset.objective.label_counts(dataset.targets)
    multilabel = dataset.objective.task.name == "multilabel"
    for line in describe_odd_labels(counts, multilabel):
        print_err(f"mmfeat: warning: {line}")


def hint_at_regression(config: TrainConfig, dataset: Dataset) -> None:
    """Name the task regression if many numbers are learned as classes."""
    classes = dataset.objective.task.config.get("classes", [])
    if config.task == "multiclass" and len(classes) > MANY_NUMBERS and hold_numbers(classes):
        print_err(
            f"mmfeat: the target {config.target!r} has {len(classes):,} numbers, each a class of "
            "its own. Learn the number itself with --task regression"
        )
