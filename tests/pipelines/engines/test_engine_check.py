"""An engine that cannot work is noticed before anything is planned or written, within seconds."""

import socket

import pytest

from pipelines.engines import dataflow, endpoints
from tests.pipelines.conftest import run_worker_pool
from tests.pipelines.test_portable import PORTABLE

DATAFLOW = (
    *("--runner=Dataflow", "--project=my-project", "--region=europe-west1"),
    *("--temp_location=gs://my-bucket/tmp", "--sdk_container_image=my-image"),
)


@pytest.fixture
def refuse(mmfeat, toy_table, tmp_path):
    """Runs `mmfeat shard` on an engine that cannot work; returns its error, one line."""
    before = set(tmp_path.rglob("*"))

    def run(*flags):
        result = mmfeat("shard", toy_table, tmp_path / "out" / "shards", *flags)
        assert result.returncode == 1
        notes = ("warning", " = column ")  # of Prism's port, and what the columns of the input are
        lines = [
            line for line in result.stderr.splitlines() if not any(note in line for note in notes)
        ]
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("mmfeat: error: ")
        assert not (tmp_path / "out").exists()
        assert result.stdout == ""
        return lines[0]

    yield run
    assert set((tmp_path / "raw").rglob("*")) <= before


@pytest.fixture
def empty_home(monkeypatch, tmp_path):
    """No program in PATH, and nothing that Beam has downloaded."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pipelines.engines.programs.PrismJobServer.BIN_CACHE", str(tmp_path))
    monkeypatch.setattr("pipelines.engines.programs.JavaJarServer.JAR_CACHE", str(tmp_path))


def test_prism_without_its_binary(refuse, empty_home):
    error = refuse("--runner=Prism")
    assert "needs the program prism" in error
    assert "go install github.com/apache/beam/sdks/v2/go/cmd/prism@v" in error


def test_prism_at_a_place_without_a_program(refuse, toy_table):
    assert "must be the program prism" in refuse("--runner=Prism", f"--prism_location={toy_table}")


@pytest.mark.parametrize(("runner", "name"), [("Flink", "flink"), ("Spark", "spark")])
def test_an_engine_in_java_without_its_jar(refuse, empty_home, monkeypatch, runner, name):
    monkeypatch.setattr("pipelines.engines.programs.find_java", lambda options: "java")
    error = refuse(f"--runner={runner}")
    assert f"needs the job server beam-runners-{name}-" in error
    assert f"--{name}_job_server_jar=http" in error
    missing = refuse(f"--runner={runner}", f"--{name}_job_server_jar=/no/such.jar")
    assert "must be a file or a URL; got '/no/such.jar'" in missing


def test_an_engine_in_java_without_java(refuse, empty_home):
    assert "needs Java in PATH" in refuse("--runner=Flink")


@pytest.fixture
def closed_port():
    """A port of this machine on which nothing listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def test_a_master_that_does_not_answer(refuse, closed_port, toy_table, monkeypatch):
    monkeypatch.setattr("pipelines.engines.programs.find_java", lambda options: "java")
    flags = (f"--flink_job_server_jar={toy_table}", f"--flink_master=localhost:{closed_port}")
    assert "the server of --flink_master must answer" in refuse("--runner=Flink", *flags)


def test_a_job_server_that_does_not_answer(refuse, closed_port, monkeypatch):
    monkeypatch.setattr(endpoints, "SECONDS", 0.5)
    address = f"localhost:{closed_port}"
    flags = ("--runner=portable", f"--job_endpoint={address}", "--environment_type=LOOPBACK")
    error = refuse(*flags)
    assert f"the job server of --job_endpoint must answer; got '{address}'" in error
    assert "has not answered in 0.5 s" in error


def test_a_server_that_is_no_job_server(refuse, monkeypatch):
    from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

    address, server = BeamFnExternalWorkerPoolServicer.start()
    try:
        error = refuse("--runner=portable", f"--job_endpoint={address}")
    finally:
        server.stop(0)
    assert "What answers there is no job server of Beam" in error


@pytest.mark.parametrize("flags", [(), ("--job_endpoint=nonsense",)])
def test_a_portable_runner_without_an_address(refuse, flags):
    assert "--job_endpoint" in refuse("--runner=portable", *flags)


@pytest.fixture
def pool_of_dying_workers(tmp_path):
    """A worker pool whose workers end at once, with a line about it; its address."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    with run_worker_pool(python.parent) as address:
        yield address


def test_workers_that_die_at_start(refuse, pool_of_dying_workers):
    flags = ("--runner=portable", "--job_endpoint=embed", "--environment_type=EXTERNAL")
    flags = (*flags, f"--environment_config={pool_of_dying_workers}", "--engine_timeout=12")
    error = refuse(*flags)
    assert "must start and do one element within 12 s" in error
    assert "Start the pool with mmfeat-worker-pool" in error


def test_workers_that_cannot_be_asked_for(refuse, closed_port):
    flags = ("--runner=portable", "--job_endpoint=embed", "--environment_type=EXTERNAL")
    error = refuse(*flags, f"--environment_config=localhost:{closed_port}")
    assert "a pipeline of one element must run on --runner=PortableRunner" in error


def test_dataflow_without_its_packages(refuse, monkeypatch):
    monkeypatch.setattr(dataflow, "find_spec", lambda module: None)
    error = refuse(*DATAFLOW)
    assert "--runner=Dataflow needs the package apache-beam[gcp]==" in error
    assert "pip install" in error


@pytest.fixture
def dataflow_installed(monkeypatch):
    monkeypatch.setattr(dataflow, "find_packages", lambda options: "")


def test_dataflow_without_options(refuse, dataflow_installed):
    error = refuse("--runner=Dataflow", "--project=my-project")
    assert "needs --region, --temp_location, --sdk_container_image or --setup_file" in error


def test_dataflow_with_a_location_that_is_no_bucket(refuse, dataflow_installed):
    error = refuse(*DATAFLOW, "--staging_location=/tmp/staging")
    assert "--staging_location must be gs://BUCKET/FOLDER; got '/tmp/staging'" in error


def test_dataflow_with_a_wrong_bucket(refuse, dataflow_installed, monkeypatch):
    ask = {"credentials": "pass", "bucket": "raise FileNotFoundError('no my-bucket')"}
    monkeypatch.setattr(dataflow, "_CODE", ask)
    error = refuse(*DATAFLOW)
    assert "the bucket gs://my-bucket must exist; got 'FileNotFoundError: no my-bucket'" in error


def test_google_cloud_that_does_not_answer(refuse, dataflow_installed, monkeypatch):
    ask = {"credentials": "pass", "bucket": "import time; time.sleep(60)"}
    monkeypatch.setattr(dataflow, "_CODE", ask)
    monkeypatch.setattr(dataflow, "SECONDS", 1.0)
    assert "there is no answer in 1 s" in refuse(*DATAFLOW)


def test_a_run_leaves_no_temporary_folder_of_beam(mmfeat, toy_table, tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    for _ in range(2):  # the second time nothing is to do
        assert mmfeat("shard", toy_table, tmp_path / "out", *PORTABLE).returncode == 0
    names = {path.name for path in temporary.iterdir()}
    assert not {name for name in names if name.startswith("beam-pipeline-temp")}
