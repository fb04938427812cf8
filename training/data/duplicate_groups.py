"""Groups of near-duplicates in the place of a group column: --group-column DIRECTORY."""

from functools import lru_cache

from mmfeat.deduplication import DuplicateGroups, read_groups
from mmfeat.errors import MmfeatError
from mmfeat.system import is_http


@lru_cache(4)
def load_groups(folder: str, sha256: str) -> DuplicateGroups:
    """Return the groups of `mmfeat dedup`, read once per process.

    Args:
        folder: its output.
        sha256: digest of the groups that a split rule was made with; empty = any.

    Raises:
        MmfeatError: the folder has no groups, or others.
    """
    if is_http(folder):
        raise MmfeatError("groups of near-duplicates are not read from the web", got=folder)
    groups = read_groups(folder)
    if sha256 and groups.sha256 != sha256:
        raise MmfeatError(
            f"the groups in {folder} must be those that the model was trained with ({sha256[:12]})",
            got=groups.sha256[:12],
            cure="Restore them, or evaluate with --split all",
        )
    return groups
