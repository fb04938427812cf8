"""Files on disks and in object stores: atomic writes, JSON documents, locks, claims."""

from mmfeat.storage.claim import ShardTakenError
from mmfeat.storage.documents import (
    SMALL_BYTES,
    Count,
    FileName,
    Name,
    Size,
    check_value,
    json_decoder,
    read_document,
    read_intact_document,
)
from mmfeat.storage.lock import claim_planning, lock_directory
from mmfeat.storage.many_files import FileSizes
from mmfeat.storage.output_file import OutputFile
from mmfeat.storage.similar_path import did_you_mean_path
from mmfeat.storage.temporaries import remove_temporaries

__all__ = [
    "SMALL_BYTES",
    "Count",
    "FileName",
    "FileSizes",
    "Name",
    "OutputFile",
    "ShardTakenError",
    "Size",
    "check_value",
    "claim_planning",
    "did_you_mean_path",
    "json_decoder",
    "lock_directory",
    "read_document",
    "read_intact_document",
    "remove_temporaries",
]
