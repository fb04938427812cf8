"""The commands of `mmfeat`: name, module and summary."""

from importlib import import_module
from typing import NamedTuple

from mmfeat.system import Main


class Command(NamedTuple):
    """A command.

    Attributes:
        module: the module of its `main` function. It is imported when the command runs, so that
            `mmfeat --help` imports nothing heavy.
        summary: the line in `mmfeat --help`.
    """

    module: str
    summary: str

    def load(self) -> Main:
        """Import the main function."""
        main: Main = import_module(self.module).main
        return main


COMMANDS = {
    "shard": Command("pipelines.shard", "raw records → shards (WebDataset tars)"),
    "extract": Command("pipelines.extract", "shards → features, by frozen encoders, once"),
    "train": Command("training.train", "features → model: a fusion and a head"),
    "compare": Command(
        "training.compare.compare_command", "compare fusions by quality and cost, pick the best"
    ),
    "evaluate": Command("training.evaluate", "model + features → metrics of a split"),
    "score": Command("pipelines.score", "model + features → predictions"),
    "align-report": Command(
        "training.alignment.align_report", "rank records by how much their modalities disagree"
    ),
    "report": Command(
        "training.report.report_command", "one HTML page about a model or a comparison"
    ),
    "info": Command("mmfeat.cli.info", "what a store contains"),
}
"""Every command except `quickstart`, which runs the others."""
