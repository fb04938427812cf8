"""The job that Dataflow would get, built without a connection."""

import json
from typing import NamedTuple
from unittest import mock

import apache_beam as beam
import pytest
from apache_beam.options import pipeline_options
from apache_beam.runners.dataflow.internal import apiclient

from tests.conftest import REPOSITORY

IMAGE = "europe-docker.pkg.dev/my-project/mmfeat/worker:1"
FLAGS = (
    *("--runner=Dataflow", "--no_auth", "--project=my-project", "--region=europe-west4"),
    *("--temp_location=gs://my-bucket/tmp", "--num_workers=4"),
)
GPU = (
    *(f"--sdk_container_image={IMAGE}", "--sdk_location=container"),
    *("--machine_type=g2-standard-8", "--number_of_worker_harness_threads=2"),
    "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver",
    "--experiments=no_use_multiple_sdk_containers",
)


class Job(NamedTuple):
    """A job that was built: its description, its graph, and file → bytes of its uploads."""

    description: dict
    graph: object
    uploads: dict[str, bytes]

    @property
    def pool(self):
        return self.description["environment"]["workerPools"][0]

    @property
    def steps(self):
        """Name → payload of each step."""
        transforms = self.graph.components.transforms.values()
        return {t.unique_name: t.spec.payload for t in transforms if not t.subtransforms}


@pytest.fixture
def submit(mmfeat, monkeypatch):
    """Runs a command up to the submission of its job."""
    found, uploads = [], {}
    run = beam.Pipeline.run

    def stop(pipeline, *arguments, **options):
        pipeline.options.view_as(pipeline_options.TestOptions).dry_run = True
        found.append((pipeline.options, run(pipeline, *arguments, **options).job))
        raise RuntimeError("the job was built")

    def upload(client, folder, name, content, **options):
        if isinstance(content, str):
            with open(content, "rb") as file:
                uploads[name.rpartition("/")[2]] = file.read()
        else:
            uploads[name.rpartition("/")[2]] = content.read()

    def submit(*arguments):
        uploads.clear()
        result = mmfeat(*arguments, *FLAGS)
        assert "pipeline failed: the job was built" in result.stderr
        options, job = found.pop()
        client = apiclient.DataflowApplicationClient
        with (
            mock.patch.object(client, "stage_file_with_retry", upload),
            mock.patch.object(apiclient, "create_storage_client", mock.MagicMock()),
        ):
            client(options, job.root_staging_location).create_job_description(job)
        return Job(json.loads(job.json()), job.proto_pipeline, dict(uploads))

    cloud = pipeline_options.GoogleCloudOptions
    monkeypatch.setattr(cloud, "_warn_if_soft_delete_policy_enabled", mock.Mock())  # asks Google
    monkeypatch.setattr(beam.Pipeline, "run", stop)
    return submit


def test_a_job_on_gpus_has_one_process_per_machine(submit, toy_table, tmp_path):
    job = submit("shard", toy_table, tmp_path / "out", *GPU)
    environment = job.description["environment"]
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    assert "use_multiple_sdk_containers" not in environment["experiments"]
    assert GPU[4].partition("=")[2] in environment["serviceOptions"]
    assert job.pool["numWorkers"] == 4
    assert job.pool["machineType"] == "g2-standard-8"
    assert job.pool["numThreadsPerWorker"] == 2
    assert [image["containerImage"] for image in job.pool["sdkHarnessContainerImages"]] == [IMAGE]


def test_a_job_on_cpus_has_one_process_per_core(submit, toy_table, tmp_path):
    job = submit("shard", toy_table, tmp_path / "out", f"--sdk_container_image={IMAGE}")
    assert "use_multiple_sdk_containers" in job.description["environment"]["experiments"]
    assert job.pool["sdkHarnessContainerImages"][0]["useSingleCorePerContainer"] is True


def test_the_graph_does_not_grow_with_the_number_of_shards(submit, toy_table, tmp_path):
    graphs = [
        submit("shard", toy_table, tmp_path / f"out{size}", f"--samples-per-shard={size}", *GPU)
        for size in (30, 2)
    ]
    sizes = [{name: len(payload) for name, payload in job.steps.items()} for job in graphs]
    assert sizes[0].keys() == sizes[1].keys()
    assert {"Tasks/ReadTasks", "Shards/ProcessShard"} <= sizes[0].keys()
    for name, size in sizes[0].items():
        assert abs(sizes[1][name] - size) < 64, name  # paths differ a little
        assert size < 8192, name
    assert len(graphs[0].uploads["pipeline.pb"]) < 65536


def test_the_job_brings_mmfeat_if_it_is_told_to(submit, toy_table, tmp_path):
    setup = f"--setup_file={REPOSITORY / 'setup.py'}"
    job = submit("shard", toy_table, tmp_path / "out", setup)
    name = next(name for name in job.uploads if name.endswith(".tar.gz"))
    assert name in {package["name"] for package in job.pool["packages"]}
    assert len(job.uploads[name]) > 100_000
