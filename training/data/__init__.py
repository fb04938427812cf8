"""Training data: rows, splits, feature readers, batches."""

from training.data.batches import Batches
from training.data.dataset import Dataset, load_dataset
from training.data.dataset_warnings import (
    hint_at_regression,
    warn_of_leaks,
    warn_of_odd_labels,
    warn_of_unseen_labels,
)
from training.data.duplicate_groups import load_groups
from training.data.exclusions import MISALIGNED_FILE, read_dropped
from training.data.feature_reader import FeatureReader, ShardColumns, store_reader
from training.data.resident import Batch, ResidentFeatures
from training.data.sample_rows import (
    NO_PAIR,
    SUPERSEDED,
    USED,
    SampleRows,
    count_reasons,
    read_hash_inputs,
    read_sample_rows,
)
from training.data.shuffle import BLOCK, BLOCKS
from training.data.split_rule import (
    SPLITS,
    TEST,
    TRAIN,
    VAL,
    SplitRule,
    decode_split,
    hash_fraction,
)
from training.data.text_target import bind_text_target, check_input_texts

__all__ = [
    "BLOCK",
    "BLOCKS",
    "MISALIGNED_FILE",
    "NO_PAIR",
    "SPLITS",
    "SUPERSEDED",
    "TEST",
    "TRAIN",
    "USED",
    "VAL",
    "Batch",
    "Batches",
    "Dataset",
    "FeatureReader",
    "ResidentFeatures",
    "SampleRows",
    "ShardColumns",
    "SplitRule",
    "bind_text_target",
    "check_input_texts",
    "count_reasons",
    "decode_split",
    "hash_fraction",
    "hint_at_regression",
    "load_dataset",
    "load_groups",
    "read_dropped",
    "read_hash_inputs",
    "read_sample_rows",
    "store_reader",
    "warn_of_leaks",
    "warn_of_odd_labels",
    "warn_of_unseen_labels",
]
