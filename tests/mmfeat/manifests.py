"""Complete manifests of toy stores."""

from typing import Any

TOTALS: dict[str, Any] = {
    **dict.fromkeys(["records", "out", "bytes_read", "bytes_written"], 0),
    **{name: {} for name in ("rejected", "status", "problems")},
}


def shard_entry(name: str, **values: Any) -> dict[str, Any]:
    """Return the entry of a shard in a manifest of shards."""
    digests = dict.fromkeys(["sha256", "keys_sha256", "config_hash"], "0")
    return {"name": name, "records": 1, "out": 1, **digests, **values}


def shards_entries(**values: Any) -> dict[str, Any]:
    """Return what only a manifest of shards has."""
    entries = {"slots": [], "columns": {}, "selection": {}, "shards": [], "totals": TOTALS}
    return {**entries, **values}


def shards_manifest(**values: Any) -> dict[str, Any]:
    """Return a whole manifest of shards."""
    return {"format": 1, "kind": "shards", "config": {}, "config_hash": "0"} | shards_entries(
        **values
    )
