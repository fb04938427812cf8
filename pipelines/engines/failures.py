"""The reason behind an error of Beam."""

import re

from mmfeat.errors import MmfeatError
from mmfeat.system import explain_os_error

_RPC_DETAILS = re.compile(r'^\s*details = "(?P<text>.+)"$', re.MULTILINE)
"""The reason in an error of gRPC, whose last lines are its address and a bracket."""

_JAVA_FRAME = re.compile(r"^(at \S+\(.*\)|\.\.\. \d+ more)$")


def explain_failure(error: BaseException) -> MmfeatError:
    """Return the error of mmfeat or of the system behind an error of Beam, else its last line."""
    cause: BaseException | None = error
    while cause:
        deeper = cause.__cause__ or cause.__context__
        is_copy = deeper and getattr(cause, "_tagged_with_step", False)  # Beam's, without the cure
        if isinstance(cause, MmfeatError) and not is_copy:
            return cause
        if isinstance(cause, OSError) and not is_copy:
            return explain_os_error(cause)
        cause = deeper
    return MmfeatError(last_line(str(error)) or type(error).__name__)


def last_line(text: str) -> str:
    """Return the last line of a text that is no frame of Java: of a traceback, the error.

    Of an error of gRPC it returns the details.
    """
    if details := _RPC_DETAILS.findall(text):
        return str(details[-1])
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if line and not _JAVA_FRAME.match(line)), "")
