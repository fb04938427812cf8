"""The comparison of engines says what it could not do, and ends in time."""

import json
import os
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.engines import commands, install, main, rows
from tests.engines.commands import Clock, TimeIsOverError, run_mmfeat


@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_an_engine_without_its_tools_is_skipped_with_the_reason(monkeypatch, tmp_path, engine):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install, "FOLDER", tmp_path)
    with pytest.raises(install.MissingToolError, match="no java"):
        install.install_jars(engine)
    with pytest.raises(install.MissingToolError, match="no go"):
        install.install_program("prism")


def test_a_download_that_does_not_end_is_a_reason_to_skip(monkeypatch, tmp_path):
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install, "FOLDER", tmp_path)
    monkeypatch.setattr(install, "_SECONDS", 0.2)
    with pytest.raises(install.MissingToolError, match="go has not ended in 0 s"):
        install.install_program("prism")


def test_a_stage_that_ends_before_the_fault_is_no_success(tmp_path):
    with (
        pytest.raises(RuntimeError, match="ended before anything was killed"),
        main._fault(lambda: None, tmp_path),
    ):
        pass


@pytest.fixture
def hanging_mmfeat(monkeypatch, tmp_path):
    """Commands of mmfeat never end, and have a child process; the file with its id."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nsleep 60 &\necho $! > child\nwait\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(commands, "REPOSITORY", tmp_path)
    return tmp_path / "child"


def assert_ended(child):
    number, end = int(child.read_text()), time.monotonic() + 10
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end, "it still runs"
            time.sleep(0.01)


def test_a_command_that_hangs_is_ended_with_its_children(monkeypatch, tmp_path, hanging_mmfeat):
    monkeypatch.setattr(commands, "COMMAND_SECONDS", 1)
    with pytest.raises(RuntimeError, match="mmfeat shard has not ended in 1 s"):
        run_mmfeat(tmp_path / "log", Clock(1), "shard")
    assert_ended(hanging_mmfeat)


def test_a_command_is_ended_when_all_time_is_over(tmp_path, hanging_mmfeat):
    clock = Clock(1 / 60)
    with pytest.raises(TimeIsOverError, match="minutes of this comparison are over"):
        run_mmfeat(tmp_path / "log", clock, "shard")
    assert_ended(hanging_mmfeat)
    with pytest.raises(TimeIsOverError):
        clock.left()


@pytest.fixture
def compare(monkeypatch, tmp_path, capsys):
    """Compares engines whose stages write a file; returns exit code, results and output."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def compare(engines, contents, *flags):
        written = iter(contents)

        def run_mmfeat(log, clock, *arguments):
            if arguments[0] in ("shard", "extract", "score"):
                output = Path(arguments[3 if arguments[0] == "score" else 2])
                output.mkdir(parents=True)
                content = next(written)
                if content is None:
                    raise RuntimeError("mmfeat has failed")
                (output / "data").write_text(content)

        monkeypatch.setattr(main, "ROWS", engines)
        monkeypatch.setattr(main, "DEFAULT", [*engines])
        monkeypatch.setattr(main, "run_mmfeat", run_mmfeat)
        monkeypatch.setattr(sys, "argv", ["engines", "--data", str(tmp_path), *flags])
        code = main.main()
        output = capsys.readouterr().out
        return code, json.loads(output.splitlines()[-1]), output

    return compare


@contextmanager
def broken(logs):
    raise RuntimeError("no server")
    yield


@contextmanager
def missing(logs):
    raise install.MissingToolError("no java")
    yield


def test_the_last_line_has_the_result_of_each_engine(compare, tmp_path):
    engines = {"local": rows.local, "other": rows.embedded, "broken": broken, "missing": missing}
    code, results, output = compare(engines, ["same"] * 4 + ["other", "same"])
    assert code == 1
    assert results["local"]["equal"] is True
    assert results["other"]["equal"] is False  # one of its stages wrote other bytes
    assert results["broken"] == {"equal": False, "error": "no server"}
    assert results["missing"] == {"skipped": "no java"}
    assert "    features/data: " in output
    scratch = Path(next(line for line in output.splitlines() if "are in" in line).split()[-1])
    assert (scratch / "other" / "features" / "data").exists()


def test_engines_that_are_missing_are_no_failure(compare, tmp_path):
    code, results, _ = compare({"local": rows.local, "missing": missing}, ["same"] * 3)
    assert code == 0
    assert results["missing"] == {"skipped": "no java"}
    assert os.listdir(tmp_path) == ["raw"] or not os.listdir(tmp_path)


def test_an_engine_does_not_continue_what_another_one_has_begun(compare):
    engines = {"local": rows.local, "fails": rows.embedded, "works": rows.embedded}
    code, results, _ = compare(engines, ["same"] * 4 + [None] + ["same"] * 3)
    assert code == 1
    assert results["fails"]["error"] == "mmfeat has failed"
    assert results["works"]["equal"] is True


def test_engines_for_which_there_is_no_time_are_skipped(compare):
    code, results, _ = compare({"local": rows.local}, [], "--minutes=0")
    assert code == 0
    assert "are over" in results["local"]["skipped"]


def test_nothing_is_compared_with_a_local_run_that_has_failed(compare):
    engines = {"local": rows.local, "other": rows.embedded}
    code, results, _ = compare(engines, [None])
    assert code == 1
    assert [*results] == ["local"]
