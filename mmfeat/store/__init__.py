"""The shape of every output: files, receipts, the claim on a directory, manifests, stages."""

from mmfeat.store.attempt import ShardAttempt
from mmfeat.store.differences import describe_differences
from mmfeat.store.directory import (
    CONFIG_FILE,
    PLAN_FILE,
    PLAN_FOLDER,
    check_format,
    check_output,
    json_digest,
    match_run,
    newest_format,
    open_run,
    read_format,
    shard_name,
)
from mmfeat.store.files import OutputFile
from mmfeat.store.lock import lock_directory
from mmfeat.store.manifest import MANIFEST_FILE, finished_manifest, read_manifest, write_manifest
from mmfeat.store.receipts import (
    Receipt,
    StatusAndReason,
    clear_failure,
    format_counts,
    keys_digest,
    read_failures,
    read_receipt,
    remove_shard,
    require_receipts,
    subtract,
    sum_receipts,
    write_failure,
)
from mmfeat.store.retried_rows import RETRY_SHARD, RetriedRows, retry_shards
from mmfeat.store.stage import RunStoppedError, ShardTask, Stage

__all__ = [
    "CONFIG_FILE",
    "MANIFEST_FILE",
    "PLAN_FILE",
    "PLAN_FOLDER",
    "RETRY_SHARD",
    "OutputFile",
    "Receipt",
    "RetriedRows",
    "RunStoppedError",
    "ShardAttempt",
    "ShardTask",
    "Stage",
    "StatusAndReason",
    "check_format",
    "check_output",
    "clear_failure",
    "describe_differences",
    "finished_manifest",
    "format_counts",
    "json_digest",
    "keys_digest",
    "lock_directory",
    "match_run",
    "newest_format",
    "open_run",
    "read_failures",
    "read_format",
    "read_manifest",
    "read_receipt",
    "remove_shard",
    "require_receipts",
    "retry_shards",
    "shard_name",
    "subtract",
    "sum_receipts",
    "write_failure",
    "write_manifest",
]
