"""The manifest of a store: totals and the list of shards. A stage writes it last."""

from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.store import files
from mmfeat.store.directory import CONFIG_FILE, check_format
from mmfeat.store.temporaries import remove_temporaries
from mmfeat.version import __version__

MANIFEST_FILE = "manifest.json"

_CURES = {
    "shards": "Make them with: mmfeat shard INPUT OUTPUT",
    "features": "Make them with: mmfeat extract SHARDS OUTPUT",
    "model": "Make it with: mmfeat train FEATURES OUTPUT --target COLUMN",
    "ranking": "Make it with: mmfeat align-report MODEL FEATURES OUTPUT",
    "predictions": "Make them with: mmfeat score MODEL FEATURES OUTPUT",
}


def read_manifest(folder: str, kind: str) -> dict[str, Any]:
    """Read the manifest of a finished store.

    Raises:
        MmfeatError: the store does not exist, is not finished, is of another kind, or has a newer
            format.
    """
    manifest = files.read_json(files.join(folder, MANIFEST_FILE))
    if not isinstance(manifest, dict) or "kind" not in manifest:
        if files.exists(files.join(folder, CONFIG_FILE)):
            raise MmfeatError(
                f"the {kind} in {folder} are not finished: no {MANIFEST_FILE}",
                cure="Run the command that makes them again; it continues where it stopped",
            )
        raise MmfeatError(f"{folder} has no {kind}: no {MANIFEST_FILE}", cure=_CURES[kind])
    if manifest["kind"] != kind:
        raise MmfeatError(f"{folder} must hold {kind}", got=manifest["kind"], cure=_CURES[kind])
    check_format(folder, manifest)
    return manifest


def finished_manifest(folder: str, config_hash: str) -> dict[str, Any] | None:
    """Return the manifest if the store was finished with this configuration, else None."""
    manifest = files.read_json(files.join(folder, MANIFEST_FILE))
    if isinstance(manifest, dict) and manifest.get("config_hash") == config_hash:
        return manifest
    return None


def write_manifest(folder: str, kind: str, config_hash: str, **entries: Any) -> dict[str, Any]:
    """Write the manifest, the last step of a stage, and return it.

    Temporary files of killed runs are removed first.
    """
    remove_temporaries(folder)
    run = files.read_json(files.join(folder, CONFIG_FILE))
    manifest = {
        "format": run["format"],
        "kind": kind,
        "mmfeat": __version__,
        "config": run["config"],
        "config_hash": config_hash,
        **entries,
    }
    files.write_json(files.join(folder, MANIFEST_FILE), manifest)
    return manifest
