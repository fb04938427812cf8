"""The command `mmfeat train`: features → model."""

import sys
from collections.abc import Sequence

from mmfeat.config.flags import parse
from mmfeat.system.entry import run_main
from training.config import TrainConfig


def main(arguments: Sequence[str]) -> None:
    """Run the stage."""
    config = parse(TrainConfig, arguments, prog="mmfeat train")
    # Here and not above: --help and a mistyped flag shall not wait for torch and scikit-learn.
    from training.fit.train_model import make_model

    make_model(config)


if __name__ == "__main__":
    sys.exit(run_main(main))
