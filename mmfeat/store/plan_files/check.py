"""Check the plan of a store: its commit mark, its index and its blocks."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, TypedDict

import xxhash

from mmfeat.errors import DamagedFileError
from mmfeat.storage import Count, check_value, files, read_document
from mmfeat.store.directory import PLAN_FILE, PLAN_FOLDER
from mmfeat.store.plan_files.blocks import Piece, block_path
from mmfeat.store.plan_files.index import PlannedShards, index_path, read_plan_index
from mmfeat.store.schemas import RecordedFile


class PackedPlan(TypedDict):
    """What plan.json records of the other files of a plan."""

    index: RecordedFile
    shards: Count


def is_packed_plan(plan: dict[str, Any]) -> bool:
    """Return whether a plan has blocks. Earlier versions wrote one file per shard."""
    return "index" in plan


def check_plan(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the damaged files of a store's plan, with the problem; none if there is no plan.

    A plan with one file per shard has no digests; only its commit mark is checked.
    """
    path = files.join(folder, PLAN_FOLDER, PLAN_FILE)
    try:
        plan = read_document(path, dict[str, Any])
        if plan is None or not is_packed_plan(plan):
            return
        check_value(plan, PackedPlan, path)
        path = index_path(folder)
        shards = read_plan_index(folder, plan["index"], plan["shards"])
    except DamagedFileError as error:
        yield path, error.rule.removeprefix(f"{path} ")
        return
    # Duplicates have moved some shards to other blocks.
    order = [("block", "ascending"), ("offset", "ascending")]
    by_place = PlannedShards(shards.table.sort_by(order))
    pieces = (shard.piece for shard in by_place if shard.piece)
    for block, of_block in groupby(pieces, key=lambda piece: piece.block):
        path = block_path(folder, block)
        if problem := _check_block(path, of_block):
            yield path, problem


def _check_block(path: str, pieces: Iterator[Piece]) -> str:
    """Return what is wrong with a block; empty if nothing is."""
    size = files.size(path)
    if size is None:
        return "is missing"
    with files.open_input(path, size) as file:
        for piece in pieces:
            if piece.offset + piece.length > size:
                return f"has {size:,} bytes, fewer than its plan records"
            file.seek(piece.offset)
            if xxhash.xxh3_128_hexdigest(file.read(piece.length)) != piece.xxh3_128:
                return f"has other bytes than its plan records, from {piece.offset:,} on"
    return ""
