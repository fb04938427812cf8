"""Signals at moments that a test can choose. Each script is a command of its own."""

import signal
import subprocess
import sys
import textwrap

import pytest

from tests.conftest import REPOSITORY

INTERRUPTED = "mmfeat: interrupted. Run the same command again to continue\n"
TERMINATED = INTERRUPTED.replace("interrupted", "terminated")

PREPARE = """
import os, signal, sys, time
sys.argv = ["/usr/bin/mmfeat"]
import mmfeat
from mmfeat.system import run_main

def send(number=signal.SIGINT):
    os.kill(os.getpid(), number)
    time.sleep(0.01)

"""


def run(script, prepare=PREPARE, **options):
    code = prepare + textwrap.dedent(script)
    # A shell starts background jobs, such as these tests, with Ctrl-C ignored.
    options = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def run_command(body, **options):
    return run(f"def main(arguments):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
               "sys.exit(run_main(main, []))", **options)  # fmt: skip


@pytest.mark.parametrize(
    ("number", "line"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)]
)
def test_a_signal_closes_what_is_open_and_ends_with_one_line(number, line):
    result = run_command(f"""
        try:
            send({int(number)})
        finally:
            print("closed")
    """)
    assert result.returncode == 128 + number
    assert (result.stdout, result.stderr) == ("closed\n", line)


def test_a_signal_before_the_command_runs_ends_the_process():
    result = run("send(); print('still here')")
    assert (result.returncode, result.stdout, result.stderr) == (130, "", INTERRUPTED)


def test_a_signal_while_a_module_is_imported_ends_the_process(tmp_path):
    (tmp_path / "fragile.py").write_text(
        "import os\ntry:\n os.kill(os.getpid(), 2)\n [0 for _ in range(9)]\n"
        "except BaseException:\n os.abort()\n"
    )
    result = run_command(f"sys.path.insert(0, {str(tmp_path)!r}); import fragile")
    assert (result.returncode, result.stderr) == (130, INTERRUPTED)


def test_an_interrupt_that_a_library_turns_into_an_error_is_still_one():
    result = run_command("""
        try:
            send()
        except BaseException as error:
            raise RuntimeError(error.args[0] + " [while running 'Shards']") from error
    """)
    assert (result.returncode, result.stderr) == (130, INTERRUPTED)


def test_an_interrupt_where_python_ignores_exceptions_is_raised_again():
    result = run_command("""
        class Temporary:
            def __del__(self):
                send()

        Temporary()
        time.sleep(100)
    """)
    assert (result.returncode, result.stderr) == (130, INTERRUPTED)


def test_other_ignored_exceptions_are_shown():
    result = run_command("""
        class Temporary:
            def __del__(self):
                raise ValueError("odd")

        Temporary()
    """)
    assert result.returncode == 0
    assert "ValueError: odd" in result.stderr


def test_a_repeated_signal_does_not_disturb_the_end():
    result = run_command("""
        try:
            send()
        finally:
            send(signal.SIGTERM)
            print("closed")
    """)
    assert (result.returncode, result.stdout, result.stderr) == (130, "closed\n", INTERRUPTED)


def test_a_second_signal_ends_a_command_that_hangs():
    result = run_command("""
        from mmfeat.startup import interrupts
        interrupts._SECOND_SIGNAL_AFTER = 0
        try:
            send()
        finally:
            send()
            time.sleep(100)
    """)
    assert (result.returncode, result.stderr) == (130, INTERRUPTED)


def test_a_signal_after_the_command_does_not_change_its_result():
    result = run("code = run_main(print, []); send(); sys.exit(code)")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_process_that_ignores_signals_goes_on_ignoring_them():
    """As after `nohup`."""
    result = run_command(
        "send(); print('finished')",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (result.returncode, result.stdout) == (0, "finished\n")


def test_a_program_that_imports_mmfeat_keeps_its_handlers_and_streams():
    result = run(
        """
        import signal, sys
        before = signal.getsignal(2), signal.getsignal(15), sys.stdout, sys.unraisablehook
        import mmfeat, mmfeat.cli.main, pipelines, training
        print(before == (signal.getsignal(2), signal.getsignal(15), sys.stdout, sys.unraisablehook))
        """,
        prepare="",
    )
    assert result.stdout == "True\n"
