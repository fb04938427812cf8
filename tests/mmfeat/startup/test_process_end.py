"""The end of a command: what runs before it, and its exit code."""

import subprocess
import sys

import pytest

_PROGRAM = """
import sys
sys.argv = ["mmfeat"]
import mmfeat
from mmfeat.startup import process_end
{body}
process_end.set_exit_code({code})
sys.exit({code})
"""


def run(body, code=0):
    program = [sys.executable, "-c", _PROGRAM.format(body=body, code=code)]
    return subprocess.run(program, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("code", [0, 1, 130])
def test_the_exit_code_stays(code):
    assert run("", code).returncode == code


def test_objects_are_not_freed():
    body = """
class Loud:
    def __del__(self):
        print("freed")
kept = Loud()
kept.itself = kept
"""
    assert run(body).stdout == ""


def test_threads_and_exit_handlers_come_first():
    body = """
import atexit, threading, time
atexit.register(print, "handler", end="")
def work():
    time.sleep(0.2)
    print("thread ", end="")
threading.Thread(target=work).start()
"""
    assert run(body).stdout == "thread handler"


def test_all_output_arrives():
    result = run('print("x" * 1_000_000); print("y" * 10, file=sys.stderr)')
    assert (len(result.stdout), result.stderr) == (1_000_001, "y" * 10 + "\n")


def test_log_lines_that_a_handler_holds_back_arrive(tmp_path):
    body = f"""
import logging, logging.handlers
target = logging.FileHandler({str(tmp_path / "log")!r})
logging.getLogger("x").addHandler(logging.handlers.MemoryHandler(100, target=target))
logging.getLogger("x").warning("held back")
"""
    assert run(body).returncode == 0
    assert "held back" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--version"], 0), (["nonsense"], 2), (["info", "no/such"], 1)]
)
def test_commands_keep_their_exit_codes(arguments, code):
    program = [sys.executable, "-m", "mmfeat", *arguments]
    result = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert result.returncode == code
    assert result.stdout or result.stderr
