"""`mmfeat shard`: raw records → shards."""

import sys
from collections.abc import Sequence

from mmfeat.cli import run_stage
from mmfeat.options import parse_known
from mmfeat.sharding import ShardConfig, Sharding


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and run the stage."""
    config, beam_flags = parse_known(ShardConfig, arguments, prog="mmfeat shard")
    from pipelines.run import run  # Beam loads slowly; help and mistakes answer at once

    run(Sharding(config), beam_flags)


if __name__ == "__main__":
    sys.exit(run_stage("shard", sys.argv[1:]))
