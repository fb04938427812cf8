"""`mmfeat shard`: raw records → shards."""

import sys
import tempfile
from collections.abc import Sequence

from mmfeat.config.flags import parse_known
from mmfeat.sharding.config import ShardConfig
from mmfeat.sharding.layout import dry_run
from mmfeat.sharding.stage import Sharding
from mmfeat.system.console import show_summary
from mmfeat.system.entry import run_main
from pipelines.worker_pool import warm_up


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
    sys.exit(run_main(main))
