"""The command `mmfeat evaluate`: quality of a model on a split."""

import sys
from collections.abc import Sequence

from mmfeat.config.flags import parse
from mmfeat.system.entry import run_main
from training.config import EvaluateConfig


def main(arguments: Sequence[str]) -> None:
    """Run the stage."""
    config = parse(EvaluateConfig, arguments, prog="mmfeat evaluate")
    # Here and not above: --help and a mistyped flag shall not wait for torch and scikit-learn.
    from training.evaluation.evaluation import evaluate

    evaluate(config)


if __name__ == "__main__":
    sys.exit(run_main(main))
