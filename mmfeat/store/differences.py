"""What differs between two configurations, in the words of the command line."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

_MAX_DIFFERENCES = 5
"""Differing settings that an error lists. The remaining ones are counted."""

_MAX_CHARACTERS = 100
"""Longer values are cut in an error."""

_NAMES_OF_FLAGS = """samples_per_shard max_shard_bytes shard_name shuffle duplicate_keys require
    validate dedup max_file_bytes target task fusion combination hidden dropout modality_dropout
    layers metric seed epochs imbalance lr weight_decay batch_size patience auxiliary precision
    inverse_penalty standardised seeds pick emap_rows most cross_fit records allow_private
    ignore_robots_tag embedding explain where partition_by""".split()

_FLAGS = {
    **{name: "--" + name.replace("_", "-") for name in _NAMES_OF_FLAGS},
    "source.key_column": "--key-column",
    "source.allow_outside": "--allow-outside",
    "source.allow_protocols": "--allow-protocol",
    "source.folder_labels": "--folder-labels",
    "selection.where": "--where",
    "selection.keys_column": "--keys-column",
    "resize.size": "--resize",
    "resize.mode": "--resize-mode",
    "resize.only_if_bigger": "--resize-only-if-bigger",
    "encode.format": "--encode",
    "encode.quality": "--encode-quality",
    "split.column": "--split-column",
    "split.group": "--group-column",
    "split.duplicates": "--group-column",
    "sample_columns": "--columns",
    "top_classes": "--top-k",
}
"""Setting → the flag that sets it. Other settings follow from the data."""

_INPUT_COLUMNS = "source.columns."

_DIGESTS = {
    "source": "the input has other content",
    "keys_sha256": "the file of --keys has other content",
    "shards": "the shards are of another input or other options",
    "features": "the features are of other shards",
    "columns": "the column {} is of another encoder",
    "encoder": "the encoder has other {}",
    "model": "the model has other weights",
    "systems": "the model {} has other features or options",
}
"""Setting → what it means if its digest differs. `{}` is the name within the setting."""


def describe_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say which settings differ: flags first, then digests, then what follows from the data."""
    before, after = _flatten(old), _flatten(new)
    names = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    flags: list[str] = []
    meanings: dict[str, str] = {}
    others: list[str] = []
    for name in sorted(names):
        if _is_digest(before.get(name)) or _is_digest(after.get(name)):
            meanings.setdefault(_digest_meaning(name), name)
            continue
        flag = _flag(name)
        change = f"was {_shorten(before.get(name))}, is {_shorten(after.get(name))} now"
        (flags if flag else others).append(f"{flag or name} {change}")
    differences = [*flags, *(f"{meaning} ({name})" for meaning, name in meanings.items()), *others]
    if len(differences) > _MAX_DIFFERENCES:
        rest = len(differences) - _MAX_DIFFERENCES
        differences = [*differences[:_MAX_DIFFERENCES], f"and {rest} more"]
    return "; ".join(differences)


def _flag(name: str) -> str:
    """Return the flag of a setting: `--image-column back` for `source.columns.image.back`."""
    if name.startswith(_INPUT_COLUMNS):
        modality, _, suffix = name.removeprefix(_INPUT_COLUMNS).partition(".")
        return f"--{modality}-column {suffix}".strip()
    return _FLAGS.get(name, "")


def _digest_meaning(name: str) -> str:
    """Return what a differing digest means, by the first known part of its name."""
    for part, following in pairwise([*name.split("."), ""]):
        if part in _DIGESTS:
            return _DIGESTS[part].format(following)
    return f"the {name.rpartition('.')[2]} differ"


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings under dotted names."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, list) and value and all(map(_is_named, value)):
            value = {v["name"]: v for v in value}
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}." if key else prefix)
        else:
            flat[prefix + key] = value
    return flat
