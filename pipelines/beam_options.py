"""Options of Apache Beam, from the flags that a stage does not know."""

import argparse
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from mmfeat.errors import MmfeatError, UsageError, suggest
from mmfeat.system import console
from pipelines.loopback import bind_to_loopback

LOCAL_RUNNER = "FnApiRunner"
"""The default runner. It runs the pipeline in this process."""

_LOCAL_ALIASES = ("DirectRunner", "BundleBasedDirectRunner", "SwitchingDirectRunner")
_ALMOST = 0.8
"""A flag this similar to one of the command is a typing error."""

_EXPOSED_RUNNERS = ("PrismRunner", "apache_beam.runners.portability.prism_runner.PrismRunner")
_EXPOSURE = (
    "mmfeat: warning: Prism opens a port without a password on all network interfaces. Block it "
    "with a firewall or a network namespace (docs/runners.md)"
)

_REFUSED_RUNNERS = {"DaskRunner": "it computes only the last transform of a pipeline"}


def make_pipeline(flags: Sequence[str], own_flags: Sequence[str] = ()) -> beam.Pipeline:
    """Return an empty pipeline for the runner that the flags name.

    Servers of the runner in this process listen on the loopback interface. The user is warned of a
    runner whose servers mmfeat cannot keep off the network.

    Args:
        flags: the flags that the command does not know.
        own_flags: the flags of the command, which a mistyped flag may mean.

    Raises:
        MmfeatError: as in `beam_options`, or the runner refuses its flags.
    """
    options = beam_options(flags, own_flags)
    bind_to_loopback()
    if options.view_as(StandardOptions).runner in _EXPOSED_RUNNERS:
        console.print_err(_EXPOSURE)
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:
        lines = [line for line in str(error).splitlines() if not line.endswith("errors: ")]
        raise MmfeatError(f"Apache Beam refuses its flags: {' '.join(lines)}") from error


def beam_options(flags: Sequence[str], own_flags: Sequence[str] = ()) -> PipelineOptions:
    """Parse the options of Beam. Arguments as in `make_pipeline`.

    `DirectRunner` means FnApiRunner, since the runners it may select first download a binary.

    Raises:
        MmfeatError: a flag is unknown, or the runner cannot be used.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", default=LOCAL_RUNNER)
    known, rest = parser.parse_known_args(list(flags))
    if known.runner in _REFUSED_RUNNERS:
        raise MmfeatError(
            f"--runner {known.runner} cannot be used: {_REFUSED_RUNNERS[known.runner]}",
            cure=f"Use {LOCAL_RUNNER}, DataflowRunner, FlinkRunner, SparkRunner or PortableRunner",
        )
    runner = LOCAL_RUNNER if known.runner in _LOCAL_ALIASES else known.runner
    _refuse_unknown_flags(rest, own_flags, any_unknown=runner == LOCAL_RUNNER)
    return PipelineOptions([f"--runner={runner}", *rest])


def is_local(pipeline: beam.Pipeline) -> bool:
    """Return whether the pipeline runs in this process."""
    return bool(pipeline.options.view_as(StandardOptions).runner == LOCAL_RUNNER)


def _refuse_unknown_flags(
    flags: Sequence[str], own_flags: Sequence[str], *, any_unknown: bool
) -> None:
    """Refuse mistyped flags, which Beam ignores.

    Other runners may define flags of their own. Of theirs, only those are refused that are almost
    a flag of the command.

    Args:
        flags: flags for Beam.
        own_flags: flags of the command.
        any_unknown: whether to refuse every flag that Beam does not know.
    """
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False, conflict_handler="resolve"
    )
    for options in _subclasses(PipelineOptions):
        if add_arguments := vars(options).get("_add_argparse_args"):
            add_arguments.__func__(options, parser)
    names = [name for action in parser._actions for name in action.option_strings]
    try:
        unknown = parser.parse_known_args(list(flags))[1]
    except argparse.ArgumentError as error:
        raise UsageError(f"a flag of Apache Beam has an error: {error}") from None
    for flag in unknown if any_unknown else [word for word in unknown if word.startswith("-")]:
        name = flag.partition("=")[0]
        own = suggest(name.replace("_", "-").lower(), own_flags, cutoff=_ALMOST)
        close = own or suggest(name, [*names, *own_flags])
        if own or any_unknown:
            raise UsageError(
                "a flag must be one of this command (see --help) or of Apache Beam"
                if flag.startswith("-")
                else "the command takes no further argument",
                got=flag,
                cure=f"Did you mean {close}?" if close else "",
            )


def _subclasses(kind: type) -> list[type]:
    direct: list[type] = kind.__subclasses__()
    return direct + [indirect for each in direct for indirect in _subclasses(each)]
