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

_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_BYTES}}}")
_UNSAFE = re.compile(r"[./\\~:*?\"<>|]")
_SUFFIX = re.compile(r"(~+)[0-9]+\Z")


def safe_key(text: str) -> str:
    """Text as a key: dots, slashes, control characters and the like become `_`.

    Other characters stay as they are, byte for byte, whatever their script. A key that would be
    too long is cut and ends in `~` and a hash of the whole.
    """
    if _PLAIN.fullmatch(text):
        return text
    key = _without_controls(_UNSAFE.sub("_", text.strip()))
    if len(key.encode()) <= MAX_BYTES:
        return key
    mark = "~" + hashlib.sha256(key.encode()).hexdigest()[:16]
    return key.encode()[: MAX_BYTES - len(mark)].decode(errors="ignore") + mark


def checked_key(key: str) -> str:
    """A key out of a tar: as it is, unless a tar of ours could not hold it.

    Keys of a store stay what they are when it is sharded anew: `~` and other marks are kept.
    """
    segments = key.split("/")
    if key.isprintable() and "" not in segments and "." not in key and "\\" not in key:
        return key
    names = (re.sub(r"[.\\]", "_", name) for name in segments if name.strip("."))
    return _without_controls("/".join(names)) or "_"


def _without_controls(text: str) -> str:
    controls = ("Cc", "Cs", "Zl", "Zp")
    return "".join("_" if unicodedata.category(char) in controls else char for char in text)


def leads_outside(key: str) -> bool:
    """Whether a key out of a tar is a place outside of the folder it would be unpacked in."""
    return key.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", key)


def stem(path: str) -> str:
    """The file's name without folder and without its last extension."""
    return posixpath.splitext(posixpath.basename(path.replace("\\", "/")))[0]


def unique_key(key: str, row: int, tildes: int = 0) -> str:
    """The key of a record that shares it with others: the row number makes it unique.

    Args:
        key: the key that is shared.
        row: number of the record in the input.
        tildes: most `tildes_of` any key of the same input. The suffix has one more, so that it
            meets no key out of a store of ours.
    """
    return f"{key or 'row'}{'~' * (tildes + 1)}{row}"


def tildes_of(key: str) -> int:
    """How many `~` stand before the number that a key ends in; 0 where it ends otherwise."""
    found = _SUFFIX.search(key) if "~" in key else None
    return len(found[1]) if found else 0


def order_of(key: str) -> str:
    """Where the record stands in the store: 16 hex digits that look random, the same for ever."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
