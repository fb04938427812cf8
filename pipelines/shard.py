"""`mmfeat shard`: raw records → shards."""

import sys
import tempfile
from collections.abc import Sequence

from mmfeat.cli import run_stage
from mmfeat.console import show_summary
from mmfeat.options import parse_known
from mmfeat.shard_config import ShardConfig
from mmfeat.shard_plan import dry_run
from mmfeat.sharding import Sharding
from pipelines.workers import warm_up


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and run the stage."""
    config, beam_flags = parse_known(ShardConfig, arguments, prog="mmfeat shard")
    if config.dry_run:
        with tempfile.TemporaryDirectory(prefix="mmfeat-dry-run-") as folder:
            show_summary(f"shard {config.input}, a dry run", dry_run(config, folder))
        return
    warm_up()
    from pipelines.run import run  # Beam loads slowly; help and mistakes answer at once

    run(Sharding(config), beam_flags)


if __name__ == "__main__":
    sys.exit(run_stage("shard", sys.argv[1:]))
