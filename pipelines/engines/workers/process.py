"""The program `mmfeat-worker`: a worker that an engine starts as a process of its machine.

    --environment_type=PROCESS --environment_config='{"command": "/path/to/mmfeat-worker"}'

Beam's own program for this, in Go, lists all installed packages twice before it starts Python. It
starts a worker that has died again, without the work that it had. Here the engine does that.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Mapping

import grpc
from apache_beam.portability.api import (
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
    endpoints_pb2,
)
from apache_beam.portability.common_urns import artifact_roles
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.runners.worker.log_handler import FnApiLogRecordHandler
from google.protobuf import json_format, struct_pb2

SECONDS = 60.0
"""Time that the engine has to describe the job."""

_HARMLESS = {"submission_environment_dependencies.txt"}
"""Files of a job that a worker can do without."""

_log = logging.getLogger("mmfeat")


def main() -> int:
    """Run a worker until the engine needs it no longer. The engine passes the flags."""
    parser = argparse.ArgumentParser(
        prog="mmfeat-worker",
        description="Run a worker of an engine with --environment_type=PROCESS",
    )
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    flags, _ = parser.parse_known_args()
    worker = flags.id.strip("'")  # Prism passes the quotes of a shell
    info = ask_engine(flags.provision_endpoint, worker)
    if packages := packages_to_install(info):
        handler = FnApiLogRecordHandler(info.logging_endpoint)
        logging.getLogger().addHandler(handler)
        _log.critical(
            "mmfeat-worker installs no packages, and the job brings %s. Install them on this "
            "machine, and leave out --setup_file, --requirements_file and --extra_package",
            ", ".join(packages),
        )
        handler.close()
        return 1
    os.environ |= worker_environment(info, worker)
    sdk_worker_main.main(sys.argv)
    return 0


def ask_engine(endpoint: str, worker: str) -> beam_provision_api_pb2.ProvisionInfo:
    """Ask the engine about the job.

    Args:
        endpoint: where the engine answers.
        worker: id of the worker.

    Raises:
        grpc.RpcError: it does not answer in time.
    """
    request = beam_provision_api_pb2.GetProvisionInfoRequest()
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        answer = service.GetProvisionInfo(
            request, timeout=SECONDS, wait_for_ready=True, metadata=[("worker_id", worker)]
        )
    return answer.info


def packages_to_install(info: beam_provision_api_pb2.ProvisionInfo) -> list[str]:
    """Return the names of the files of a job that a worker would have to install or load."""
    names = []
    for artifact in info.dependencies:
        if artifact.role_urn == artifact_roles.STAGING_TO.urn:
            role = beam_runner_api_pb2.ArtifactStagingToRolePayload()
            role.ParseFromString(artifact.role_payload)
            names.append(role.staged_name)
    return sorted({*names} - _HARMLESS)


def worker_environment(
    info: beam_provision_api_pb2.ProvisionInfo, worker: str
) -> Mapping[str, str]:
    """Return the variables from which Beam's worker takes what it must know.

    Args:
        info: what the engine says about the job.
        worker: id of the worker.
    """
    endpoints: dict[str, endpoints_pb2.ApiServiceDescriptor] = {
        "LOGGING": info.logging_endpoint,
        "CONTROL": info.control_endpoint,
    }
    if info.HasField("status_endpoint"):
        endpoints["STATUS"] = info.status_endpoint
    return {
        "WORKER_ID": worker,
        "PIPELINE_OPTIONS": _options_text(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        **{f"{name}_API_SERVICE_DESCRIPTOR": str(found) for name, found in endpoints.items()},
    }


def _options_text(options: struct_pb2.Struct) -> str:
    """Return options as JSON. Their numbers are all floats, and 4.0 is no value of an integer."""
    return json.dumps(
        json.loads(
            json_format.MessageToJson(options),
            parse_float=lambda text: (
                int(number) if (number := float(text)).is_integer() else number
            ),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
