"""Checks of errors: records that cannot be used, and mistakes of the user."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mmfeat.errors import MmfeatError, RecordError


def record_error_reason(use: Callable[[bytes], object], data: bytes) -> str:
    """Check that a record is rejected with some detail, and return the reason."""
    with pytest.raises(RecordError) as caught:
        use(data)
    assert caught.value.detail
    return caught.value.reason


def outcome(use: Callable[[bytes], object], data: bytes) -> str:
    """Return the reason a record is rejected, or `fine`. Other errors are raised."""
    try:
        use(data)
    except RecordError as error:
        return error.reason
    return "fine"


@contextmanager
def assert_one_line_error(match: str = "") -> Iterator[pytest.ExceptionInfo[MmfeatError]]:
    """Check that the block raises an `MmfeatError` of one line that matches."""
    with pytest.raises(MmfeatError, match=match or None) as caught:
        yield caught
    assert "\n" not in str(caught.value)
