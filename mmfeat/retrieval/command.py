"""The command `mmfeat search`."""

from collections.abc import Sequence

from mmfeat.config import parse_args
from mmfeat.retrieval.config import SearchConfig
from mmfeat.retrieval.search import search
from mmfeat.retrieval.write_result import write_result
from mmfeat.store import check_finished


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and search."""
    config = parse_args(SearchConfig, arguments, prog="mmfeat search")
    check_finished(config.features, "features")
    if config.model:
        check_finished(config.model, "model")
    write_result(config, search(config))
