"""The command `mmfeat`: find a command by its name and run it."""

import sys
from collections.abc import Sequence

from mmfeat import __version__
from mmfeat.cli.commands import COMMANDS as STAGE_COMMANDS
from mmfeat.cli.commands import Command
from mmfeat.system.console import note, say
from mmfeat.system.entry import Main, run_main


def _quickstart() -> Main:
    from mmfeat.cli.quickstart import main

    return main


COMMANDS = {
    "quickstart": Command(_quickstart, "run every stage on a small generated dataset"),
    **STAGE_COMMANDS,
}


def usage() -> str:
    """The text of `mmfeat --help`."""
    lines = [f"  {name:<12} {command.summary}" for name, command in COMMANDS.items()]
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
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        say(f"mmfeat {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        note(f"mmfeat: error: no command {name!r}\n\n{usage()}")
        return 2
    return run_main(lambda rest: COMMANDS[name].load()(rest), rest)
