"""The manifest of a store: totals and the list of shards. A stage writes it last."""

from collections import Counter
from collections.abc import Mapping
from typing import IO, Any

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.storage import did_you_mean_path, files
from mmfeat.storage.documents import check_value, read_document
from mmfeat.storage.temporaries import remove_temporaries
from mmfeat.store.directory import CONFIG_FILE, check_format
from mmfeat.store.integrity import open_checked
from mmfeat.store.schemas import MANIFESTS, Manifest, RecordedFile, RunConfig
from mmfeat.store.unfinished import clear_failures, remove_marks
from mmfeat.version import __version__

MANIFEST_FILE = "manifest.json"

_CHECKED_SHARDS = 10_000
"""Shards that are checked at a time."""

_CURES = {
    "shards": "Make them with: mmfeat shard INPUT OUTPUT",
    "features": "Make them with: mmfeat extract SHARDS OUTPUT",
    "model": "Make it with: mmfeat train FEATURES OUTPUT --target COLUMN",
    "ranking": "Make it with: mmfeat align-report MODEL FEATURES OUTPUT",
    "audit": "Make it with: mmfeat audit FEATURES OUTPUT --target COLUMN",
    "duplicates": "Make them with: mmfeat dedup FEATURES OUTPUT",
    "predictions": "Make them with: mmfeat score MODEL FEATURES OUTPUT",
}


_SINGULAR = ("model", "ranking", "comparison", "export", "audit")
"""Kinds whose name is not in the plural."""


def unfinished_error(kind: str, folder: str) -> MmfeatError:
    """Return the error that a store has no manifest yet."""
    verb = "is" if kind in _SINGULAR else "are"
    return MmfeatError(
        f"the {kind} in {folder} {verb} not finished: no {MANIFEST_FILE}",
        cure=f"Run the command that makes the {kind} again; it continues where it stopped",
    )


def check_folder(folder: str, cure: str = "") -> None:
    """Check that a folder exists.

    Args:
        folder: the folder.
        cure: what to do if it does not and no folder has a similar name.

    Raises:
        MmfeatError: it does not exist, or is a file.
    """
    if not files.exists(folder):
        raise MmfeatError(f"there is no folder {folder}", cure=did_you_mean_path(folder) or cure)
    if files.is_file(folder):
        raise MmfeatError(
            f"a store of mmfeat is a folder, and {folder} is a file",
            cure=cure or "Name the folder of the store",
        )


def check_finished(folder: str, kind: str) -> None:
    """Check that a folder has a finished store of a kind. Its manifest, which may be large, is not
    read.

    Raises:
        MmfeatError: the store does not exist, is not finished, or is of another kind.
    """
    if not files.exists(files.join(folder, MANIFEST_FILE)):
        raise _missing_error(folder, kind)
    run = files.read_json(files.join(folder, CONFIG_FILE))
    if isinstance(run, dict) and isinstance(run.get("kind"), str):
        _check_kind(folder, kind, run["kind"])


def read_manifest(folder: str, kind: str) -> dict[str, Any]:
    """Read the manifest of a finished store.

    Raises:
        MmfeatError: the store does not exist, is not finished, is of another kind, or has a newer
            format.
        DamagedFileError: the manifest breaks a rule, such as the rule of names.
    """
    manifest = files.read_json(files.join(folder, MANIFEST_FILE))
    if not isinstance(manifest, dict) or "kind" not in manifest:
        raise _missing_error(folder, kind)
    _check_kind(folder, kind, manifest["kind"])
    check_format(folder, manifest)
    return check_manifest(folder, manifest)


def _missing_error(folder: str, kind: str) -> MmfeatError:
    if files.exists(files.join(folder, CONFIG_FILE)):
        return unfinished_error(kind, folder)
    check_folder(folder, _CURES.get(kind, ""))
    return MmfeatError(f"{folder} has no {kind}: no {MANIFEST_FILE}", cure=_CURES.get(kind, ""))


def _check_kind(folder: str, kind: str, found: str) -> None:
    if found != kind:
        raise MmfeatError(
            f"{folder} must hold {_with_article(kind)}",
            got=found,
            cure=f"Name its picked model: {files.join(folder, 'winner')}"
            if (kind, found) == ("model", "comparison")
            else _CURES.get(kind, ""),
        )


