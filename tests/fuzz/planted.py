"""Readers with planted faults: the fuzzer must find each of them."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mmfeat.errors import RecordError
from tests.fuzz.target import Target


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang() -> None:
    while True:
        pass


def _grow() -> None:
    assert b"x" * (600 << 20)


def _allocate() -> None:
    bytearray(1 << 40)


def _raise() -> None:
    {}["x"]


def _make(fault: Callable[[], object], folder: Path) -> Target:
    def read(data: bytes) -> None:
        if data[:1] != b"{":
            raise RecordError("undecodable", "it must begin with a brace")
        if b"}" not in data:
            fault()

    return Target(read, [b"{a: 1}"])


TARGETS = {
    "crash": partial(_make, _crash),
    "hang": partial(_make, _hang),
    "grow": partial(_make, _grow),
    "allocate": partial(_make, _allocate),
    "raise": partial(_make, _raise),
    "intact": partial(_make, lambda: None),
}
