"""The command `mmfeat evaluate`: evaluate a model on a split."""

import sys
from collections.abc import Sequence

from mmfeat.config import parse_args
from mmfeat.store import check_finished
from mmfeat.system import run_main, waiting_for
from training.evaluation.config import EvaluateConfig


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    config = parse_args(EvaluateConfig, arguments, prog="mmfeat evaluate")
    check_finished(config.model, "model")
    check_finished(config.features, "features")
    # Imported late: --help and mistyped paths must not wait for torch and scikit-learn.
    with waiting_for("loading torch"):
        from training.evaluation.evaluate_model import evaluate

    evaluate(config)


if __name__ == "__main__":
    sys.exit(run_main(main))
