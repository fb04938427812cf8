"""The output directory of a stage, called a store.

Every stage writes a directory of the same form:

    DIR/config.json          written first: the configuration of the run and its hash
    DIR/00000.…              the data of shard 00000
    DIR/00000_stats.json     the receipt of the shard, written after its data
    DIR/00000_failed.json    instead of a receipt: why the last attempt failed
    DIR/manifest.json        written last: totals and the list of shards

One run at a time works in a directory, and all runs use the configuration in its config.json.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.store import files

STORE_FORMAT = 1
"""Version of the store format. Readers refuse a newer version."""

CONFIG_FILE = "config.json"

_MAX_DIFFERENCES = 5
"""Differing settings that an error lists. The remaining ones are counted."""


def shard_name(index: int, pattern: str = "%05d") -> str:
    """Return the name of a shard: `00000`, `00001`, …"""
    return pattern % index


def json_digest(value: Any) -> str:
    """Return the sha256 of a JSON-ready value. The order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def lock_directory(folder: str) -> Iterator[None]:
    """Lock a local directory against other runs on this machine.

    The operating system releases the lock when the process ends, even if it is killed.

    Raises:
        MmfeatError: another run holds the lock.
    """
    if not files.is_local(folder):
        yield
        return
    path = files.filesystem(folder)[1]
    existed = os.path.exists(path)
    os.makedirs(path, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MmfeatError(
                f"only one run at a time may write to {folder}, and another run is active",
                cure="Wait until it ends, then run the same command again",
            ) from None
        except OSError:
            pass  # the file system has no locks
        yield
    finally:
        os.close(descriptor)
        if not existed:
            with suppress(OSError):  # the directory is not empty
                os.rmdir(path)


def open_run(folder: str, kind: str, config: Mapping[str, Any]) -> str:
    """Start a run in a directory, or continue an earlier run with the same configuration.

    Args:
        folder: the directory; it is created if it does not exist.
        kind: what the store contains, such as `shards`.
        config: every setting that determines the content of the store.

    Returns:
        The hash of the configuration.

    Raises:
        MmfeatError: the directory contains other files or a run with another configuration.
    """
    new: dict[str, Any] = {
        "format": STORE_FORMAT,
        "kind": kind,
        "config": dict(config),
        "hash": json_digest(config),
    }
    path = files.join(folder, CONFIG_FILE)
    old = files.read_json(path)
    if old is None:
        other_files = [name for name in files.list_names(folder) if not name.startswith(".")]
        if other_files and other_files != [CONFIG_FILE]:
            raise MmfeatError(
                f"the output directory must be empty or a store of mmfeat: {folder}",
                got=other_files[0],
                cure="Name another directory",
            )
        files.write_json(path, new)
    elif (old.get("kind"), old.get("hash")) != (kind, new["hash"]):
        raise MmfeatError(
            f"{folder} was made with another configuration "
            f"(hash {str(old.get('hash'))[:12]}, now {new['hash'][:12]}): {_differences(old, new)}",
            cure="Run it with the same settings, or name another output directory",
        )
    return str(new["hash"])


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old.get("kind") != new["kind"]:
        return f"kind was {old.get('kind')}, is {new['kind']} now"
    before, after = _flatten(old.get("config", {})), _flatten(new["config"])
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    differences = [
        f"{name} was {before.get(name)}, is {after.get(name)} now"
        for name in names[:_MAX_DIFFERENCES]
    ]
    if len(names) > _MAX_DIFFERENCES:
        differences.append(f"and {len(names) - _MAX_DIFFERENCES} more")
    return "; ".join(differences)


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings under dotted names, with digests shortened for display."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(v, Mapping) and "name" in v for v in value):
            value = {v["name"]: v for v in value}
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            is_digest = isinstance(value, str) and len(value) == 64
            flat[prefix + key] = value[:12] if is_digest else repr(value)
    return flat
