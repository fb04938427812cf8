"""Find the columns that options name. Imports neither torch nor scikit-learn."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from mmfeat.config import choose_names, split_commas
from mmfeat.errors import MmfeatError
from mmfeat.features import Column, FeatureStore
from mmfeat.models.names import check_model_names
from mmfeat.records import STATUS_COLUMNS
from mmfeat.shards import find_standard_columns, status_column
from mmfeat.storage import files
from mmfeat.store import check_finished, check_output
from training.config import SplitOptions
from training.objectives.targets import check_target


class _Options(Protocol):
    """Options of `mmfeat train` and `mmfeat compare` that name columns."""

    @property
    def features(self) -> str: ...
    @property
    def output(self) -> str: ...
    @property
    def modalities(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def split(self) -> SplitOptions: ...


def check_columns(
    options: _Options, kind: str, fusions: Sequence[str] = (), combinations: Sequence[str] = ()
) -> None:
    """Find mistyped paths, columns and fusions in the options of a command, before slow imports.

    Args:
        options: the options.
        kind: kind of the output.
        fusions, combinations: the named ones.

    Raises:
        MmfeatError: the output is something else, there are no features, they lack a column, or
            there is no such fusion or combination.
    """
    check_model_names(fusions, combinations)
    check_output(options.output, kind)
    store = FeatureStore(options.features)
    choose_columns(store, options.modalities)
    names = split_commas(options.target) if options.task == "multilabel" else []
    targets = names if len(names) > 1 else [options.target]
    if options.task == "describe" and is_text_slot(options.target, store):
        targets = []
    split = options.split
    group = "" if names_duplicates(store, split.group_column) else split.group_column
    flags = {"--split-column": split.split_column, "--group-column": group}
    check_sample_columns(store, list(filter(None, targets)), flags)


def names_duplicates(store: FeatureStore, group_column: str) -> bool:
    """Return whether --group-column names the output of `mmfeat dedup`, and no column.

    Raises:
        MmfeatError: the folder has no finished groups of near-duplicates.
    """
    if not group_column or group_column in store.samples_schema.names:
        return False
    if not files.is_folder(group_column):
        return False
    check_finished(group_column, "duplicates")
    return True


def is_text_slot(target: str, store: FeatureStore) -> bool:
    """Return whether a target is a text slot of the records, and no metadata column."""
    names = store.samples_schema.names
    is_text = target == "text" or target.startswith("text.")
    return is_text and target not in names and status_column(target) in names


def choose_columns(store: FeatureStore, modalities: str) -> list[Column]:
    """Return the feature columns to train on, in the store's order.

    Args:
        store: the features.
        modalities: column names, separated by commas. Empty = all columns.

    Raises:
        MmfeatError: the store lacks a column.
    """
    rule = f"no feature column of that name in {store.path}"
    names = choose_names([modalities], store.columns, rule) or list(store.columns)
    return [column for name, column in store.columns.items() if name in names]


def check_sample_columns(
    store: FeatureStore, targets: Sequence[str], flags: Mapping[str, str]
) -> None:
    """Check that the samples table has the columns of the target and of the splits.

    Args:
        store: the features.
        targets: columns of the target.
        flags: flag → the column that it names; empty = none.

    Raises:
        MmfeatError: a column is missing.
    """
    names = store.samples_schema.names
    own = find_standard_columns(names)
    for name in targets:
        check_target(name, [name for name in names if name not in own], own)
    available = [name for name in names if name not in STATUS_COLUMNS]
    for flag, name in flags.items():
        if name and name not in available:
            raise MmfeatError(
                f"the samples table of {store.path} has no column {name!r} ({flag}); "
                f"it has: {', '.join(available)}",
                cure=f"Name one of them with {flag}, or evaluate with --split all",
            )
