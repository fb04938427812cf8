"""Un-commit damaged parts of a store, so that the next run of its command makes them again."""

import os
from collections.abc import Iterable

from mmfeat.errors import MmfeatError
from mmfeat.storage import files, lock_directory, remove_temporaries
from mmfeat.store import CONFIG_FILE, MANIFEST_FILE, PLAN_FILE, PLAN_FOLDER
from mmfeat.verification.parts import Part
from mmfeat.verification.verify import Verification


def uncommit(result: Verification) -> list[str]:
    """Remove damaged parts of a store, and the manifest if the store is no longer complete.

    Receipts go first: from then on the parts do not exist. So a run that is killed here can be
    repeated. Nothing outside the store is touched.

    Args:
        result: what `verify_store` found.

    Returns:
        The files that were removed or written.

    Raises:
        MmfeatError: another run is active in the store, or the damage cannot be repaired.
    """
    removed = [path for store in result.inner for path in uncommit(store)]
    if not result.damages:
        return removed
    if result.was_retried and not _only_plan(result):
        raise MmfeatError(
            f"{result.folder} cannot be made again in part, because --retry-failed has changed it",
            cure="Restore the damaged files from a copy, or shard the input into another directory",
        )
    config, manifest = (files.join(result.folder, name) for name in (CONFIG_FILE, MANIFEST_FILE))
    with lock_directory(result.folder):
        parts = {damage.part.receipt_path: damage.part for damage in result.damages if damage.part}
        own_files = [path for part in parts.values() for path in _own_files(part)]
        documents = {damage.path for damage in result.damages if damage.part is None}
        receipts = {damage.receipt for damage in result.damages if damage.receipt}
        removed += _remove(result.folder, parts)
        if manifest in documents or not (_keeps_manifest(result) or documents == {config}):
            removed += _remove(result.folder, [manifest])
        removed += _remove(result.folder, own_files)
        removed += _remove(result.folder, sorted(receipts))
        removed += _remove(result.folder, sorted(documents - receipts - {config, manifest}))
        if config in documents:
            _restore_config(result, config)
            removed.append(config)
        remove_temporaries(result.folder)
    return removed


def _keeps_manifest(result: Verification) -> bool:
    """Return whether an intact manifest stays although parts are missing.

    That of features lists the columns, which several commands may have made. Readers notice the
    missing receipts. A plan is of a run that has not finished, such as a retry.
    """
    return result.kind == "features" or _only_plan(result)


def _only_plan(result: Verification) -> bool:
    """Return whether nothing is damaged but the plan. The next run plans again."""
    plan = files.join(result.folder, PLAN_FOLDER, PLAN_FILE)
    return all(damage.receipt == plan for damage in result.damages)


def _own_files(part: Part) -> list[str]:
    """Return the files of a part by its receipt; none if the receipt is damaged.

    The next run writes over files without a receipt.
    """
    receipt = part.read_receipt()
    if receipt is None:
        return []
    names = [name for name in receipt.files if name.rpartition("/")[2].startswith(f"{part.shard}.")]
    return [files.join(part.root, name) for name in names]


def _restore_config(result: Verification, path: str) -> None:
    """Write config.json again from the manifest."""
    manifest = result.manifest
    if manifest is None:
        return
    facts = {"format": manifest["format"], "kind": manifest["kind"], "config": manifest["config"]}
    files.write_json(path, facts | {"hash": manifest["config_hash"]})


def _remove(folder: str, paths: Iterable[str]) -> list[str]:
    """Remove regular files of a store, if they exist, and return them."""
    removed = []
    for path in paths:
        if files.size(path) is not None and _is_inside(folder, path):
            files.remove(path)
            removed.append(path)
    return removed


def _is_inside(folder: str, path: str) -> bool:
    """Return whether a file is in the folder, and not behind a link that leads out of it."""
    if not files.is_local(path):
        return path.startswith(f"{folder.rstrip('/')}/") and ".." not in path.split("/")
    root, parent = (
        os.path.realpath(files.filesystem(p)[1]) for p in (folder, os.path.dirname(path))
    )
    return os.path.commonpath([root, parent]) == root
