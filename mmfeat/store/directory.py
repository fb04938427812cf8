"""The store: the one shape of every stage's output, with receipts, a claim and a manifest.

    DIR/config.json          the claim, written first: what this directory is being made with
    DIR/00000.…              the data of shard 00000
    DIR/00000_stats.json     its receipt and commit mark, written after its data
    DIR/00000_failed.json    in a receipt's place: why the last try at this shard failed
    DIR/manifest.json        written last of all: totals, and the list of shards

A shard without a valid receipt does not exist. In every receipt, and over the whole store,
records in = records out + records rejected.
"""

import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from mmfeat import __version__
from mmfeat.errors import MmfeatError
from mmfeat.store import files

FORMAT = 1
"""Version of the store format; a reader refuses a newer one."""

CONFIG = "config.json"
MANIFEST = "manifest.json"

_TOLD = 5
"""Differing settings that an error names; the others are counted."""


def shard_name(index: int, pattern: str = "%05d") -> str:
    """`00000`, `00001`, …"""
    return pattern % index


def digest(value: Any) -> str:
    """sha256 of a JSON-ready value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def keys_digest(keys: Iterable[str]) -> str:
    """sha256 over the keys of a shard in their order: two tables that share it line up."""
    total = hashlib.sha256()
    for key in keys:
        total.update(key.encode() + b"\n")
    return total.hexdigest()


@dataclass
class Receipt:
    """What happened to one shard."""

    shard: str
    config_hash: str
    records: int
    """Records that went in."""
    out: int
    """Records that came out usable."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Reason → records that did not come out."""
    status: dict[str, int] = field(default_factory=dict)
    """`ok`, `partial`, `failed` → records."""
    problems: dict[str, int] = field(default_factory=dict)
    """Reason → records that lack a part, whether they came out or not."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """File name → bytes and sha256."""
    keys_sha256: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    """What the shard was made from."""
    bytes_read: int = 0
    seconds: float = 0.0

    def write(self, folder: str) -> None:
        """Commit the shard: check the account, then write the receipt."""
        if self.records != self.out + sum(self.rejected.values()):
            raise AssertionError(
                f"shard {self.shard}: {self.records} records in, {self.out} out and "
                f"{sum(self.rejected.values())} rejected do not add up"
            )
        files.write_json(files.join(folder, f"{self.shard}_stats.json"), asdict(self))


def read_receipt(folder: str, shard: str, *, but: str = "") -> Receipt | None:
    """The receipt of a shard, or None where the shard must be made (again).

    A receipt counts only while each file it names is there with the size it names.

    Args:
        folder: of the store.
        shard: its name.
        but: a file that may have been damaged since.
    """
    data = files.read_json(files.join(folder, f"{shard}_stats.json"))
    try:
        receipt = Receipt(**data)
    except TypeError:
        return None
    for name, facts in receipt.files.items():
        if name != but and files.size(files.join(folder, name)) != facts["bytes"]:
            return None
    return receipt


def remove_shard(folder: str, receipt: Receipt) -> None:
    """Remove a shard, its receipt first: without one it does not exist."""
    for name in (f"{receipt.shard}_stats.json", *receipt.files):
        files.remove(files.join(folder, name))


def write_failure(folder: str, shard: str, error: str) -> None:
    """Say why a shard failed, so that the run can go on and the next one tries it again."""
    path = files.join(folder, f"{shard}_failed.json")
    files.write_json(path, {"shard": shard, "error": error})


def clear_failure(folder: str, shard: str) -> None:
    """Take back what was said of a shard that has been made since."""
    files.remove(files.join(folder, f"{shard}_failed.json"))


def read_failures(folder: str) -> dict[str, str]:
    """Shard → why the last try at it failed."""
    failures = {}
    for name in files.names_in(folder):
        if name.endswith("_failed.json"):
            failures[name.removesuffix("_failed.json")] = str(
                (files.read_json(files.join(folder, name)) or {}).get("error")
            )
    return failures


@contextmanager
def exclusive(folder: str) -> Iterator[None]:
    """Keep other runs of this machine out of a local directory; a kill sets it free.

    Raises:
        MmfeatError: another run works in it.
    """
    if not files.is_local(folder):
        yield
        return
    path = files.filesystem(folder)[1]
    was_there = os.path.exists(path)
    os.makedirs(path, exist_ok=True)
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MmfeatError(
                f"one run at a time may work in {folder}, and another one does",
                cure="Wait for it to end, then run the same command again",
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)
        if not was_there:
            with suppress(OSError):
                os.rmdir(path)  # only where nothing came of it


def claim(folder: str, kind: str, config: Mapping[str, Any]) -> str:
    """Take a directory for one configuration, or go on with it; returns the configuration's hash.

    Raises:
        MmfeatError: the directory holds something else, or was begun with another configuration.
    """
    wanted = {"format": FORMAT, "kind": kind, "config": dict(config), "hash": digest(config)}
    path = files.join(folder, CONFIG)
    found = files.read_json(path)
    if found is None:
        foreign = [name for name in files.names_in(folder) if not name.startswith(".")]
        if foreign and foreign != [CONFIG]:
            raise MmfeatError(
                f"the output directory must be empty or a store of mmfeat: {folder}",
                got=foreign[0],
                cure="Name another directory",
            )
        files.write_json(path, wanted)
    elif (found.get("kind"), found.get("hash")) != (kind, wanted["hash"]):
        refuse_difference(folder, found, wanted)
    return str(wanted["hash"])


def refuse_difference(folder: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise the error that names what differs between two claims on one directory."""
    if found.get("kind") != wanted["kind"]:
        difference = f"kind: {found.get('kind')} there, {wanted['kind']} now"
    else:
        old, new = _flat(found.get("config", {})), _flat(wanted["config"])
        keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        told = [f"{key}: {old.get(key)} there, {new.get(key)} now" for key in keys[:_TOLD]]
        more = [f"and {len(keys) - _TOLD} more"] if len(keys) > _TOLD else []
        difference = "; ".join(told + more)
    raise MmfeatError(
        f"{folder} was made with another configuration "
        f"({str(found.get('hash'))[:12]} there, {wanted['hash'][:12]} now): {difference}",
        cure="Run it with the same settings, or name another output directory",
    )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names; long digests cut, for a person to read."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(v, Mapping) and "name" in v for v in value):
            value = {v["name"]: v for v in value}
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            digest_like = isinstance(value, str) and len(value) == 64
            flat[prefix + key] = value[:12] if digest_like else repr(value)
    return flat


