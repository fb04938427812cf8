"""The command `mmfeat extract`: shards → features."""

import sys
from collections.abc import Sequence

from mmfeat.config import parse_known_args
from mmfeat.extraction import ExtractConfig, Extraction
from mmfeat.system import run_main, waiting_for
from pipelines.finished_stage import find_finished


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and run the stage."""
    config, beam_flags = parse_known_args(ExtractConfig, arguments, prog="mmfeat extract")
    stage = Extraction(config)
    stage.check_inputs()
    if not beam_flags and find_finished(stage):
        return
    # Beam loads slowly. --help, a mistyped flag or a mistyped path do not wait for it.
    with waiting_for("loading Apache Beam"):
        from pipelines.run_stage import run_stage

    run_stage(stage, beam_flags)


if __name__ == "__main__":
    sys.exit(run_main(main))
