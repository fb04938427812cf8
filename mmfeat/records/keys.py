"""Keys: one `__key__` from the raw record to its prediction.

WebDataset ends a key at the first dot of a member name, so keys contain no dots. `~` is reserved
for suffixes, so a suffixed key never equals the original key of another record.
"""

import hashlib
import posixpath
import re
import unicodedata
from typing import Any

from mmfeat.records.values import is_missing

MAX_BYTES = 200
"""Most UTF-8 bytes of a key: most file systems limit names to 255 bytes."""

_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_BYTES}}}")
_UNSAFE = re.compile(r"[./\\~:*?\"<>|]")
_BZIP2 = re.compile(r"\A(BZh.1AY)&")
"""Start of a bzip2 file. A tar whose first name starts so is taken for a compressed one."""
_SUFFIX = re.compile(r"(~+)[0-9]+\Z")
_WHOLE_WITH_FRACTION = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0")
_CONTROL_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")


def key_text(value: Any) -> str:
    """Return a key as text; empty for no value.

    The whole numbers 1 and 1.0 are one key, `1`, because a gap in a column of whole numbers makes
    pandas write fractions. So is the text "1.0", which a CSV of pandas holds. Other texts stay.
    """
    if is_missing(value):
        return ""
    is_whole = isinstance(value, float) and value.is_integer()
    text = str(int(value)) if is_whole else str(value)
    match = _WHOLE_WITH_FRACTION.fullmatch(text)
    return match[1] if match else text


def safe_key(text: str) -> str:
    """Convert text to a key: replace dots, slashes, control characters and the like by `_`.

    All other characters stay, in any script. A key that is too long is cut and ends in `~` and a
    hash of the whole key.
    """
    if _PLAIN.fullmatch(text):
        return text
    key = _replace_control_characters(_UNSAFE.sub("_", text.strip()))
    if len(key.encode()) <= MAX_BYTES:
        return key
    suffix = "~" + hashlib.sha256(key.encode()).hexdigest()[:16]
    return key.encode()[: MAX_BYTES - len(suffix)].decode(errors="ignore") + suffix


def safe_tar_key(key: str) -> str:
    """Return a key from a tar unchanged unless a WebDataset tar could not hold it.

    Suffixes such as `~7` stay, so sharding a store again keeps its keys.
    """
    segments = key.split("/")
    if (
        key.isprintable()
        and not _BZIP2.match(key)
        and "" not in segments
        and "." not in key
        and "\\" not in key
    ):
        return key
    names = (re.sub(r"[.\\]", "_", name) for name in segments if name.strip("."))
    return _replace_control_characters("/".join(names)) or "_"


def _replace_control_characters(text: str) -> str:
    plain = "".join("_" if unicodedata.category(c) in _CONTROL_CATEGORIES else c for c in text)
    return _BZIP2.sub(r"\1_", plain)


def escapes_folder(key: str) -> bool:
    """Return whether unpacking this key of a tar would write outside the target folder."""
    return key.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", key)


def file_stem(path: str) -> str:
    """Return the file name without folders and without its last extension."""
    return posixpath.splitext(posixpath.basename(path.replace("\\", "/")))[0]


def unique_key(key: str, row: int, tildes: int = 0) -> str:
    """Return a unique key for a record whose key is shared or empty, by adding its row number.

    Args:
        key: the shared key.
        row: number of the record in the input.
        tildes: maximum of `suffix_tildes` over all keys of the input. The new suffix has one
            more, so it never equals a suffixed key of a resharded store.
    """
    return f"{key or 'row'}{'~' * (tildes + 1)}{row}"


def suffix_tildes(key: str) -> int:
    """Return the number of `~` before the final number of a key; 0 without such a suffix."""
    match = _SUFFIX.search(key) if "~" in key else None
    return len(match[1]) if match else 0


def key_hash(key: str) -> str:
    """Return 16 hex digits that order the records of a store. Must never change."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
