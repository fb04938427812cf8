"""The programs that Beam starts on this machine: Prism and the job servers in Java.

Beam would download them when the job is submitted, after the stage was planned. mmfeat asks for
them first.
"""

import os
import shutil
from glob import glob
from urllib.parse import urlsplit

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PrismRunnerOptions,
    SparkRunnerOptions,
)
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer
from apache_beam.runners.portability.prism_runner import PrismJobServer
from apache_beam.runners.portability.spark_runner import SparkJarJobServer
from apache_beam.utils.subprocess_server import JavaJarServer
from apache_beam.version import __version__ as beam_version

from mmfeat.errors import MmfeatError

_PRISM_MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism"


def find_prism(options: PipelineOptions) -> str:
    """Return the binary of Prism: that of `--prism_location`, else `prism` in PATH.

    Raises:
        MmfeatError: there is none.
    """
    prism = options.view_as(PrismRunnerOptions)
    location = prism.prism_location
    if location and urlsplit(location).scheme:
        return f"{location}, which Beam downloads"
    names = "prism", f"apache_beam-v{beam_version}-prism-*[!p]"  # [!p]: not the .zip
    cached = (found for name in names for found in _cached(PrismJobServer.BIN_CACHE, name))
    found = location or shutil.which("prism") or next(cached, "")
    if not found:
        raise MmfeatError(
            "--runner=Prism needs the program prism in PATH or at --prism_location",
            cure=f"Install it with: go install {_PRISM_MODULE}@v{beam_version}",
        )
    if not os.path.isfile(found) or not (os.access(found, os.X_OK) or found.endswith(".zip")):
        raise MmfeatError("--prism_location must be the program prism", got=found)
    prism.prism_location = found
    return found


def find_flink_jar(options: PipelineOptions) -> str:
    """Return the job server of Flink, a jar. Errors as in `find_prism`."""
    flink = options.view_as(FlinkRunnerOptions)
    flink.flink_job_server_jar = _find_jar(
        flink.flink_job_server_jar, FlinkJarJobServer(options), "flink"
    )
    return str(flink.flink_job_server_jar)


def find_spark_jar(options: PipelineOptions) -> str:
    """Return the job server of Spark, a jar. Errors as in `find_prism`."""
    spark = options.view_as(SparkRunnerOptions)
    spark.spark_job_server_jar = _find_jar(
        spark.spark_job_server_jar, SparkJarJobServer(options), "spark"
    )
    return str(spark.spark_job_server_jar)


def _find_jar(jar: str | None, server: FlinkJarJobServer | SparkJarJobServer, name: str) -> str:
    """Return the path or URL of a jar, which the user names or Beam has downloaded before."""
    if not jar:
        url = server.path_to_jar()
        for found in _cached(JavaJarServer.JAR_CACHE, os.path.basename(url)):
            return found
        raise MmfeatError(
            f"--runner={name.capitalize()} needs the job server {os.path.basename(url)}",
            cure=f"Let Beam download it with --{name}_job_server_jar={url}, or start a job server "
            "and give its address as --job_endpoint",
        )
    if not urlsplit(jar).scheme and not os.path.isfile(jar):
        raise MmfeatError(f"--{name}_job_server_jar must be a file or a URL", got=jar)
    return jar


def _cached(folder: str, pattern: str) -> list[str]:
    """Return the files in a folder of Beam's downloads that match a pattern."""
    return [path for path in glob(os.path.join(folder, pattern)) if os.path.isfile(path)]


def find_java(options: PipelineOptions) -> str:
    """Return the program that starts job servers.

    Raises:
        MmfeatError: it is not installed.
    """
    launcher = options.view_as(JobServerOptions).job_server_java_launcher
    found = shutil.which(launcher)
    if not found:
        raise MmfeatError(
            "the job server needs Java in PATH or at --job_server_java_launcher",
            got=launcher,
            cure="Install a Java runtime, version 11 or newer",
        )
    return found
