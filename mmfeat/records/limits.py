"""Limits of one record. A small or compressed file may hold values that would use all memory."""

from collections.abc import Sized

from mmfeat.errors import MmfeatError

MAX_TEXT_BYTES = 16 << 20
"""Limit of a text in UTF-8: three times the longest novels. Encoders read its first tokens."""

MAX_METADATA_CHARACTERS = 16 << 20
"""Limit of all texts in the metadata of a record."""

MAX_METADATA_VALUES = 1 << 20
"""Limit of the values in the metadata of a record, those inside lists and objects included."""

MAX_DEPTH = 100
"""Limit of the levels of lists and objects in a metadata value. Python's own JSON stops at 1,000,
less the depth of its caller, which differs between the stages."""

MAX_COLUMNS = 10_000
"""Limit of the metadata columns of a store: every shard has all of them."""


def check_columns(names: Sized, table: str) -> None:
    """Check the number of columns.

    Args:
        names: the columns.
        table: what has them.

    Raises:
        MmfeatError: there are more than `MAX_COLUMNS`.
    """
    if len(names) > MAX_COLUMNS:
        raise MmfeatError(
            f"{table} must have at most {MAX_COLUMNS:,} columns",
            got=len(names),
            cure="Put values whose names differ from record to record into one column, as an "
            "object or a list",
        )
