"""Find the shards that features, a model or predictions were made from."""

from collections.abc import Mapping
from typing import Any

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import SAMPLES, TableFiles
from mmfeat.storage import files, read_document
from mmfeat.store import Receipt, json_digest, read_format, read_manifest
from mmfeat.system import protocols

_STORAGES = (("abfs",), ("az",), ("file",), ("gs",), ("hdfs",), ("memory",), ("s3",))
"""Protocols of the paths that are followed. Other paths might be URLs that a stranger chose."""


def is_followed(path: str) -> bool:
    """Return whether a path that a file of a store names is read: no URL of a web server is."""
    return protocols(path) in _STORAGES


def find_source_shards(
    config: Mapping[str, Any], manifest: Mapping[str, Any]
) -> tuple[str | None, str]:
    """Find the directory of the shards of a model, through the receipts of its features.

    Args:
        config: configuration of the model.
        manifest: manifest of the model.

    Returns:
        The directory and an empty text, or None and the reason why it is unknown.
    """
    features = _features_path(config, manifest)
    if not features:
        return None, "the model does not name the directory of its features"
    return find_shards_of_features(features, "the model")


def find_shards_of_features(features: str, owner: str) -> tuple[str | None, str]:
    """Find the directory of the shards that features were extracted from.

    Args:
        features: path of the features, as a file of a store names it.
        owner: what was made from the features, for the reason.

    Returns:
        The directory and an empty text, or None and the reason why it is unknown.
    """
    if not is_followed(features):
        return None, f"the features of {owner} are not read from {features}; name the shards"
    try:
        folder = TableFiles(features, SAMPLES, read_format(features, "features")).receipts
        receipt = read_any_receipt(folder)
    except DamagedFileError as error:
        return None, error.rule
    if receipt is None or not receipt.source.get("shards"):
        return None, f"the features of {owner} are no longer in {features}"
    shards = str(receipt.source["shards"])
    if not is_followed(shards):
        return None, f"the shards of {owner} are not read from {shards}; name the shards"
    return shards, ""


def read_any_receipt(folder: str) -> Receipt | None:
    """Return a receipt of a folder, which names the sources of its store; None if it has none.

    Raises:
        DamagedFileError: the file is no receipt.
    """
    names = [name for name in files.list_names(folder) if name.endswith("_stats.json")]
    return read_document(files.join(folder, names[0]), Receipt) if names else None


def _features_path(config: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    for path in (manifest.get("features"), config.get("features")):
        if isinstance(path, dict):
            path = path.get("path")
        if isinstance(path, str) and path:
            return path
    return ""


def check_source_shards(shards: str, config: Mapping[str, Any]) -> set[str]:
    """Check that a directory holds the shards of the model's features; return their names.

    Raises:
        MmfeatError: the directory has no shards, or other shards.
    """
    features = config.get("features")
    expected = features.get("config_hash") if isinstance(features, dict) else None
    return check_shards_of_features(shards, expected or "", "the model")


def check_shards_of_features(shards: str, features_hash: str, owner: str) -> set[str]:
    """Check that features were extracted from the shards in a directory; return their names.

    Args:
        shards: the directory.
        features_hash: hash of the configuration of the features; empty = any.
        owner: what was made from the features, for the error.

    Raises:
        MmfeatError: the directory has no shards, or other shards.
    """
    manifest = read_manifest(shards, "shards")
    if features_hash and features_hash != json_digest({"shards": manifest["config_hash"]}):
        raise MmfeatError(
            f"the features of {owner} were extracted from other shards than those in {shards}",
            cure="Name the directory that was given to mmfeat extract",
        )
    return {shard["name"] for shard in manifest["shards"]}
