"""The command `mmfeat evaluate`: evaluate a model on a split."""

import sys
from collections.abc import Sequence

from mmfeat.config import parse_args
from mmfeat.system import run_main
from training.config import EvaluateConfig


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    config = parse_args(EvaluateConfig, arguments, prog="mmfeat evaluate")
    # Imported late: --help and flag errors must not wait for torch and scikit-learn.
    from training.evaluation.evaluate_model import evaluate

    evaluate(config)


if __name__ == "__main__":
    sys.exit(run_main(main))
