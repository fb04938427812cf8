"""The command `mmfeat`: find a command by its name and run it."""

from collections.abc import Sequence

from mmfeat.cli.commands import COMMANDS as STAGE_COMMANDS
from mmfeat.cli.commands import COMPLETION, QUICKSTART, load_main
from mmfeat.errors import UsageError, suggest
from mmfeat.startup import set_exit_code
from mmfeat.system import Main, print_out, run_main
from mmfeat.version import __version__

COMMANDS = {
    "quickstart": QUICKSTART,
    **STAGE_COMMANDS,
    "completion": COMPLETION,
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
    code = run_main(_run, arguments)
    set_exit_code(code)
    return code


def _run(arguments: Sequence[str]) -> None:
    if not arguments:
        print_out(usage())
        raise SystemExit(2)
    name, *rest = arguments
    if name in ("-h", "--help", "help"):
        print_out(usage())
    elif name == "--version":
        print_out(f"mmfeat {__version__}")
    elif name in COMMANDS:
        _load(name)(rest)
    else:
        word = name.lower()
        close = next((c for c in COMMANDS if c.startswith(word)), suggest(word, COMMANDS))
        hint = f". Did you mean: mmfeat {close}?" if close else f"\n\n{usage()}"
        raise UsageError(f"no command {name!r}{hint}")


def _load(command: str) -> Main:
    if command == "quickstart":
        from mmfeat.cli.quickstart.command import main as quickstart

        return quickstart
    if command == "completion":
        from mmfeat.cli.completion import main as completion

        return completion
    return load_main(command)
