import subprocess
import sys

import pytest

from mmfeat.cli import main


def test_help_lists_every_command(mmfeat):
    result = mmfeat("--help")
    assert result.returncode == 0
    assert all(command in result.stdout for command in main.COMMANDS)


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_explains_each_of_its_flags(mmfeat, command):
    result = mmfeat(command, "--help")
    assert result.returncode == 0
    assert f"usage: mmfeat {command}" in result.stdout
    lines = result.stdout.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("│ --"):
            columns = line.split("--", 1)[1].strip("│ ").split("  ")
            assert len(columns) > 1 or lines[number + 1].startswith("│      "), line


def test_without_a_command_the_usage_is_printed_with_exit_code_2(mmfeat):
    result = mmfeat()
    assert result.returncode == 2
    assert "usage: mmfeat COMMAND" in result.stdout


def test_an_unknown_command_is_an_error(mmfeat):
    result = mmfeat("shrad")
    assert result.returncode == 2
    assert "no command 'shrad'" in result.stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("trian", "train"), ("shrad", "shard"), ("Extract", "extract"), ("align", "align-report")],
)
def test_a_mistyped_command_is_corrected(mmfeat, typed, meant):
    result = mmfeat(typed, "a", "b")
    assert result.returncode == 2
    assert f"Did you mean: mmfeat {meant}?" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_command_like_no_other_shows_the_commands(mmfeat):
    assert "usage: mmfeat COMMAND" in mmfeat("upload").stderr


def test_the_version_is_that_of_the_package(mmfeat):
    from importlib.metadata import version

    assert mmfeat("--version").stdout.strip() == f"mmfeat {version('mmfeat')}"


def test_a_stage_runs_as_a_module():
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.shard", "nowhere.csv", "/tmp/never-made"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("mmfeat: error: no such file: nowhere.csv")
    assert "Traceback" not in result.stderr
