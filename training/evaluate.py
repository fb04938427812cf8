"""The command `mmfeat evaluate`: quality of a model on a split."""

from collections.abc import Sequence

from mmfeat.options import parse
from training.config import EvaluateConfig


def main(arguments: Sequence[str]) -> None:
    """Run the stage."""
    config = parse(EvaluateConfig, arguments, prog="mmfeat evaluate")
    # Here and not above: --help and a mistyped flag shall not wait for torch and scikit-learn.
    from training.evaluation import evaluate

    evaluate(config)


if __name__ == "__main__":
    import sys

    from mmfeat.cli import guarded

    sys.exit(guarded(lambda: main(sys.argv[1:])))
