"""`mmfeat score`: model + features → predictions."""

import sys
from collections.abc import Sequence

from mmfeat.config.flags import parse_known
from mmfeat.scoring.stage import ScoreConfig, Scoring
from mmfeat.system.entry import run_main


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and run the stage."""
    config, beam_flags = parse_known(ScoreConfig, arguments, prog="mmfeat score")
    from pipelines.run import run  # Beam loads slowly; help and mistakes answer at once

    run(Scoring(config), beam_flags)


if __name__ == "__main__":
    sys.exit(run_main(main))
