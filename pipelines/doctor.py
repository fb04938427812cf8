"""The command `mmfeat doctor`: whether an engine can run the stages."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mmfeat.config import flag_names, parse_known_args
from mmfeat.errors import MmfeatError
from mmfeat.system import explain_os_error, show_table


@dataclass
class DoctorConfig:
    """Check an engine: its programs, its job server, credentials, its workers.

    A pipeline of one element runs on the engine and compares Python and the packages of a worker
    with those of this machine. The flags of the engine are those of `mmfeat shard`, `extract` and
    `score`: --runner=Prism, --runner=Portable --job_endpoint=HOST:PORT, --runner=Flink, …
    """

    output: str = ""
    """Also check that workers share this storage with this machine. A folder beside it is written
    and removed."""
    submit: bool = False
    """On Dataflow, submit the pipeline, too. It takes minutes and costs money: give it
    --engine_timeout=900."""


def main(arguments: Sequence[str]) -> None:
    """Print a table of checks.

    Raises:
        MmfeatError: a check has failed.
    """
    config, beam_flags = parse_known_args(DoctorConfig, arguments, prog="mmfeat doctor")
    rows = list(_check(config, beam_flags))
    show_table("mmfeat doctor", ["check", "", "found"], rows)
    failed = sum(status == "failed" for _, status, _ in rows)
    if failed:
        raise MmfeatError(f"{failed} of {len(rows)} checks failed", cure="The table has the cures")


def _check(config: DoctorConfig, beam_flags: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the name of each check, `ok`, `failed` or `left out`, and what was found."""
    # Beam loads slowly. --help does not wait for it.
    from pipelines import engines

    options = engines.beam_options(beam_flags, flag_names(DoctorConfig))
    failed = False
    for check in engines.engine_checks(options):
        row = _run(check.name, check.run)
        failed = failed or row[1] == "failed"
        yield row
    if failed:
        yield "workers", "left out", "a check above has failed"
    elif engines.is_dataflow(options) and not config.submit:
        yield (
            "workers",
            "left out",
            "a job on Dataflow takes minutes: give --submit --engine_timeout=900",
        )
    else:
        yield _run(
            "workers",
            lambda: engines.check_workers(
                options,
                packages=engines.COMPARED,
                output=config.output,
                seconds=options.view_as(engines.EngineOptions).engine_timeout,
            ),
        )


def _run(name: str, run: Callable[[], str]) -> tuple[str, str, str]:
    try:
        return name, "ok", run()
    except MmfeatError as error:
        return name, "failed", str(error)
    except OSError as error:
        return name, "failed", str(explain_os_error(error))
