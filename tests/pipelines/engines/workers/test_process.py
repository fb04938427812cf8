"""`mmfeat-worker`: what it asks the engine, and what it refuses."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from apache_beam.portability.api import (
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
)
from google.protobuf import json_format

from pipelines.engines.workers import process
from pipelines.engines.workers.process import ask_engine, packages_to_install, worker_environment
from tests.engines.install import program_path

WORKER = os.path.join(os.path.dirname(sys.executable), "mmfeat-worker")
PRISM = str(program_path("prism"))


class Engine(
    beam_provision_api_pb2_grpc.ProvisionServiceServicer,
    beam_fn_api_pb2_grpc.BeamFnLoggingServicer,
):
    """The servers of an engine for one worker, which keep what the worker says."""

    def __init__(self, info):
        self.info, self.workers, self.log = info, [], []

    def GetProvisionInfo(self, request, context):  # noqa: N802
        self.workers.append(dict(context.invocation_metadata())["worker_id"])
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=self.info)

    def Logging(self, entries, context):  # noqa: N802
        for batch in entries:
            self.log += [entry.message for entry in batch.log_entries]
        return iter(())


@pytest.fixture
def engine():
    """An engine whose job has one option; `engine.address` is its address."""
    info = beam_provision_api_pb2.ProvisionInfo(runner_capabilities=["a", "b"])
    json_format.ParseDict({"beam:option:parallelism:v1": 4}, info.pipeline_options)
    engine = Engine(info)
    server = grpc.server(ThreadPoolExecutor(4))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(engine, server)
    beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(engine, server)
    engine.address = f"localhost:{server.add_insecure_port('localhost:0')}"
    info.logging_endpoint.url = info.control_endpoint.url = engine.address
    server.start()
    yield engine
    server.stop(0)


def add_file(info, name):
    role = beam_runner_api_pb2.ArtifactStagingToRolePayload(staged_name=name)
    urn = "beam:artifact:role:staging_to:v1"
    info.dependencies.add(role_urn=urn, role_payload=role.SerializeToString())


def test_a_worker_learns_its_job_from_the_engine(engine):
    add_file(engine.info, "submission_environment_dependencies.txt")
    info = ask_engine(engine.address, "7")
    assert engine.workers == ["7"]
    assert packages_to_install(info) == []
    environment = worker_environment(info, "7")
    assert environment["WORKER_ID"] == "7"
    assert environment["RUNNER_CAPABILITIES"] == "a b"
    assert environment["PIPELINE_OPTIONS"] == '{"beam:option:parallelism:v1": 4}'  # not 4.0
    assert engine.address in environment["CONTROL_API_SERVICE_DESCRIPTOR"]
    assert "STATUS_API_SERVICE_DESCRIPTOR" not in environment


def test_a_job_with_packages_is_refused_in_the_log_of_the_engine(engine):
    for name in ("workflow.tar.gz", "requirements.txt"):
        add_file(engine.info, name)
    flags = ["--id='1'", f"--provision_endpoint={engine.address}"]
    done = subprocess.run([WORKER, *flags], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert engine.workers == ["1"]
    assert any("the job brings requirements.txt, workflow.tar.gz" in line for line in engine.log)


def test_an_engine_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(process, "SECONDS", 0.5)
    with pytest.raises(grpc.RpcError):
        ask_engine("localhost:1", "1")


@pytest.mark.slow
def test_processes_of_an_engine_make_the_shards(mmfeat, toy_table, tmp_path):
    if not os.path.exists(PRISM):
        pytest.skip("needs the program prism: make engines installs it")
    flags = ("--runner=Prism", f"--prism_location={PRISM}", "--environment_type=PROCESS")
    config = f"--environment_config={json.dumps({'command': WORKER})}"
    result = mmfeat("shard", toy_table, tmp_path / "out", *flags, config)
    assert result.returncode == 0, result.stderr
    assert mmfeat("shard", toy_table, tmp_path / "local").returncode == 0
    for name in ("00000.tar", "00000.parquet"):
        made, expected = (tmp_path / folder / name for folder in ("out", "local"))
        assert made.read_bytes() == expected.read_bytes()
