"""The command `mmfeat compare`: features → a leaderboard and the model it picks."""

from collections.abc import Sequence

from mmfeat.config.flags import parse
from training.compare.config import CompareConfig


def main(arguments: Sequence[str]) -> None:
    """Run the stage."""
    config = parse(CompareConfig, arguments, prog="mmfeat compare")
    # Here and not above: --help and a mistyped flag shall not wait for torch and scikit-learn.
    from training.compare.run import compare

    compare(config)
