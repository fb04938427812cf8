"""Prepare the process of a command before anything heavy is imported."""

import os
import sys

from mmfeat.startup.interrupts import (
    describe_interrupt,
    exit_on_interrupts,
    raise_interrupts,
    was_interrupted,
)
from mmfeat.startup.process_end import end_early, set_exit_code

__all__ = [
    "describe_interrupt",
    "prepare_command",
    "raise_interrupts",
    "set_exit_code",
    "was_interrupted",
]


def prepare_command() -> None:
    """Prepare this process if it runs a command of mmfeat, not code that imports mmfeat.

    While `python -m` looks for the module to run, the first argument is `-m`.
    """
    argument = next(iter(getattr(sys, "argv", [])), "")
    if argument == "-m" or os.path.basename(argument) == "mmfeat":
        exit_on_interrupts()
        end_early()
        # Loads more modules, for which Ctrl-C need not wait.
        from mmfeat.startup.streams import open_standard_streams, tolerate_lost_output

        open_standard_streams()
        tolerate_lost_output()
