"""The commands of `mmfeat` and their main functions."""

import importlib

from mmfeat.import_path import check_package
from mmfeat.system import Main

COMMANDS = {
    "shard": "raw records → shards (WebDataset tars)",
    "extract": "shards → features, by frozen encoders, once",
    "train": "features → model: a fusion and a classifier",
    "compare": "compare fusions by quality and cost, pick the best",
    "evaluate": "model + features → metrics of a split",
    "score": "model + features → predictions",
    "export": "features or predictions → files for other tools",
    "search": "records nearest to a record, a text or an image",
    "dedup": "groups of near-duplicates on cached features",
    "audit": "suspected label errors, conflicts and outliers",
    "align-report": "rank records by how much their modalities disagree",
    "report": "one HTML page about a model or a comparison",
    "verify": "whether a store is as it was written",
    "info": "what a store contains",
    "preview": "one page with records of a store: pictures, texts, sounds, predictions",
    "show": "everything about one record",
    "doctor": "whether an engine (Flink, Spark, Dataflow, …) can run the stages",
}
"""Command → its line in `mmfeat --help`, except `quickstart` and `completion`."""

QUICKSTART = "run every stage on a small generated dataset"
COMPLETION = "completion of commands and flags in bash, zsh and fish"
"""Lines of the other commands."""

_CONFIGS = {
    "shard": ("mmfeat.sharding", "ShardConfig"),
    "extract": ("mmfeat.extraction", "ExtractConfig"),
    "train": ("training.config", "TrainConfig"),
    "compare": ("training.compare.config", "CompareConfig"),
    "evaluate": ("training.evaluation.config", "EvaluateConfig"),
    "score": ("mmfeat.scoring", "ScoreConfig"),
    "export": ("mmfeat.exporting", "ExportConfig"),
    "search": ("mmfeat.retrieval", "SearchConfig"),
    "dedup": ("mmfeat.deduplication", "DedupConfig"),
    "audit": ("training.audit.config", "AuditConfig"),
    "align-report": ("training.alignment.config", "AlignReportConfig"),
    "report": ("training.report.report_command", "ReportConfig"),
    "verify": ("mmfeat.cli.verify", "VerifyConfig"),
    "info": ("mmfeat.cli.info", "InfoConfig"),
    "preview": ("mmfeat.inspection.config", "PreviewConfig"),
    "show": ("mmfeat.inspection.config", "ShowConfig"),
    "doctor": ("pipelines.doctor", "DoctorConfig"),
}
"""Command → module and name of the dataclass of its options."""

_MMFEAT_ALONE = ("dedup", "export", "search", "verify", "info", "preview", "show")
"""Commands that import neither `pipelines` nor `training`."""


def load_main(command: str) -> Main:
    """Import the main function of a command. `mmfeat --help` imports none of them.

    Raises:
        MmfeatError: a user's package on PYTHONPATH hides the one of mmfeat.
    """
    if command not in _MMFEAT_ALONE:
        in_pipelines = command in ("shard", "extract", "score", "doctor")
        check_package("pipelines" if in_pipelines else "training")
    match command:
        case "shard":
            from pipelines.shard import main
        case "extract":
            from pipelines.extract import main
        case "train":
            from training.train import main
        case "compare":
            from training.compare.compare_command import main
        case "evaluate":
            from training.evaluate import main
        case "score":
            from pipelines.score import main
        case "export":
            from mmfeat.exporting.command import main
        case "search":
            from mmfeat.retrieval.command import main
        case "dedup":
            from mmfeat.deduplication.command import main
        case "audit":
            from training.audit.command import main
        case "align-report":
            from training.alignment.align_report import main
        case "report":
            from training.report.report_command import main
        case "verify":
            from mmfeat.cli.verify import main
        case "info":
            from mmfeat.cli.info import main
        case "preview":
            from mmfeat.cli.preview import main
        case "show":
            from mmfeat.cli.show import main
        case "doctor":
            from pipelines.doctor import main
        case _:
            raise KeyError(command)
    return main


def load_config(command: str) -> type:
    """Import the dataclass of the options of a command. Each field is an argument."""
    module, name = _CONFIGS[command]
    found: type = getattr(importlib.import_module(module), name)
    return found
