"""The command `mmfeat align-report`: features → the records whose modalities disagree most."""

from collections.abc import Sequence

from mmfeat.config import parse_args
from mmfeat.store import check_finished, check_output
from mmfeat.system import waiting_for
from training.alignment.config import AlignReportConfig


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and rank the records."""
    config = parse_args(AlignReportConfig, arguments, prog="mmfeat align-report")
    check_output(config.output, "ranking")
    check_finished(config.model, "model")
    check_finished(config.features, "features")
    # Imported late, so that --help and mistyped paths do not load torch.
    with waiting_for("loading torch"):
        from training.alignment.rank_pairs import rank_pairs

    rank_pairs(config)
