"""The shape of every output: files, receipts, the claim on a directory, manifests, stages."""

from mmfeat.store.attempt import ShardAttempt
from mmfeat.store.claim import ShardTakenError
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
from mmfeat.store.documents import (
    SMALL_BYTES,
    Count,
    FileName,
    Name,
    Size,
    check_value,
    read_document,
    read_intact_document,
)
from mmfeat.store.files import OutputFile
from mmfeat.store.integrity import CheckedStream, check_file, open_checked
from mmfeat.store.lock import claim_planning, lock_directory
from mmfeat.store.manifest import (
    MANIFEST_FILE,
    check_manifest,
    finished_manifest,
    make_manifest,
    read_manifest,
    write_manifest,
)
from mmfeat.store.parquet_files import (
    damage_errors,
    damaged,
    iter_parquet,
    read_parquet,
    read_parquet_schema,
)
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
from mmfeat.store.schemas import RecordedFile, RunConfig
from mmfeat.store.stage import RunStoppedError, ShardTask, Stage
from mmfeat.store.temporaries import remove_temporaries
from mmfeat.store.unfinished import (
    has_unfinished,
    is_unfinished,
    leave_mark,
    mark_unfinished,
    remove_marks,
)

__all__ = [
    "CONFIG_FILE",
    "MANIFEST_FILE",
    "PLAN_FILE",
    "PLAN_FOLDER",
    "RETRY_SHARD",
    "SMALL_BYTES",
    "CheckedStream",
    "Count",
    "FileName",
    "Name",
    "OutputFile",
    "Receipt",
    "RecordedFile",
    "RetriedRows",
    "RunConfig",
    "RunStoppedError",
    "ShardAttempt",
    "ShardTakenError",
    "ShardTask",
    "Size",
    "Stage",
    "StatusAndReason",
    "check_file",
    "check_format",
    "check_manifest",
    "check_output",
    "check_value",
    "claim_planning",
    "clear_failure",
    "damage_errors",
    "damaged",
    "describe_differences",
    "finished_manifest",
    "format_counts",
    "has_unfinished",
    "is_unfinished",
    "iter_parquet",
    "json_digest",
    "keys_digest",
    "leave_mark",
    "lock_directory",
    "make_manifest",
    "mark_unfinished",
    "match_run",
    "newest_format",
    "open_checked",
    "open_run",
    "read_document",
    "read_failures",
    "read_format",
    "read_intact_document",
    "read_manifest",
    "read_parquet",
    "read_parquet_schema",
    "read_receipt",
    "remove_marks",
    "remove_shard",
    "remove_temporaries",
    "require_receipts",
    "retry_shards",
    "shard_name",
    "subtract",
    "sum_receipts",
    "write_failure",
    "write_manifest",
]
