"""What a job on Dataflow needs before it is submitted."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)
from apache_beam.version import __version__ as beam_version

from mmfeat.errors import MmfeatError
from mmfeat.system import install_command

SECONDS = 30.0
"""Time that Google Cloud has to answer."""

_CODE = {
    "credentials": "import google.auth; print(google.auth.default()[1] or '')",
    "bucket": "import sys, gcsfs; print(*gcsfs.GCSFileSystem(project=sys.argv[1]).info(sys.argv[2])"
    "['name'].split())",
}
"""Programs that ask Google Cloud. Its libraries retry for minutes, so each has its own process."""


def find_packages(options: PipelineOptions) -> str:
    """Return the packages of Dataflow that are installed.

    Raises:
        MmfeatError: one is missing.
    """
    for module, requirement in (
        ("google.cloud.dataflow", f"apache-beam[gcp]=={beam_version}"),
        ("gcsfs", "gcsfs"),
    ):
        if not _is_installed(module):
            raise MmfeatError(
                f"--runner=Dataflow needs the package {requirement}",
                cure=f"Run: {install_command(requirement)}",
            )
    return "apache-beam[gcp] and gcsfs"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def check_options(options: PipelineOptions) -> str:
    """Check that the options which a job needs are given.

    Raises:
        MmfeatError: one is missing.
    """
    cloud = options.view_as(GoogleCloudOptions)
    given = {
        "--project": cloud.project,
        "--region": cloud.region,
        "--temp_location": cloud.temp_location or cloud.staging_location,
        "--sdk_container_image or --setup_file": options.view_as(WorkerOptions).sdk_container_image
        or options.view_as(SetupOptions).setup_file,
    }
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise MmfeatError(
            f"--runner=Dataflow needs {', '.join(missing)}",
            cure="docs/dataflow.md has a whole command",
        )
    for name in ("temp_location", "staging_location"):
        location = getattr(cloud, name)
        if location and not location.startswith("gs://"):
            raise MmfeatError(f"--{name} must be gs://BUCKET/FOLDER", got=location)
    return f"project {cloud.project}, region {cloud.region}"


def check_credentials(options: PipelineOptions) -> str:
    """Check that credentials of Google Cloud are found.

    Raises:
        MmfeatError: there are none, or they are not found in time.
    """
    if options.view_as(GoogleCloudOptions).no_auth:
        return "not used (--no_auth)"
    _ask("credentials", "credentials of Google Cloud must be found")
    return "found"


def check_buckets(options: PipelineOptions) -> str:
    """Check that the buckets of the job exist and can be listed.

    Raises:
        MmfeatError: one does not, or there is no answer in time.
    """
    cloud = options.view_as(GoogleCloudOptions)
    if cloud.no_auth:
        return "not asked (--no_auth)"
    buckets = sorted({*_buckets(cloud)})
    for bucket in buckets:
        _ask("bucket", f"the bucket gs://{bucket} must exist", cloud.project, bucket)
    return ", ".join(buckets) or "none is named"


def _buckets(cloud: GoogleCloudOptions) -> Iterator[str]:
    for location in (cloud.temp_location, cloud.staging_location):
        if location:
            yield location.removeprefix("gs://").partition("/")[0]


def _ask(program: str, rule: str, *arguments: str) -> None:
    command = [sys.executable, "-c", _CODE[program], *arguments]
    cure = (
        "Run: gcloud auth application-default login"
        if program == "credentials"
        else "Check the name and your rights"
    )
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise MmfeatError(f"{rule}, and there is no answer in {SECONDS:g} s", cure=cure) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise MmfeatError(rule, got=lines[-1] if lines else None, cure=cure)
