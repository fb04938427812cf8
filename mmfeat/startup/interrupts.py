"""End a command on Ctrl-C and SIGTERM: one line and an exit code, never a traceback.

Until the command runs, and while it imports a module, the process ends at once: nothing is open
that must be closed, and an exception may crash a half imported extension. While the command runs,
`KeyboardInterrupt` is raised, so that files and processes are closed. After it, a signal changes
nothing. A second signal always ends the process.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_SECOND_SIGNAL_AFTER = 1.0
"""Seconds until a signal counts as a second one. Launchers repeat the signal of a terminal."""


class _State:
    """What the handler must know of this process. Dataclasses would load too slowly.

    Attributes:
        runs: nested calls of `raise_interrupts`.
        ended: whether the outermost call has ended.
        signal: the first signal; 0 = none so far.
        time: when it arrived, in seconds.
    """

    def __init__(self) -> None:
        self.runs, self.ended = 0, False
        self.signal, self.time = 0, 0.0


_state = _State()


def exit_on_interrupts() -> None:
    """Handle the signals that end this process, unless it ignores or handles Ctrl-C already."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    signal.signal(signal.SIGINT, _handle)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _handle)
    sys.unraisablehook = _raise_again


@contextmanager
def raise_interrupts() -> Iterator[None]:
    """Raise `KeyboardInterrupt` for a signal in this block."""
    _state.runs += 1
    try:
        yield
    finally:
        _state.runs -= 1
        _state.ended = _state.runs == 0


def was_interrupted() -> bool:
    """Return whether a signal has arrived. Libraries turn its exception into other ones."""
    return _state.signal != 0


def describe_interrupt() -> tuple[str, int]:
    """Return the last line of an interrupted command, and its exit code."""
    number = _state.signal or signal.SIGINT
    word = _WORDS[signal.Signals(number)]
    return f"mmfeat: {word}. Run the same command again to continue", 128 + number


def _handle(number: int, frame: FrameType | None) -> None:
    if was_interrupted():
        if time.monotonic() - _state.time > _SECOND_SIGNAL_AFTER:
            _exit_now()
        return
    _state.signal, _state.time = number, time.monotonic()
    if _state.runs and not _is_importing(frame):
        raise KeyboardInterrupt(signal.Signals(number).name)  # Beam needs the argument
    if not _state.ended:
        _exit_now()


def _exit_now() -> None:
    message, code = describe_interrupt()
    try:
        os.write(2, f"{message}\n".encode())
    finally:
        os._exit(code)


def _is_importing(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _raise_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Raise the exception of a signal again if it came where Python ignores exceptions."""
    if not issubclass(ignored.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return
    import threading

    number, _state.signal = _state.signal, 0
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
