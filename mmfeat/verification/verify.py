"""Verify a store: documents first, then every part in parallel."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.storage import check_value, files, read_document
from mmfeat.store import (
    CONFIG_FILE,
    MANIFEST_FILE,
    PLAN_FILE,
    PLAN_FOLDER,
    RETRY_SHARD,
    Receipt,
    RecordedFile,
    RunConfig,
    check_folder,
    check_format,
    check_manifest,
    check_plan,
    json_digest,
    newest_format,
    retry_shards,
)
from mmfeat.system import ProgressBar, WorkerDiedError, default_threads, ordered_map, worker_pool
from mmfeat.verification.check_bytes import check_bytes
from mmfeat.verification.check_part import check_part
from mmfeat.verification.check_trials import check_trials
from mmfeat.verification.parts import Damage, Layout, Part, sample_shards

SHARDED = ("shards", "features", "predictions")
"""Kinds of stores that consist of shards."""

_MIN_RECORDS = 1_000_000
"""Records from which starting processes pays: they import WebDataset, and with it torch."""

_Checked: TypeAlias = tuple[Part, Receipt | None, list[Damage]]

_WINNER = "winner"
"""Folder of the model in a comparison."""


@dataclass
class Verification:
    """What was verified, and what is damaged.

    Attributes:
        folder, kind: the store.
        finished: whether it has an intact manifest.
        manifest: the manifest, if it is intact.
        shards: number of shards that were checked.
        all_shards: number of shards of the store.
        files, bytes: what was read.
        damages: the damaged files.
        inner: stores inside the store: the model of a comparison.
    """

    folder: str
    kind: str
    manifest: Mapping[str, Any] | None = None
    shards: int = 0
    all_shards: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    damages: list[Damage] = field(default_factory=list)
    inner: list["Verification"] = field(default_factory=list)

    @property
    def all_damages(self) -> list[Damage]:
        """The damaged files, those of inner stores included."""
        return self.damages + [damage for store in self.inner for damage in store.all_damages]

    @property
    def finished(self) -> bool:
        """Whether the store has an intact manifest."""
        return self.manifest is not None

    @property
    def was_retried(self) -> bool:
        """Whether `--retry-failed` has added shards, so that lost shards cannot be made again."""
        return bool(self.kind == "shards" and self.manifest and retry_shards(self.manifest))


def verify_store(
    folder: str,
    *,
    sample: float = 1.0,
    seed: int = 0,
    on_damage: Callable[[Damage], None] = lambda damage: None,
) -> Verification:
    """Verify a store, finished or not. It reads every byte and writes nothing.

    Args:
        folder: the store.
        sample: fraction of the shards to check, chosen at random.
        seed: seed of the choice.
        on_damage: called with each damage as it is found.

    Raises:
        MmfeatError: the folder is no store, or one of a newer format.
    """
    start = time.monotonic()
    run, manifest, damages = _read_documents(folder)
    result = Verification(folder, str((run or manifest or {})["kind"]), manifest)

    known: set[str] = set()

    def add(found: list[Damage]) -> None:
        # Two documents may record a file.
        for damage in found:
            if damage.path not in known:
                known.add(damage.path)
                result.damages.append(damage)
                on_damage(damage)

    add(damages)
    if result.kind in SHARDED:
        store_format = (run or manifest or {}).get("format", newest_format(result.kind))
        layout = Layout(folder, result.kind, store_format, manifest)
        add(_check_columns(layout))
        plan = files.join(folder, PLAN_FOLDER, PLAN_FILE)
        add([Damage(path, problem, receipt=plan) for path, problem in check_plan(folder)])
        _verify_parts(result, layout, sample, seed, add)
    elif manifest is not None:
        recorded = manifest.get("files", {})
        check_value(recorded, dict[str, RecordedFile], files.join(folder, MANIFEST_FILE))
        for name, info in recorded.items():
            path = files.join(folder, name)
            problem = check_bytes(path, info)
            add([Damage(path, problem)] if problem else [])
            result.files += 1
            result.bytes += info["bytes"]
        if result.kind == "comparison":
            winner = verify_store(files.join(folder, _WINNER), on_damage=on_damage)
            result.inner.append(winner)
            result.files += winner.files
            result.bytes += winner.bytes
            if winner.damages:
                add([Damage(files.join(folder, MANIFEST_FILE), "names a damaged model")])
    if result.kind == "comparison":
        complete = manifest is not None and not {"failed", "missing"} & manifest.keys()
        for trial in check_trials(folder, complete=complete):
            add(trial.damages)
            result.files += trial.files
            result.bytes += trial.bytes
    result.seconds = time.monotonic() - start
    return result


def _verify_parts(
    result: Verification,
    layout: Layout,
    sample: float,
    seed: int,
    add: Callable[[list[Damage]], None],
) -> None:
    shards = layout.shards()
    chosen = sample_shards(shards, sample, seed)
    result.all_shards, result.shards = len(shards), len(chosen)
    totals: dict[str, Counter[str]] = {}
    tables = len(layout.columns) + 1
    with (
        ProgressBar("verify", len(chosen) * tables, "tables of shards") as bar,
        _open_checker(result) as check,
    ):
        parts = layout.parts(chosen)
        for number, (part, receipt, damages) in enumerate(
            ordered_map(check, parts, threads=default_threads())
        ):
            add(damages)
            if receipt:
                result.files += len(receipt.files)
                result.bytes += sum(info["bytes"] for info in receipt.files.values())
                counts = totals.setdefault(part.table, Counter())
                counts.update(records=receipt.records, out=receipt.out)
            bar.update(number + 1)
    if len(chosen) == len(shards) and not result.damages and result.manifest:
        add(_check_totals(result.folder, result.manifest, totals))


@contextmanager
def _open_checker(result: Verification) -> Iterator[Callable[[Part], _Checked]]:
    """Yield a function that checks a part in any thread.

    Names are grouped in Python, one core per process. Very many are checked in processes.
    """

    def check(part: Part) -> _Checked:
        return part, *check_part(part)

    records = sum(entry["records"] for entry in (result.manifest or {}).get("shards", ()))
    if result.kind != "shards" or records < _MIN_RECORDS:
        yield check
        return
    with worker_pool(default_threads(), preload=[check_part.__module__, "webdataset"]) as pool:

        def check_in_process(part: Part) -> _Checked:
            try:
                return part, *pool.submit(check_part, part).result()
            except WorkerDiedError as error:
                return part, None, [Damage(part.receipt_path, str(error), part)]

        yield check_in_process


def _check_totals(
    folder: str, manifest: Mapping[str, Any], totals: Mapping[str, Counter[str]]
) -> list[Damage]:
    """Check that the counts of the receipts add up to those of the manifest."""
    if retry_shards(manifest) or any(shard.get(RETRY_SHARD) for shard in manifest["shards"]):
        return []  # totals count a retried record once
    path, columns = files.join(folder, MANIFEST_FILE), manifest["totals"].get("columns", {})
    for table, counts in totals.items():
        expected = columns.get(table, manifest["totals"])
        names = ("records",) if table == "samples" else ("records", "out")
        for name in names:
            if counts[name] != expected[name]:
                problem = (
                    f"counts {expected[name]:,} {name} of {table}, its receipts {counts[name]:,}"
                )
                return [Damage(path, problem)]
    return []


def _check_columns(layout: Layout) -> list[Damage]:
    """Check the description of each column of a finished store."""
    damages = []
    for name, column in layout.columns.items():
        path = layout.column_path(name)
        try:
            description = read_document(path, dict[str, Any])
        except DamagedFileError as error:
            damages.append(Damage(path, error.rule))
            continue
        if description is None:
            damages.append(Damage(path, "is missing"))
        elif any(description.get(key) != value for key, value in vars(column).items()):
            damages.append(Damage(path, "contradicts the manifest"))
    return damages


def _read_documents(
    folder: str,
) -> tuple[dict[str, Any] | None, dict[str, Any] | None, list[Damage]]:
    """Read config.json and the manifest, each None if it is missing or damaged."""
    damages: list[Damage] = []

    def read(name: str, check: Callable[[str], Any]) -> Any:
        path = files.join(folder, name)
        try:
            return check(path)
        except DamagedFileError as error:
            damages.append(Damage(path, error.rule))
            return None

    run: Any = read(CONFIG_FILE, partial(read_document, schema=RunConfig))
    manifest = read(MANIFEST_FILE, partial(_read_manifest, folder))
    if run is None and manifest is None:
        if damages:
            raise MmfeatError(
                f"{folder} has neither an intact {CONFIG_FILE} nor an intact {MANIFEST_FILE}",
                cure="Restore one of them from a copy, or make the store again",
            )
        check_folder(folder)
        raise MmfeatError(
            f"a store of mmfeat has a {CONFIG_FILE}, and {folder} has none", cure="Check the path"
        )
    for document in (run, manifest):
        if document:
            check_format(folder, document)
    for document, name, key in (
        (run, CONFIG_FILE, "hash"),
        (manifest, MANIFEST_FILE, "config_hash"),
    ):
        if document and json_digest(document["config"]) != document[key]:
            damages.append(
                Damage(files.join(folder, name), "has another configuration than its hash")
            )
    if run is None and not damages:
        damages.append(Damage(files.join(folder, CONFIG_FILE), "is missing"))
    if (
        run
        and manifest
        and (run["hash"], run["kind"]) != (manifest["config_hash"], manifest["kind"])
    ):
        damages.append(Damage(files.join(folder, MANIFEST_FILE), f"contradicts {CONFIG_FILE}"))
    return run, manifest, damages


def _read_manifest(folder: str, path: str) -> dict[str, Any] | None:
    manifest = read_document(path, dict[str, Any])
    return None if manifest is None else check_manifest(folder, manifest)
