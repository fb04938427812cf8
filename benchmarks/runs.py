"""Runs of programs that encode shards: each in a process of its own, what it took, what it made."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import measure
from benchmarks.contenders import REPOSITORY
from benchmarks.features import key_to_vector, marginal_seconds, settled_precision


@dataclass
class EncodingRun:
    """One run of a program over all records."""

    usage: measure.Usage
    marginal_s: float
    """Seconds in the shards, without start-up."""
    vectors: Mapping[str, Mapping[str, np.ndarray]]
    """Column → key → feature."""
    precision: Mapping[str, str] = field(default_factory=dict)
    """Column → what was chosen; empty where the program has no choice."""


def run(command: list[str], output: Path) -> measure.Usage:
    """Run a command that makes this folder, anew; its log lies beside the folder.

    Raises:
        RuntimeError: it failed.
    """
    shutil.rmtree(output, ignore_errors=True)
    log = output.with_name(f"{output.name}.log")
    return measure.run(command, output=str(output), folder=str(REPOSITORY), log=str(log))


def run_mmfeat(stage: str, source: Path, output: Path, *flags: str) -> measure.Usage:
    """Run one of our own stages.

    Raises:
        RuntimeError: it failed.
    """
    program = [sys.executable, "-m", "mmfeat", stage]
    return run([*program, str(source), str(output), *flags], output)


def run_extract(
    shards: Path, output: Path, encoders: Mapping[str, str], threads: int, *flags: str
) -> EncodingRun:
    """Run `mmfeat extract` on the CPU; the encoders are column → encoder.

    Raises:
        RuntimeError: it failed.
    """
    chosen = [f"--encoder={column}={encoder}" for column, encoder in encoders.items()]
    machine = ("--device=cpu", f"--threads={threads}")
    usage = run_mmfeat("extract", shards, output, *chosen, *flags, *machine)
    return EncodingRun(
        usage,
        marginal_seconds(output, next(iter(encoders))),
        vectors={column: key_to_vector(output, column) for column in encoders},
        precision={column: settled_precision(output, column) for column in encoders},
    )
