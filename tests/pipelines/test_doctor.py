"""`mmfeat doctor` checks an engine and runs one element on it."""

from importlib.metadata import version

import pytest

from pipelines.engines.worker_check import WorkerError, WorkerTask, check_worker, worker_task


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--runner=portable", "--job_endpoint=embed")])
def test_an_engine_that_works(mmfeat, tmp_path, flags):
    result = mmfeat("doctor", "--output", tmp_path / "out", *flags)
    assert result.returncode == 0, result.stdout
    assert "workers" in result.stdout
    assert "ok" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_failed_check_is_a_row_with_its_cure_and_an_exit_code(mmfeat, tmp_path):
    result = mmfeat("doctor", "--runner=Prism", f"--prism_location={tmp_path}")
    assert result.returncode == 1
    rows = [line for line in result.stdout.splitlines() if "│" in line]
    assert "binary" in rows[0]
    assert "failed" in rows[0]
    assert "--prism_location must be the program prism" in result.stdout
    assert "left out" in rows[-1]
    assert result.stderr == "mmfeat: error: 1 of 2 checks failed. The table has the cures\n"


def test_a_mistyped_flag_of_doctor_is_refused(mmfeat):
    result = mmfeat("doctor", "--ouput=x")
    assert result.returncode == 2
    assert "Did you mean --output?" in result.stderr


def test_a_worker_names_every_difference():
    versions = {"mmfeat": "99", "apache-beam": version("apache-beam"), "no-such-package": "1"}
    with pytest.raises(WorkerError) as caught:
        check_worker(WorkerTask("2.7", versions))
    text = str(caught.value)
    assert "its Python is 3." in text
    assert "that of the command 2.7" in text
    assert f"its mmfeat is {version('mmfeat')}, that of the command 99" in text
    assert "its no-such-package is missing, that of the command 1" in text
    assert "apache-beam" not in text
    assert "\n" not in text


def test_a_worker_without_the_storage_says_so(tmp_path):
    with pytest.raises(WorkerError, match=r"cannot use .*elsewhere: FileNotFoundError"):
        check_worker(worker_task(folder=str(tmp_path / "elsewhere")))


def test_workers_on_another_disk_are_noticed(mmfeat, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.engines.probe._run_process", lambda *arguments: None)
    result = mmfeat("doctor", "--output", tmp_path / "out")
    assert result.returncode == 1
    assert "the workers must share the storage" in result.stdout.replace("\n", " ")
