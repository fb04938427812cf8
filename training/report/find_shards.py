"""Where the records of a model's rows are: the shards its features were made of."""

from collections.abc import Mapping
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.store import files
from mmfeat.store.directory import digest, read_manifest


def find_shards(config: Mapping[str, Any], manifest: Mapping[str, Any]) -> tuple[str | None, str]:
    """The directory of the shards, or None and why it is not known.

    The model names its features, and a receipt of those names the shards.

    Args:
        config: of the model.
        manifest: of the model.
    """
    features = _features_path(config, manifest)
    if not features:
        return None, "the model does not name the directory of its features"
    folder = files.join(features, "samples")
    names = [name for name in files.names_in(folder) if name.endswith("_stats.json")]
    receipt = files.read_json(files.join(folder, names[0])) if names else None
    if not isinstance(receipt, dict) or not receipt.get("source", {}).get("shards"):
        return None, f"the features of the model are no longer in {features}"
    return str(receipt["source"]["shards"]), ""


def _features_path(config: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    for named in (manifest.get("features"), config.get("features")):
        if isinstance(named, dict):
            named = named.get("path")
        if isinstance(named, str) and named:
            return named
    return ""


def check_shards(shards: str, config: Mapping[str, Any]) -> set[str]:
    """The names of the shards in a directory, where they are those of the model's features.

    Raises:
        MmfeatError: there are none, or the features were made of others.
    """
    manifest = read_manifest(shards, "shards")
    features = config.get("features")
    expected = features.get("config_hash") if isinstance(features, dict) else None
    if expected and expected != digest({"shards": manifest["config_hash"]}):
        raise MmfeatError(
            f"the shards in {shards} are others than those the model's features were made of",
            cure="Name the directory that was given to mmfeat extract",
        )
    return {shard["name"] for shard in manifest["shards"]}
