import os
import subprocess
import sys

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.system.entry import run_main


def fail_with(error):
    def main(arguments):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MmfeatError("--n must be 1", got=2, cure="Use 1"), 1, "--n must be 1; got 2. Use 1"),
        (OSError(28, "No space left on device", "/out/00000.tar"), 1, "No space left on device"),
        (OSError(5, "Input/output error", "/out"), 1, "/out. Run the same command again"),
        (KeyboardInterrupt(), 130, "Run the same command again to continue"),
    ],
)
def test_an_expected_error_is_one_line_and_an_exit_code(capfd, error, code, message):
    assert run_main(fail_with(error), []) == code
    output, errors = capfd.readouterr()
    assert output == ""
    assert message in errors
    assert errors.count("\n") == 1


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run_main(fail_with(ZeroDivisionError()), [])


def test_a_wrong_log_level_is_an_error(monkeypatch, capfd):
    monkeypatch.setenv("MMFEAT_LOG", "loud")
    assert run_main(lambda arguments: None, []) == 1
    assert "MMFEAT_LOG must be one of" in capfd.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "mmfeat info missing",
        "pipelines.shard missing out",
        "pipelines.extract missing out",
        "pipelines.score missing missing out",
        "training.train missing out --target label",
        "training.evaluate missing missing",
    ],
)
def test_every_entry_point_logs_the_traceback_at_debug(command, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=tmp_path,
        env={**os.environ, "MMFEAT_LOG": "debug"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "mmfeat: error: " in result.stderr
