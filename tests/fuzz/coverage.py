"""Lines of mmfeat that an input reaches, to keep inputs that reach new ones."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import mmfeat

_FOLDER = str(Path(mmfeat.__file__).parent)


@contextmanager
def traced_lines(lines: set[tuple[str, int, int]]) -> Iterator[None]:
    """Add each step from line to line within mmfeat to a set."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_FOLDER):
            return None
        name, last = frame.f_code.co_filename, 0

        def trace_line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            if event == "line":
                lines.add((name, last, frame.f_lineno))
                last = frame.f_lineno
            return trace_line

        return trace_line

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)
