"""How a record or a setting that cannot be used is refused."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mmfeat.errors import MmfeatError, RecordError


def reason(use: Callable[[bytes], object], data: bytes) -> str:
    """Why a record is refused; the error says more than that."""
    with pytest.raises(RecordError) as caught:
        use(data)
    assert caught.value.detail
    return caught.value.reason


def outcome(use: Callable[[bytes], object], data: bytes) -> str:
    """Why a record is refused, or `fine`; any other error is let through."""
    try:
        use(data)
    except RecordError as error:
        return error.reason
    return "fine"


@contextmanager
def told_in_one_line(match: str = "") -> Iterator[pytest.ExceptionInfo[MmfeatError]]:
    """What is done within is refused in one line of words that match."""
    with pytest.raises(MmfeatError, match=match or None) as caught:
        yield caught
    assert "\n" not in str(caught.value)
