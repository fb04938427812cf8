"""The command `mmfeat train`: features → model."""

from collections.abc import Sequence

from mmfeat.options import parse
from training.config import TrainConfig


def main(arguments: Sequence[str]) -> None:
    """Run the stage."""
    config = parse(TrainConfig, arguments, prog="mmfeat train")
    # Here and not above: --help and a mistyped flag shall not wait for torch and scikit-learn.
    from training.make_model import make_model

    make_model(config)


if __name__ == "__main__":
    import sys

    from mmfeat.cli import guarded

    sys.exit(guarded(lambda: main(sys.argv[1:])))
