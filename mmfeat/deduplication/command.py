"""The command `mmfeat dedup`."""

from collections.abc import Sequence

from mmfeat.config import parse_args
from mmfeat.deduplication.config import DedupConfig
from mmfeat.store import check_finished, check_output


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and find the groups."""
    config = parse_args(DedupConfig, arguments, prog="mmfeat dedup")
    check_output(config.output, "duplicates")
    check_finished(config.features, "features")
    from mmfeat.deduplication.dedup_store import dedup_store  # SciPy loads slowly

    dedup_store(config)
