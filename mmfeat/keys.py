"""Keys: one `__key__` from the raw record to its prediction.

WebDataset ends a key at the first dot of a member's name, so keys hold no dots; `~` is kept for
our own suffixes, so that a key made unique can never meet another record's own key.
"""

import hashlib
import posixpath
import re
import unicodedata

MAX_BYTES = 200
"""UTF-8 bytes of a key at most: names of 255 bytes are the limit of most file systems."""

_UNSAFE = re.compile(r"[./\\~:*?\"<>|]")


def safe_key(text: str) -> str:
    """Text as a key: dots, slashes, control characters and the like become `_`.

    Other characters stay as they are, byte for byte, whatever their script. A key that would be
    too long is cut and ends in `~` and a hash of the whole.
    """
    key = "".join(
        "_" if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char
        for char in _UNSAFE.sub("_", text.strip())
    )
    if len(key.encode()) <= MAX_BYTES:
        return key
    mark = "~" + hashlib.sha256(key.encode()).hexdigest()[:16]
    return key.encode()[: MAX_BYTES - len(mark)].decode(errors="ignore") + mark


def stem(path: str) -> str:
    """The file's name without folder and without its last extension."""
    return posixpath.splitext(posixpath.basename(path.replace("\\", "/")))[0]


def unique_key(key: str, row: int) -> str:
    """The key of a record that shares it with others: the row number makes it unique."""
    return f"{key or 'row'}~{row}"


def order_of(key: str) -> str:
    """Where the record stands in the store: 16 hex digits that look random, the same for ever."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
