import shlex
import shutil
import subprocess

import pytest

from mmfeat.cli.commands import COMMANDS, load_config
from mmfeat.cli.main import COMMANDS as ALL_COMMANDS
from mmfeat.config import flag_names

COMPLETE = """
eval "$(cat)"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_mmfeat
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(mmfeat):
    """Returns what bash offers for the last of some words."""
    script = mmfeat("completion", "bash").stdout

    def run(*words):
        command = ["bash", "-c", COMPLETE, "bash", *words]
        result = subprocess.run(command, input=script, capture_output=True, text=True, check=True)
        return result.stdout.split()

    return run


def test_commands_are_completed(complete):
    assert set(complete("mmfeat", "")) == set(ALL_COMMANDS)
    assert complete("mmfeat", "ev") == ["evaluate"]


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_are_completed(complete, command):
    assert set(complete("mmfeat", command, "--")) == {"--help", *flag_names(load_config(command))}
    assert complete("mmfeat", command, "OUTPUT", "--set") == ["--set"]


def test_other_words_are_left_to_the_shell(complete):
    assert complete("mmfeat", "train", "feat") == []


def test_an_unknown_shell_is_an_error(mmfeat):
    assert mmfeat("completion", "tcsh").returncode == 2


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_script(mmfeat, shell):
    script = mmfeat("completion", shell).stdout
    assert all(name in script for name in COMMANDS)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", "/dev/stdin"], input=script, text=True, check=True)


def test_without_a_shell_the_shells_are_listed(mmfeat):
    result = mmfeat("completion")
    assert result.returncode == 2
    for shell in ("bash", "zsh", "fish"):
        assert f"mmfeat completion {shell}" in result.stdout


def test_fish_describes_every_command(mmfeat):
    script = mmfeat("completion", "fish").stdout
    for name, summary in ALL_COMMANDS.items():
        assert f"-a {name} -d {shlex.quote(summary)}" in script
