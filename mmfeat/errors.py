"""The two kinds of errors: a mistake that the user can fix, and an unusable record."""

from functools import partial
from typing import Any


class MmfeatError(Exception):
    """A mistake that the user can fix. The command line prints it as one line and exits with 1.

    Args:
        rule: what must hold, with the path or key that it is about.
        got: the value received, if there is one.
        cure: what to do.
    """

    def __init__(self, rule: str, *, got: object = None, cure: str = "") -> None:
        self.rule, self.got, self.cure = rule, got, cure
        super().__init__(rule)

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickle, which passes errors between processes."""
        return partial(type(self), got=self.got, cure=self.cure), (self.rule,)

    def __str__(self) -> str:
        text = self.rule
        if self.got is not None:
            text += f"; got {self.got!r}"
        if self.cure:
            text += f". {self.cure}"
        return text


class RecordError(Exception):
    """One part of one record cannot be used. It becomes the reason in a row; the shard continues.

    Args:
        reason: a word of the vocabulary `mmfeat.records.record.REASONS`.
        detail: what was found, for people.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason, detail)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason
