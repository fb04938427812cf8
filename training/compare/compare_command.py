"""The command `mmfeat compare`: features → a leaderboard and the model it picks."""

from collections.abc import Sequence

from mmfeat.config import parse_args
from mmfeat.system import waiting_for
from training.columns import check_columns
from training.compare.config import CompareConfig


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and run the comparison."""
    config = parse_args(CompareConfig, arguments, prog="mmfeat compare")
    check_columns(config, "comparison", config.named_fusions, config.named_combinations)
    # Imported late, so that --help and mistyped names do not load torch and scikit-learn.
    with waiting_for("loading torch"):
        from training.compare.run import compare

    compare(config)
