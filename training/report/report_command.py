"""The command `mmfeat report`: one page about a model or a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from mmfeat.config import metavar, parse_args
from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from mmfeat.store import CONFIG_FILE, check_folder
from mmfeat.system import print_out

_MAX_WORST = 100


@dataclass(frozen=True)
class ReportConfig:
    """Write report.html into the directory of a finished model or comparison.

    The report is one page with scores, curves and the largest errors with their images and texts.
    It needs no network and no server.
    """

    path: Annotated[str, tyro.conf.Positional, metavar("MODEL")]
    """Directory that `mmfeat train` or `mmfeat compare` wrote."""
    shards: str | None = None
    """Directory of the shards, for images and texts of the largest errors; None = find it through
    the features of the model."""
    worst: int = 24
    """Number of rows with the largest loss to show, at most 100."""

    def __post_init__(self) -> None:
        if not 0 <= self.worst <= _MAX_WORST:
            raise MmfeatError(f"--worst must be between 0 and {_MAX_WORST}", got=self.worst)


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and write the page."""
    print_out(write_report(parse_args(ReportConfig, arguments, prog="mmfeat report")))


def write_report(config: ReportConfig) -> str:
    """Write the page, and return its path.

    Raises:
        MmfeatError: the folder has no finished model or comparison.
    """
    saved = files.read_json(files.join(config.path, CONFIG_FILE))
    kind = saved.get("kind") if isinstance(saved, dict) else None
    if kind is None:
        check_folder(config.path)
    # Imported late, so that --help and errors in flags do not load matplotlib.
    from training.report import LEADERBOARD, write_compare_report, write_model_report

    if files.exists(files.join(config.path, LEADERBOARD)):
        return write_compare_report(config.path)
    if kind == "model":
        return write_model_report(config.path, shards=config.shards, worst=config.worst)
    if kind == "comparison":
        raise MmfeatError(
            f"the comparison in {config.path} is not finished",
            cure="Run mmfeat compare again with the same options; it continues",
        )
    raise MmfeatError(
        f"{config.path} must hold a model or a comparison",
        got=kind,
        cure="Train a model with: mmfeat train FEATURES OUTPUT --target COLUMN",
    )
