"""The command `mmfeat report`: one page about a model or a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from mmfeat.config.flags import argument, parse
from mmfeat.errors import MmfeatError
from mmfeat.store import files
from mmfeat.store.directory import CONFIG
from mmfeat.system.console import say

_MOST = 100


@dataclass(frozen=True)
class ReportConfig:
    """Write report.html into the directory of a finished model or comparison.

    One page with scores, curves, errors and their pictures; it needs no network and no server.
    """

    path: Annotated[str, tyro.conf.Positional, argument("MODEL")]
    """Directory that `mmfeat train` or `mmfeat compare` wrote."""
    shards: str | None = None
    """Directory of the shards, for pictures and texts of the worst errors; None = where the
    features of the model say they are."""
    worst: int = 24
    """Rows with the largest loss to show, at most 100."""

    def __post_init__(self) -> None:
        if not 0 <= self.worst <= _MOST:
            raise MmfeatError(f"--worst must lie between 0 and {_MOST}", got=self.worst)


def main(arguments: Sequence[str]) -> None:
    """Write the page."""
    config = parse(ReportConfig, arguments, prog="mmfeat report")
    claim = files.read_json(files.join(config.path, CONFIG))
    kind = claim.get("kind") if isinstance(claim, dict) else None
    # Here and not above: --help and a mistyped flag shall not wait for matplotlib.
    from training import report

    if files.exists(files.join(config.path, report.LEADERBOARD)):
        say(report.write_compare_report(config.path))
    elif kind == "model":
        say(report.write_model_report(config.path, shards=config.shards, worst=config.worst))
    else:
        raise MmfeatError(
            f"{config.path} must hold a model or a comparison",
            got=kind,
            cure="Make one with: mmfeat train FEATURES OUTPUT --target COLUMN",
        )
