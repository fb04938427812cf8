"""The two kinds of trouble: a mistake the user can mend, and a record that is bad."""

from functools import partial
from typing import Any


class MmfeatError(Exception):
    """A mistake the user can mend. The command line prints it as one line and exits with 1.

    Args:
        rule: what must hold, with the path or key it is about.
        got: the value received, where there is one.
        cure: what to do about it.
    """

    def __init__(self, rule: str, *, got: object = None, cure: str = "") -> None:
        self.rule, self.got, self.cure = rule, got, cure
        super().__init__(rule)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it crosses from one process to another."""
        return partial(type(self), got=self.got, cure=self.cure), (self.rule,)

    def __str__(self) -> str:
        text = self.rule
        if self.got is not None:
            text += f"; got {self.got!r}"
        if self.cure:
            text += f". {self.cure}"
        return text


class RecordError(Exception):
    """One part of one record cannot be used. It becomes a row's reason, never the end of a shard.

    Args:
        reason: a word of the fixed vocabulary in `mmfeat.records.record.REASONS`.
        detail: what was seen, for a person to read.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason, detail)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason
