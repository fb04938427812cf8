import json
import os
import shlex
import subprocess
import sys

import pytest

from mmfeat.store import MANIFEST_FILE
from tests.conftest import REPOSITORY

MMFEAT = [sys.executable, "-m", "mmfeat"]


def run(*words, shell="", encoding="utf-8", **options):
    """Run a command, with redirections or a pipe in the language of the shell."""
    command = shlex.join([*MMFEAT, *map(str, words)])
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} {shell}"],
        capture_output=True,
        env=environment,
        check=False,
        **options,
    )


@pytest.mark.parametrize(
    "shell",
    ["<&- >&- 2>&-", ">&-", "2>&-", "| true", "2>&1 | head -n 1", "2> >(true)"],
)
def test_a_run_whose_output_is_lost_finishes(toy_table, tmp_path, shell):
    result = run("shard", toy_table, tmp_path / "out", "--processes", 2, shell=shell)
    assert result.returncode == 0
    assert b"rror" not in result.stderr
    assert (tmp_path / "out" / MANIFEST_FILE).exists()


def test_the_end_of_a_lost_error_is_the_exit_code():
    assert run("info", "missing", shell="2>&-").returncode == 1
    assert run("shrad", shell="2>&1 | true").returncode == 2


def test_a_full_disk_is_an_error():
    result = run("--help", shell="> /dev/full")
    assert result.returncode == 1
    assert result.stderr.startswith(b"mmfeat: error: No space left on device")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_signs_that_a_terminal_lacks_are_replaced(toy_table, tmp_path, encoding):
    result = run("shard", toy_table, "größe 猫", encoding=encoding, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    gross = {"ascii": "gr\\xf6\\xdfe", "latin-1": "größe"}[encoding]
    assert f"shard -> {gross} \\u732b" in result.stdout.decode("latin-1")


def test_names_that_are_no_text_are_escaped(toy_table, tmp_path):
    result = run("shard", toy_table, os.fsdecode(b"caf\xe9"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "shard → caf\\udce9" in result.stdout.decode()


def test_json_is_valid_in_every_encoding(mmfeat, toy_table, tmp_path):
    path = tmp_path / "größe 猫 😀"
    assert mmfeat("shard", toy_table, path).returncode == 0
    for encoding in ("ascii", "latin-1", "utf-8"):
        document = run("info", path, "--json", encoding=encoding).stdout.decode(encoding)
        assert json.loads(document)["path"] == str(path)


def test_printed_options_are_valid_in_every_encoding(tmp_path):
    words = ("shard", "größe", tmp_path / "out", "--print-config")
    options = tmp_path / "options.yaml"
    options.write_bytes(run(*words, encoding="ascii").stdout)
    repeated = run("shard", "--config", options, "--print-config").stdout.decode()
    assert repeated.startswith("input: größe\n")
