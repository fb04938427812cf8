"""How much of an unfinished store is made, by listings of its folders."""

from collections.abc import Mapping
from typing import Any, TypedDict

from mmfeat.errors import MmfeatError
from mmfeat.features import COLUMNS, SAMPLES, TableFiles
from mmfeat.storage import Count, files, read_intact_document
from mmfeat.store import PLAN_FILE, PLAN_FOLDER, read_manifest, read_receipt
from mmfeat.verification import count_trials

_RECEIPT = "_stats.json"

_INPUTS = {"features": "shards", "predictions": "features"}
"""Kind of store → kind of the store that it is made from, shard by shard."""


class _Plan(TypedDict):
    config_hash: str
    shards: Count | dict[str, Any]
    """Their number. Earlier versions listed them."""


def measure_progress(path: str, run: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return how much of an unfinished store is made: what → number, and of how many if known.

    Args:
        path: the store.
        run: its config.json.

    Returns:
        `{"shards": [1, 4]}`: 1 of 4, or `{"shards": [1]}`.
    """
    if run["kind"] == "comparison":
        models, trials = count_trials(path)
        return {"models": [models, len(run["config"].get("systems", ()))], "trials": [trials]}
    if run["kind"] not in ("shards", *_INPUTS):
        return {}
    folders = [path]
    if run["kind"] == "features":
        names = (SAMPLES, *files.list_names(files.join(path, COLUMNS)))
        folders = [TableFiles(path, name, run["format"]).receipts for name in names]
    made = set.intersection(*map(_list_receipts, folders))
    return {"shards": [len(made), *_count_planned(path, run, folders[0], made)]}


def _list_receipts(folder: str) -> set[str]:
    names = files.list_names(folder)
    return {name.removesuffix(_RECEIPT) for name in names if name.endswith(_RECEIPT)}


def _count_planned(path: str, run: Mapping[str, Any], receipts: str, made: set[str]) -> list[int]:
    """Return the number of all shards, in a list that is empty if it is not known.

    Shards have a plan. Other stores have as many shards as their input, which receipts name.
    """
    if run["kind"] == "shards":
        plan = read_intact_document(files.join(path, PLAN_FOLDER, PLAN_FILE), _Plan)
        if not plan or plan["config_hash"] != run["hash"]:
            return []
        shards = plan["shards"]
        return [len(shards) if isinstance(shards, dict) else shards]
    input_kind = _INPUTS[run["kind"]]
    receipt = read_receipt(receipts, min(made)) if made else None
    folder = receipt.source.get(input_kind) if receipt else None
    if not isinstance(folder, str):
        return []
    try:
        manifest = read_manifest(folder, input_kind)
    except (MmfeatError, OSError):  # it may have moved
        return []
    is_same = manifest["config_hash"] == run["config"].get(input_kind)
    return [len(manifest["shards"])] if is_same else []
