"""Beam's own flags: what a stage does not know goes here."""

import argparse
from collections.abc import Sequence
from difflib import get_close_matches

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from mmfeat.errors import MmfeatError

LOCAL = "FnApiRunner"
"""The default runner: this machine, in this process."""

_SAME_AS_LOCAL = ("DirectRunner", "BundleBasedDirectRunner", "SwitchingDirectRunner")
_REFUSED = {"DaskRunner": "it computes only the last transform of a pipeline"}


def beam_options(flags: Sequence[str]) -> PipelineOptions:
    """Beam's options from the flags a stage did not know.

    `DirectRunner` means FnApiRunner: the other ways it may take download a binary first.

    Raises:
        MmfeatError: a flag that Beam does not know either, or a runner that does not work.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", default=LOCAL)
    known, rest = parser.parse_known_args(list(flags))
    if known.runner in _REFUSED:
        raise MmfeatError(
            f"--runner {known.runner} cannot be used: {_REFUSED[known.runner]}",
            cure=f"Use {LOCAL}, DataflowRunner, FlinkRunner, SparkRunner or PortableRunner",
        )
    runner = LOCAL if known.runner in _SAME_AS_LOCAL else known.runner
    if runner == LOCAL:
        _refuse_unknown(rest)
    return PipelineOptions([f"--runner={runner}", *rest])


def make_pipeline(flags: Sequence[str]) -> beam.Pipeline:
    """An empty pipeline for the runner that the flags name.

    Raises:
        MmfeatError: as `beam_options`, or because the runner refuses its flags.
    """
    options = beam_options(flags)
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:
        lines = [line for line in str(error).splitlines() if not line.endswith("errors: ")]
        raise MmfeatError(f"Apache Beam refuses its flags: {' '.join(lines)}") from error


def is_local(pipeline: beam.Pipeline) -> bool:
    """Whether the pipeline runs in this process."""
    return bool(pipeline.options.view_as(StandardOptions).runner == LOCAL)


def _refuse_unknown(flags: Sequence[str]) -> None:
    """A mistyped flag must not vanish; other runners may bring flags of their own."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    for options in _subclasses(PipelineOptions):
        if add_arguments := vars(options).get("_add_argparse_args"):
            add_arguments.__func__(options, parser)
    unknown = parser.parse_known_args(list(flags))[1]
    if unknown:
        names = [name for action in parser._actions for name in action.option_strings]
        close = get_close_matches(unknown[0].split("=")[0], names, n=1)
        raise MmfeatError(
            "a flag must be one of this command's (see --help) or one of Apache Beam's",
            got=unknown[0],
            cure=f"Did you mean {close[0]}?" if close else "",
        )


def _subclasses(kind: type) -> list[type]:
    direct: list[type] = kind.__subclasses__()
    return direct + [sub for each in direct for sub in _subclasses(each)]
