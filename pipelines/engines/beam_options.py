"""Options of Apache Beam, from the flags that a stage does not know."""

import argparse
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)

from mmfeat.errors import MmfeatError, UsageError, suggest
from mmfeat.system import console
from pipelines.engines.loopback import bind_to_loopback
from pipelines.engines.runners import (
    DATAFLOW,
    LOCAL_RUNNER,
    PRISM,
    find_runner,
    refuse_settings,
)

_ALMOST = 0.8
"""A flag this similar to one of the command is a typing error."""

_EXPOSURE = (
    "mmfeat: warning: Prism opens a port without a password on all network interfaces. Block it "
    "with a firewall or a network namespace (docs/runners.md)"
)


class EngineOptions(PipelineOptions):
    """Flags of mmfeat beside those of Beam."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--engine_timeout",
            type=int,
            default=120,
            help="Seconds that the workers of an engine have to start and do a first element.",
        )


def make_pipeline(options: PipelineOptions) -> beam.Pipeline:
    """Return an empty pipeline.

    Servers of the runner in this process listen on the loopback interface. The user is warned of a
    runner whose servers mmfeat cannot keep off the network.

    Args:
        options: of `beam_options`.

    Raises:
        MmfeatError: the runner refuses its options.
    """
    bind_to_loopback()
    if runner_name(options) == PRISM and not options.view_as(PortableOptions).job_endpoint:
        console.print_err(_EXPOSURE)
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:
        lines = [line for line in str(error).splitlines() if not line.endswith("errors: ")]
        raise MmfeatError(f"Apache Beam refuses its flags: {' '.join(lines)}") from error


def beam_options(flags: Sequence[str], own_flags: Sequence[str] = ()) -> PipelineOptions:
    """Parse the options of Beam.

    Args:
        flags: the flags that the command does not know.
        own_flags: the flags of the command, which a mistyped flag may mean.

    Raises:
        MmfeatError: a flag is unknown, or the runner or a setting cannot be used.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", default=LOCAL_RUNNER)
    known, rest = parser.parse_known_args(list(flags))
    runner = find_runner(known.runner)
    _refuse_unknown_flags(rest, own_flags, any_unknown=runner == LOCAL_RUNNER)
    options = PipelineOptions([f"--runner={runner}", *rest])
    refuse_settings(options.get_all_options())
    portable = options.view_as(PortableOptions)
    if portable.job_endpoint == "embed" and not portable.environment_type:
        portable.environment_type = "LOOPBACK"  # Beam's default asks for Docker
    return options


def runner_name(options: PipelineOptions) -> str:
    """Return the name of the runner, one of `pipelines.engines.runners`."""
    return str(options.view_as(StandardOptions).runner)


def is_local(options: PipelineOptions) -> bool:
    """Return whether the pipeline runs in this process."""
    return runner_name(options) == LOCAL_RUNNER


def is_dataflow(options: PipelineOptions) -> bool:
    """Return whether the pipeline runs on Dataflow."""
    return runner_name(options) == DATAFLOW


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