def read_manifest(folder: str, kind: str) -> dict[str, Any]:
    """The manifest of a finished store.

    Raises:
        MmfeatError: nothing there, not finished, another kind of store, or a newer format.
    """
    manifest = files.read_json(files.join(folder, MANIFEST))
    if not isinstance(manifest, dict) or "kind" not in manifest:
        if files.exists(files.join(folder, CONFIG)):
            raise MmfeatError(
                f"the {kind} in {folder} are not finished: no {MANIFEST}",
                cure="Run the command that makes them again; it goes on where it stopped",
            )
        raise MmfeatError(f"no {kind} of mmfeat in {folder}: no {MANIFEST}", cure=_HOW[kind])
    if manifest["kind"] != kind:
        raise MmfeatError(f"{folder} must hold {kind}", got=manifest["kind"], cure=_HOW[kind])
    if manifest["format"] > FORMAT:
        raise MmfeatError(
            f"{folder} is of store format {manifest['format']}, this mmfeat reads up to {FORMAT}",
            cure="Upgrade mmfeat",
        )
    return manifest


_HOW = {
    "shards": "Make them with: mmfeat shard INPUT OUTPUT",
    "features": "Make them with: mmfeat extract SHARDS OUTPUT",
    "model": "Make it with: mmfeat train FEATURES OUTPUT --target COLUMN",
    "ranking": "Make it with: mmfeat align-report MODEL FEATURES OUTPUT",
    "predictions": "Make them with: mmfeat score MODEL FEATURES OUTPUT",
}


def totals(receipts: Iterable[Receipt]) -> dict[str, Any]:
    """Sum of receipts, checked: in = out + rejected."""
    sums: dict[str, Any] = {"records": 0, "out": 0, "bytes_read": 0, "bytes_written": 0}
    counters: dict[str, Counter[str]] = {
        "rejected": Counter(), "status": Counter(), "problems": Counter()
    }  # fmt: skip
    for receipt in receipts:
        sums["records"] += receipt.records
        sums["out"] += receipt.out
        sums["bytes_read"] += receipt.bytes_read
        sums["bytes_written"] += sum(facts["bytes"] for facts in receipt.files.values())
        for name, counter in counters.items():
            counter.update(getattr(receipt, name))
    sums |= {name: dict(sorted(counter.items())) for name, counter in counters.items()}
    if sums["records"] != sums["out"] + sum(sums["rejected"].values()):
        raise AssertionError(f"the store's totals do not add up: {sums}")
    return sums


def without(sums: dict[str, Any], reasons: Counter[str], status: str) -> dict[str, Any]:
    """Totals without some rows that are not out.

    Args:
        sums: the totals with them.
        reasons: why they are not out.
        status: what their rows say.
    """
    return sums | {
        "records": sums["records"] - reasons.total(),
        "rejected": dict(sorted((Counter(sums["rejected"]) - reasons).items())),
        "status": dict(
            sorted((Counter(sums["status"]) - Counter({status: reasons.total()})).items())
        ),
        "problems": dict(sorted((Counter(sums["problems"]) - reasons).items())),
    }


def require_receipts(
    folder: str, shards: Iterable[str], *, failures_in: str | None = None
) -> list[Receipt]:
    """The receipts of all shards of a store, in order.

    Args:
        folder: where the receipts are.
        shards: names of the shards.
        failures_in: where failures are written down, if not in the same folder.

    Raises:
        MmfeatError: some shards are not there, with the reason of the first that failed.
    """
    receipts, missing = [], []
    for shard in shards:
        receipt = read_receipt(folder, shard)
        if receipt:
            receipts.append(receipt)
        else:
            missing.append(shard)
    if missing:
        failures = read_failures(failures_in or folder)
        told = next((f"; {s}: {failures[s]}" for s in missing if s in failures), "")
        raise MmfeatError(
            f"{len(missing)} of {len(missing) + len(receipts)} shards of {folder} are not made, "
            f"{missing[0]} the first{told}",
            cure="Run the same command again; it makes just those",
        )
    return receipts


def count_words(counts: Mapping[str, int]) -> str:
    """`{"image:missing": 3}` → `image:missing 3`."""
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def finished(folder: str, config_hash: str) -> dict[str, Any] | None:
    """The manifest of a store, where it was finished with this configuration."""
    manifest = files.read_json(files.join(folder, MANIFEST))
    if isinstance(manifest, dict) and manifest.get("config_hash") == config_hash:
        return manifest
    return None


def write_manifest(folder: str, kind: str, config_hash: str, **facts: Any) -> dict[str, Any]:
    """Write the manifest, the last act of a stage, and clear away what killed runs left."""
    files.remove_temporaries(folder)
    claimed = files.read_json(files.join(folder, CONFIG))
    manifest = {
        "format": FORMAT,
        "kind": kind,
        "mmfeat": __version__,
        "config": claimed["config"],
        "config_hash": config_hash,
        **facts,
    }
    files.write_json(files.join(folder, MANIFEST), manifest)
    return manifest
