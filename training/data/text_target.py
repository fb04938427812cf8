"""The target of the task describe: a metadata column, or a text slot; and never an input.

A slot's texts are read from the shards that the features were extracted from.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import Column, FeatureStore
from mmfeat.inspection import check_shards_of_features, find_shards_of_features
from mmfeat.records import read_cells, slot_of_extension
from mmfeat.shards import read_stored_shard
from mmfeat.store import read_receipt
from mmfeat.system import print_err
from training.columns import is_text_slot
from training.objectives.describe import DescribeObjective

MAX_EQUAL = 0.05
"""Fraction of compared records whose input text may be the target, by chance."""

_COMPARED = 2000
_MAX_TEXT_BYTES = 1 << 22


class _Match(NamedTuple):
    """Records that were compared; of those, the equal texts, and those with the target inside."""

    compared: int
    equal: int
    contained: int


def bind_text_target(objective: DescribeObjective, store: FeatureStore) -> None:
    """Find out where the target is: in the samples table, or in a text slot of the shards.

    Raises:
        MmfeatError: the shards of the slot are no longer where the features were extracted from.
    """
    if is_text_slot(objective.target, store):
        shards = _find_shards(store, f"to read the target {objective.target!r}")
        slot = objective.target
        objective.read_slot = _remember_last(lambda shard: read_slot_texts(shards, shard, slot))


def check_input_texts(
    objective: DescribeObjective, store: FeatureStore, columns: Sequence[Column]
) -> None:
    """Check that no text column was extracted from the texts of the target.

    A slot is compared by its name, a metadata column by the texts of some records. If the shards
    are gone, a line says that the texts could not be compared.

    Raises:
        MmfeatError: the target's own text is an input.
    """
    inputs = [column for column in columns if column.modality == "text"]
    if objective.read_slot is not None:
        own = [column.name for column in inputs if column.slot == objective.target]
        if own:
            raise _leak(objective.target, own, columns)
        return
    if not inputs:
        return
    shards, reason = find_shards_of_features(store.path, "the model")
    if shards is None:
        what = f"the texts of {objective.target!r} and of the inputs"
        print_err(f"mmfeat: {what} are not compared: {reason}")
        return
    for slot in dict.fromkeys(column.slot for column in inputs):
        own = [column.name for column in inputs if column.slot == slot]
        match = _compare(objective.target, store, shards, slot)
        if match.equal > MAX_EQUAL * match.compared:
            found = f", equal in {match.equal:,} of {match.compared:,} compared records"
            raise _leak(objective.target, own, columns, found)
        if match.contained > 0.5 * match.compared:
            print_err(
                f"mmfeat: warning: the text of {', '.join(own)} contains the target in "
                f"{match.contained:,} of {match.compared:,} compared records"
            )


def _leak(
    target: str, own: Sequence[str], columns: Sequence[Column], found: str = ""
) -> MmfeatError:
    others = [column.name for column in columns if column.name not in own]
    cure = f"Leave it out with --modalities {','.join(others)}" if others else "Extract a column"
    return MmfeatError(
        f"the text of the target {target!r} must not be an input",
        got=f"the feature column {', '.join(own)}{found}",
        cure=cure if others else f"{cure} of another modality, such as images",
    )


def _compare(target: str, store: FeatureStore, shards: str, slot: str) -> _Match:
    compared = equal = contained = 0
    for text, own in _iter_pairs(target, store, shards, slot):
        compared += 1
        equal += own == text
        contained += own in text
        if compared == _COMPARED:
            break
    return _Match(compared, equal, contained)


def _iter_pairs(
    target: str, store: FeatureStore, shards: str, slot: str
) -> Iterator[tuple[str, str]]:
    """Yield the input text and the target of records that have both, without case and spaces."""
    known = check_shards_of_features(shards, store.manifest["config_hash"], "the model")
    for shard in store.shards:
        if shard not in known:
            continue
        table = store.read_samples(shard, ["__key__", target])
        texts = read_slot_texts(shards, shard, slot)
        for key, cell in zip(table["__key__"].to_pylist(), read_cells(table, target), strict=True):
            own = cell[0] if isinstance(cell, list) and cell else cell
            if isinstance(own, str) and own.strip() and key in texts:
                yield _plain(texts[key]), _plain(own)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def read_slot_texts(shards: str, shard: str, slot: str) -> dict[str, str]:
    """Return key → text of one shard, of the records that have it.

    Args:
        shards: directory of the shards.
        shard: name of the shard.
        slot: the slot, such as `text` or `text.title`.

    Raises:
        DamagedFileError: a file of the shard is damaged.
    """
    texts = {}
    receipt = read_receipt(shards, shard)
    if receipt is None:
        raise DamagedFileError(f"{shards} must have the shard {shard} with a valid receipt")
    for record in read_stored_shard(shards, receipt, [slot]):
        if record.sample is None or record.statuses.get(slot) != "ok":
            continue
        for extension, content in record.sample.members.items():
            if slot_of_extension(extension) == slot and len(content) <= _MAX_TEXT_BYTES:
                texts[record.key] = bytes(content).decode("utf-8", "replace")
    return texts


def _find_shards(store: FeatureStore, purpose: str) -> str:
    shards, reason = find_shards_of_features(store.path, "the model")
    if shards is None:
        raise MmfeatError(
            f"the shards of the features are needed {purpose}",
            got=reason,
            cure="Keep the shards where mmfeat extract has read them, or shard the texts as a "
            "metadata column",
        )
    check_shards_of_features(shards, store.manifest["config_hash"], "the model")
    return shards


def _remember_last(read: Callable[[str], Mapping[str, str]]) -> Callable[[str], Mapping[str, str]]:
    """Return the function, which keeps its last result."""
    last: dict[str, Mapping[str, str]] = {}

    def read_once(shard: str) -> Mapping[str, str]:
        if shard not in last:
            last.clear()
            last[shard] = read(shard)
        return last[shard]

    return read_once
