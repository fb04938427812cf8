"""Explain why tars have no images, audio or texts."""

from collections import Counter
from itertools import islice

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.shards import index_tar
from mmfeat.sources.folders import format_types

SNIFFED_SAMPLES = 100
"""Samples of a tar that are read to find the slots."""


def no_media_error(path: str) -> MmfeatError:
    """Return the error for tars without media, with what the first of them holds."""
    members: Counter[str] = Counter()
    problems: dict[str, str] = {}
    try:
        for sample in islice(index_tar(path, members), SNIFFED_SAMPLES):
            members.update(f".{extension}" for extension in sample.members)
            problems |= dict(sample.problems.values())
    except RecordError as error:
        if not members:
            return MmfeatError(
                "tars must be complete and not compressed, because their members are read by "
                "position",
                got=f"{path}: {error.detail}",
                cure="Decompress it, download it again, or name other tars",
            )
    if problems:
        return MmfeatError(
            f"no usable images, audio or texts found in {path}",
            got="; ".join(problems.values()),
            cure="Pack the files again, as regular members: without --sparse, with --dereference "
            "--hard-dereference",
        )
    return MmfeatError(
        f"no images, audio or texts found in the first {SNIFFED_SAMPLES} samples of {path}",
        got=format_types(members) or "no members",
        cure="Name WebDataset tars, whose members are KEY.jpg, KEY.txt, …",
    )
