"""The command `mmfeat shard`: raw records → shards."""

import shlex
import sys
from collections.abc import Sequence

from mmfeat.config import flag_names, parse_known_args
from mmfeat.sharding import ShardConfig, Sharding, dry_run
from mmfeat.system import run_main, scratch_folder, show_summary, waiting_for
from pipelines.finished_stage import find_finished
from pipelines.worker import warm_up


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and run the stage."""
    config, beam_flags = parse_known_args(ShardConfig, arguments, prog="mmfeat shard")
    if config.dry_run:
        if beam_flags:
            from pipelines.engines import beam_options, make_pipeline

            make_pipeline(beam_options(beam_flags, flag_names(ShardConfig)))  # refuses bad flags
        with scratch_folder() as folder:
            show_summary(f"shard {config.input}, a dry run", dry_run(config, folder))
        return
    retry_flags = () if config.retry_failed else ("--retry-failed",)
    retry_command = shlex.join(["mmfeat", "shard", *arguments, *retry_flags])
    stage = Sharding(config, retry_command)
    stage.check_inputs()
    if not beam_flags and find_finished(stage):
        return
    warm_up()
    # Beam loads slowly. --help, a mistyped flag or a mistyped path do not wait for it.
    with waiting_for("loading Apache Beam"):
        from pipelines.run_stage import run_stage

    run_stage(stage, beam_flags)


if __name__ == "__main__":
    sys.exit(run_main(main))
