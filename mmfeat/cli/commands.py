"""The commands of `mmfeat`: name, main function, summary.

Each main function is imported when its command runs, so that `mmfeat --help` loads nothing heavy.
"""

from collections.abc import Callable
from typing import NamedTuple

from mmfeat.system.entry import Main


class Command(NamedTuple):
    """A command: a function that imports its main function, and the summary shown by --help."""

    load: Callable[[], Main]
    summary: str


def _shard() -> Main:
    from pipelines.shard import main

    return main


def _extract() -> Main:
    from pipelines.extract import main

    return main


def _train() -> Main:
    from training.train import main

    return main


def _compare() -> Main:
    from training.compare.main import main

    return main


def _evaluate() -> Main:
    from training.evaluate import main

    return main


def _score() -> Main:
    from pipelines.score import main

    return main


def _align_report() -> Main:
    from training.alignment.align_report import main

    return main


def _report() -> Main:
    from training.report.command import main

    return main


def _info() -> Main:
    from mmfeat.cli.info import main

    return main


COMMANDS = {
    "shard": Command(_shard, "raw records → shards (WebDataset tars)"),
    "extract": Command(_extract, "shards → features, by frozen encoders, once"),
    "train": Command(_train, "features → model: a fusion and a head"),
    "compare": Command(_compare, "compare fusions by quality and cost, pick one"),
    "evaluate": Command(_evaluate, "quality of a model on a split"),
    "score": Command(_score, "model + features → predictions"),
    "align-report": Command(_align_report, "rank records by how much their modalities disagree"),
    "report": Command(_report, "one page about a model or a comparison"),
    "info": Command(_info, "what a store contains"),
}
"""Every command but `quickstart`, which runs the others."""
