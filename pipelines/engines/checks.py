"""The checks of each engine, in the order in which they are worth making."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
)

from mmfeat.errors import MmfeatError
from pipelines.engines import dataflow, endpoints, probe, programs
from pipelines.engines.beam_options import (
    EngineOptions,
    is_dataflow,
    is_local,
    runner_name,
)
from pipelines.engines.runners import DATAFLOW, FLINK, PORTABLE, PRISM, SPARK


class Check(NamedTuple):
    """One thing that an engine needs.

    Attributes:
        name: what is checked.
        run: returns what was found, or raises MmfeatError with the cure.
    """

    name: str
    run: Callable[[], str]


def check_engine(options: PipelineOptions) -> None:
    """Check that an engine can run a pipeline, before a stage plans or writes anything.

    Workers that the engine starts itself run one element first: nothing else shows in time that
    they cannot start. Workers of Dataflow take minutes, so it is left out there.

    Args:
        options: of `beam_options`. The programs that were found are entered.

    Raises:
        MmfeatError: what the engine lacks, and the cure.
    """
    for check in engine_checks(options):
        check.run()
    skipped = is_local(options) or is_dataflow(options)
    if not skipped and probe.has_remote_workers(options):
        probe.check_workers(options, seconds=options.view_as(EngineOptions).engine_timeout)


def engine_checks(options: PipelineOptions) -> Iterator[Check]:
    """Yield the checks of the engine that the options name, without its workers."""
    runner = runner_name(options)
    portable = options.view_as(PortableOptions)
    endpoint = portable.job_endpoint
    if runner == DATAFLOW:
        yield Check("packages", lambda: dataflow.find_packages(options))
        yield Check("options", lambda: dataflow.check_options(options))
        yield Check("credentials", lambda: dataflow.check_credentials(options))
        yield Check("buckets", lambda: dataflow.check_buckets(options))
    elif endpoint == "embed":
        yield Check("job server", lambda: "in this process")
    elif endpoint:
        yield Check("job server", lambda: endpoints.ask_job_server(endpoint))
    elif runner == PORTABLE:
        yield Check("job server", _refuse_no_endpoint)
    elif runner == PRISM:
        portable.environment_type = portable.environment_type or "LOOPBACK"
        yield Check("binary", lambda: programs.find_prism(options))
    elif runner == FLINK:
        master = options.view_as(FlinkRunnerOptions).flink_master
        yield from _java_checks(options, programs.find_flink_jar, master, "--flink_master")
    elif runner == SPARK:
        master = options.view_as(SparkRunnerOptions).spark_master_url
        yield from _java_checks(options, programs.find_spark_jar, master, "--spark_master_url")


def _java_checks(
    options: PipelineOptions,
    find_jar: Callable[[PipelineOptions], str],
    master: str,
    master_option: str,
) -> Iterator[Check]:
    """Yield the checks of an engine whose job server Beam starts from a jar."""
    yield Check("Java", lambda: programs.find_java(options))
    yield Check("jar", lambda: find_jar(options))
    if ":" in master:
        yield Check("master", lambda: endpoints.connect(master, master_option))
    else:  # a cluster in the process of the job server
        portable = options.view_as(PortableOptions)
        portable.environment_type = portable.environment_type or "LOOPBACK"


def _refuse_no_endpoint() -> str:
    raise MmfeatError(
        "--runner=Portable needs --job_endpoint=HOST:PORT, the address of a job server",
        cure="--runner=Flink and --runner=Spark start one; --job_endpoint=embed needs none",
    )
