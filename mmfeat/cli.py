"""The command `mmfeat`: finds the main of a stage by name, and turns errors into one line."""

import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence

from mmfeat import __version__
from mmfeat.console import note, say
from mmfeat.errors import MmfeatError

COMMANDS = {
    "quickstart": ("mmfeat.quickstart", "the whole way on a small generated dataset"),
    "shard": ("pipelines.shard", "raw records → shards (WebDataset tars)"),
    "extract": ("pipelines.extract", "shards → features, by frozen encoders, once"),
    "train": ("training.train", "features → model: a fusion and a head"),
    "compare": ("training.compare.main", "fusions by quality and cost, and the one to take"),
    "evaluate": ("training.evaluate", "quality of a model on a split"),
    "score": ("pipelines.score", "model + features → predictions"),
    "align-report": ("training.align_report", "records whose modalities disagree most"),
    "report": ("training.report_command", "one page about a model or a comparison"),
    "info": ("mmfeat.info", "what a directory of mmfeat holds"),
}


def usage() -> str:
    """The text of `mmfeat --help`."""
    lines = [f"  {name:<12} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mmfeat COMMAND …",
            "",
            "Multimodal features at scale: shard, extract once, fuse again and again, score.",
            "",
            "commands:",
            *lines,
            "",
            "mmfeat COMMAND --help explains a command; mmfeat --version prints the version.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        say(f"mmfeat {__version__}")
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        note(f"mmfeat: error: no command {command!r}\n\n{usage()}")
        return 2
    return run_stage(command, rest)


def run_stage(command: str, arguments: Sequence[str]) -> int:
    """Run a stage's main under the command's name; returns the exit code.

    The environment variable MMFEAT_LOG sets how much libraries log; ERROR when not set.
    """
    logging.basicConfig(level=os.environ.get("MMFEAT_LOG", "ERROR").upper())

    def stage() -> None:
        importlib.import_module(COMMANDS[command][0]).main(list(arguments))

    return guarded(stage)


def guarded(action: Callable[[], None]) -> int:
    """Run an action; a user's mistake or the disk's refusal becomes one line and exit code 1."""
    try:
        action()
    except MmfeatError as error:
        note(f"mmfeat: error: {error}")
        return 1
    except OSError as error:
        note(f"mmfeat: error: {error}. Nothing half-written remains; run the same command again")
        return 1
    except KeyboardInterrupt:
        note("mmfeat: interrupted. The same command goes on where it stopped")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
