"""The command `mmfeat`: find a command by its name and run it."""

import sys
from collections.abc import Sequence

from mmfeat.cli.commands import COMMANDS as STAGE_COMMANDS
from mmfeat.cli.commands import load_main
from mmfeat.errors import suggest
from mmfeat.system import Main, print_err, print_out, run_main
from mmfeat.version import __version__

COMMANDS = {
    "quickstart": "run every stage on a small generated dataset",
    **STAGE_COMMANDS,
}


def usage() -> str:
    """Return the text of `mmfeat --help`."""
    lines = [f"  {name:<12} {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mmfeat COMMAND …",
            "",
            "Multimodal features at scale: shard, extract once, train many fusions, score.",
            "",
            "commands:",
            *lines,
            "",
            "mmfeat COMMAND --help explains a command. mmfeat --version prints the version.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print_out(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print_out(f"mmfeat {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        word = name.lower()
        close = next((c for c in COMMANDS if c.startswith(word)), suggest(word, COMMANDS))
        hint = f"Did you mean: mmfeat {close}?" if close else f"\n\n{usage()}"
        print_err(f"mmfeat: error: no command {name!r}. {hint}".replace(". \n", "\n"))
        return 2
    return run_main(lambda rest: _load(name)(rest), rest)


def _load(command: str) -> Main:
    if command == "quickstart":
        from mmfeat.cli.quickstart.command import main as quickstart

        return quickstart
    return load_main(command)
