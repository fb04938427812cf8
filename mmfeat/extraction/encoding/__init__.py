"""From the records of a shard to the rows of its columns: decode, batch, encode."""

from mmfeat.extraction.encoding.batch_encoding import (
    BatchTooLargeError,
    encode_batch,
    encode_contents,
)
from mmfeat.extraction.encoding.column_encoder import ColumnEncoder, EncodedRows
from mmfeat.extraction.encoding.decode import (
    CHUNK_RECORDS,
    DecodedWindow,
    decode_windows,
    find_member,
)

__all__ = [
    "CHUNK_RECORDS",
    "BatchTooLargeError",
    "ColumnEncoder",
    "DecodedWindow",
    "EncodedRows",
    "decode_windows",
    "encode_batch",
    "encode_contents",
    "find_member",
]
