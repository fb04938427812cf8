"""The command `mmfeat shard`: raw records → shards."""

import sys
import tempfile
from collections.abc import Sequence

from mmfeat.config import parse_known_args
from mmfeat.sharding import ShardConfig, Sharding, dry_run
from mmfeat.system import run_main, show_summary
from pipelines.shard_workers import warm_up


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and run the stage."""
    config, beam_flags = parse_known_args(ShardConfig, arguments, prog="mmfeat shard")
    if config.dry_run:
        with tempfile.TemporaryDirectory(prefix="mmfeat-dry-run-") as folder:
            show_summary(f"shard {config.input}, a dry run", dry_run(config, folder))
        return
    warm_up()
    # Beam loads slowly. --help and a mistyped flag do not wait for it.
    from pipelines.run_stage import run_stage

    run_stage(Sharding(config), beam_flags)


if __name__ == "__main__":
    sys.exit(run_main(main))
