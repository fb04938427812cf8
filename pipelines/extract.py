"""`mmfeat extract`: shards → features."""

import sys
from collections.abc import Sequence

from mmfeat.config.flags import parse_known
from mmfeat.extraction.stage import ExtractConfig, Extraction
from mmfeat.system.entry import run_main


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and run the stage."""
    config, beam_flags = parse_known(ExtractConfig, arguments, prog="mmfeat extract")
    from pipelines.run import run  # Beam loads slowly; help and mistakes answer at once

    run(Extraction(config), beam_flags)


if __name__ == "__main__":
    sys.exit(run_main(main))