def _with_article(kind: str) -> str:
    article = "an" if kind.startswith(("a", "e", "i")) else "a"
    return f"{article} {kind}" if kind in _SINGULAR else kind


def check_manifest(folder: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """Check a manifest, and return it.

    Raises:
        DamagedFileError: an entry is missing or has another type, a name is not plain, two shards
            have the same name, or the shards have fewer records than the store.
    """
    path = files.join(folder, MANIFEST_FILE)
    schema = MANIFESTS.get(str(manifest.get("kind")), Manifest)
    _check_schema(manifest, schema, path)
    shards = manifest["shards"] if "shards" in schema.__annotations__ else []
    if len({shard["name"] for shard in shards}) < len(shards):
        (twice, _), *_ = Counter(shard["name"] for shard in shards).most_common(1)
        raise DamagedFileError(f"{path} must name each shard once", got=twice, cure=files.RESTORE)
    records = sum(shard["records"] for shard in shards)
    if shards and records < manifest["totals"]["records"]:  # more if some were tried again
        raise DamagedFileError(
            f"{path} must list shards with all {manifest['totals']['records']:,} records",
            got=f"{records:,} records",
            cure=files.RESTORE,
        )
    _share_hashes(shards)
    return manifest


def _check_schema(manifest: dict[str, Any], schema: Any, path: str) -> None:
    """Check the types of a manifest, some shards at a time, as a check copies what it checks."""
    shards = manifest.get("shards")
    if not isinstance(shards, list) or len(shards) <= _CHECKED_SHARDS:
        check_value(manifest, schema, path)
        return
    try:
        for start in range(0, len(shards), _CHECKED_SHARDS):
            part = shards[start : start + _CHECKED_SHARDS]
            check_value({**manifest, "shards": part}, schema, path)
    except DamagedFileError:
        check_value(manifest, schema, path)  # its error has the number of the shard
        raise


def _share_hashes(shards: list[dict[str, Any]]) -> None:
    """Let equal hashes of configurations be one object: there may be a million."""
    hashes: dict[str, str] = {}
    for shard in shards:
        if config_hash := shard.get("config_hash"):
            shard["config_hash"] = hashes.setdefault(config_hash, config_hash)


def finished_manifest(folder: str, config_hash: str) -> dict[str, Any] | None:
    """Return the manifest if the store was finished with this configuration, else None.

    Raises:
        DamagedFileError: the manifest breaks a rule.
    """
    manifest = read_document(files.join(folder, MANIFEST_FILE), dict[str, Any])
    if manifest is None or manifest.get("config_hash") != config_hash:
        return None
    return check_manifest(folder, manifest)


def make_manifest(folder: str, kind: str, config_hash: str, **entries: Any) -> dict[str, Any]:
    """Return the manifest of a store with the entries of its kind."""
    run = read_document(files.join(folder, CONFIG_FILE), RunConfig)
    assert run is not None, f"{folder} has no {CONFIG_FILE}"
    return {
        "format": run["format"],
        "kind": kind,
        "mmfeat": __version__,
        "config": run["config"],
        "config_hash": config_hash,
        **entries,
    }


def write_manifest(folder: str, kind: str, config_hash: str, **entries: Any) -> dict[str, Any]:
    """Write the manifest and return it. It is the last act of a run: all other files are complete.

    Temporary files and marks of killed runs, and records of failures, are removed first.
    """
    manifest = make_manifest(folder, kind, config_hash, **entries)
    remove_temporaries(folder)
    remove_marks(folder)
    clear_failures(folder)
    files.write_json(files.join(folder, MANIFEST_FILE), manifest)
    return manifest


def open_recorded(folder: str, name: str, manifest: Mapping[str, Any]) -> IO[bytes]:
    """Open a file of a store, and compare its bytes with its manifest, if that records them.

    Args:
        folder: the store.
        name: name of the file in it.
        manifest: its manifest; empty = unknown.
    """
    document = files.join(folder, MANIFEST_FILE)
    recorded = check_value(manifest.get("files", {}), dict[str, RecordedFile], document)
    path = files.join(folder, name)
    return open_checked(path, recorded[name]) if name in recorded else files.open_input(path)
