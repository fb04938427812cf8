import subprocess
import sys

import pytest

from mmfeat.cli import main
from mmfeat.system.entry import run_main


def test_help_lists_every_command(mmfeat):
    result = mmfeat("--help")
    assert result.returncode == 0
    assert all(command in result.stdout for command in main.COMMANDS)


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_explains_itself_and_each_of_its_flags(mmfeat, command):
    result = mmfeat(command, "--help")
    assert result.returncode == 0
    assert f"usage: mmfeat {command}" in result.stdout
    lines = result.stdout.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("│ --"):
            told = line.split("--", 1)[1].strip("│ ").split("  ")
            assert len(told) > 1 or lines[number + 1].startswith("│      "), line


def test_without_a_command_the_usage_is_shown_and_the_exit_code_is_2(mmfeat):
    result = mmfeat()
    assert result.returncode == 2
    assert "usage: mmfeat COMMAND" in result.stdout


def test_an_unknown_command_is_refused(mmfeat):
    result = mmfeat("shrad")
    assert result.returncode == 2
    assert "no command 'shrad'" in result.stderr


def test_the_version_is_that_of_the_package(mmfeat):
    from importlib.metadata import version

    assert mmfeat("--version").stdout.strip() == f"mmfeat {version('mmfeat')}"


def test_a_stage_runs_as_a_module_too():
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.shard", "nowhere.csv", "/tmp/never-made"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("mmfeat: error: no such file: nowhere.csv")
    assert "Traceback" not in done.stderr


def test_trouble_with_the_disk_is_one_line():
    def full(arguments):
        raise OSError(28, "No space left on device", "/out/00000.tar")

    assert run_main(full, []) == 1
