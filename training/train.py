"""The command `mmfeat train`: train a model on features."""

import sys
from collections.abc import Sequence

from mmfeat.config import parse_args
from mmfeat.system import run_main, waiting_for
from training.columns import check_columns
from training.config import TrainConfig


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    config = parse_args(TrainConfig, arguments, prog="mmfeat train")
    check_columns(config, "model", config.named_fusions, [config.model.combination])
    # Imported late: --help and mistyped names must not wait for torch and scikit-learn.
    with waiting_for("loading torch"):
        from training.search.run import train

    train(config)


if __name__ == "__main__":
    sys.exit(run_main(main))
