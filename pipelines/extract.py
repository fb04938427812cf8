"""`mmfeat extract`: shards → features."""

import sys
from collections.abc import Sequence

from mmfeat.cli import run_stage
from mmfeat.extraction import ExtractConfig, Extraction
from mmfeat.options import parse_known


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and run the stage."""
    config, beam_flags = parse_known(ExtractConfig, arguments, prog="mmfeat extract")
    from pipelines.run import run  # Beam loads slowly; help and mistakes answer at once

    run(Extraction(config), beam_flags)


if __name__ == "__main__":
    sys.exit(run_stage("extract", sys.argv[1:]))
