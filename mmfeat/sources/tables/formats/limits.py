"""Limits of one record in a table. A small or compressed file may hold one that uses all memory.

A record that exceeds a limit is one row with the reason `too_large`; the next record is read.
"""

MAX_RECORD_CHARACTERS = 64 << 20
"""Limit of a record. Base64 of 48 MiB fits. The csv module needs up to 16 bytes per character."""

MAX_RECORD_VALUES = 1 << 20
"""Limit of the commas and brackets in a long JSON record. `[[],[],…` takes 24 bytes of memory per
character."""

MAX_RECORD_LINES = 1 << 18
"""Limit of a record of separated values: a quote that never closes must not hold the file."""

MAX_HEADER_CHARACTERS = 1 << 20
"""Limit of the line of column names."""
