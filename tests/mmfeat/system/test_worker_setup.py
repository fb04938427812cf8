"""What a worker process has of its main process: the import path and the environment."""

import os
import subprocess
import sys

SAFE_PATH = """
import os, sys
from mmfeat.system import worker_pool

def import_path():
    return [os.path.abspath(path) for path in sys.path], sys.flags.safe_path

def main():
    sys.path.remove("")
    with worker_pool(1, preload=[]) as pool:
        path, safe = pool.submit(import_path).result()
    print(os.getcwd() in path, safe, os.environ["KEPT"] in path, "PYTHONSAFEPATH" in os.environ)
"""


def test_workers_do_not_import_from_the_working_directory_but_from_pythonpath(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "program.py").write_text(SAFE_PATH)
    result = subprocess.run(
        [sys.executable, "-c", "import program; program.main()"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(kept), "KEPT": str(kept)},
    )
    assert result.stdout.split() == ["False", "True", "True", "False"]


UNGUARDED = """
import os
from mmfeat.system.processes import worker_pool

print("script", flush=True)
with worker_pool(1, preload=[]) as pool:
    print(pool.submit(abs, -5).result())
"""


def test_workers_do_not_run_the_script_of_a_user_again(tmp_path):
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, str(tmp_path / "script.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["script", "5"], result.stderr


def test_a_worker_goes_on_if_nothing_reads_its_output():
    code = (
        "import sys\n"
        "from mmfeat.system import worker_pool\n"
        "with worker_pool(1, preload=[]) as pool:\n"
        "    for _ in range(3):\n"
        "        pool.submit(print, 'x' * 100_000).result()\n"
        "print('done', file=sys.stderr)\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "done\n")


LATE_VARIABLE = """
import os
from mmfeat.system import start_fork_server, worker_pool

start_fork_server([])
os.environ["SET_AFTER_THE_SERVER"] = "yes"
with worker_pool(1, preload=[]) as pool:
    print(pool.submit(os.getenv, "SET_AFTER_THE_SERVER").result())
"""


def test_workers_have_the_environment_of_the_main_process():
    result = subprocess.run(
        [sys.executable, "-c", LATE_VARIABLE], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["yes"], result.stderr
