"""Which column of a table holds which slot: named by the user, or found by conventional names."""

import posixpath
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from mmfeat.errors import MmfeatError, did_you_mean
from mmfeat.records import (
    MODALITIES,
    PATH_COLUMNS,
    FileRef,
    is_missing,
    modality_of_extension,
    modality_of_slot,
)
from mmfeat.sources.base import InputOptions
from mmfeat.sources.tables.formats import Row

_SNIFFED_VALUES = 1000
"""Values of a column that are read to find the modality of its paths."""

_HINTED_ROWS = 20
"""Rows in which all values of a column must be paths, to say how they are read."""

_HINTED_CHARACTERS = 30
"""Mean number of characters of a column, from which its values are called texts."""

_NAMED_COLUMN = re.compile(r"([A-Za-z0-9_]+)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class ColumnFinder:
    """Finds the columns of media and texts.

    Args:
        path: the table, for error messages.
        names: all column names except those of nested bytes.
        options: the columns that the user named.
        rows: returns the rows of all files; read only if names are ambiguous, and only so far
            that enough values are seen.
        nested_bytes: columns with bytes inside lists or structs, which no part can be read from.
    """

    path: str
    names: Sequence[str]
    options: InputOptions
    rows: Callable[[], Iterator[Row]]
    nested_bytes: Collection[str] = ()

    def find(self) -> dict[str, str]:
        """Return slot → column, in the order of the modalities.

        Raises:
            MmfeatError: a named column does not exist, or no column is found.
        """
        columns = self._named_columns()
        columns |= self._conventional_columns(columns)
        if not columns:
            hints = "".join(f"; {hint}" for hint in self.hints({}))
            raise self._column_error(
                f"no column of images, audio or text found by its name in {self.path}"
                + (hints or "; name one with --image-column, --audio-column or --text-column"),
                None,
            )
        order = list(MODALITIES)
        slots = sorted(columns, key=lambda slot: order.index(modality_of_slot(slot) or slot))
        return {slot: columns[slot] for slot in slots}

    def hints(self, columns: Mapping[str, str]) -> list[str]:
        """Return what to write to use paths and texts in columns with unknown names.

        Args:
            columns: slot → column, as found.
        """
        modalities = {modality_of_slot(slot) for slot in columns}
        rows = [row for row in islice(self.rows(), _HINTED_ROWS) if isinstance(row, dict)]
        hints: dict[str, str] = {}
        texts: dict[str, float] = {}
        for name in self.names:
            values = [row[name] for row in rows if not is_missing(row.get(name))]
            found = {_path_modality(value) for value in values} or {None}
            modality = found.pop()
            if not found and modality not in (None, "text", *modalities):
                flag = f"--{modality}-column {shlex.quote(name)}"
                hints.setdefault(str(modality), f"column {name!r} has paths: {flag} reads them")
            elif not found and modality is None and (length := _text_length(values)):
                texts[name] = length
        if texts and "text" not in modalities:
            name = max(texts, key=texts.__getitem__)
            flag = f"--text-column {shlex.quote(name)}"
            hints["text"] = f"column {name!r} has texts: {flag} reads them"
        return list(hints.values())

    def _named_columns(self) -> dict[str, str]:
        columns: dict[str, str] = {}
        for modality, arguments in self.options.columns.items():
            for text in arguments:
                match = _NAMED_COLUMN.fullmatch(text)
                suffix, column = match.groups() if match and text not in self.names else ("", text)
                if column in self.nested_bytes:
                    raise MmfeatError(
                        f"--{modality}-column must name a column with one value per row; this one "
                        "has lists or structs of bytes",
                        got=column,
                        cure="Give each file a column, or each file a row",
                    )
                name, equals, rest = text.partition("=")
                if column not in self.names and equals and rest in self.names:
                    raise MmfeatError(
                        f"--{modality}-column NAME=COLUMN must have a NAME of ASCII letters, "
                        "digits and _",
                        got=name,
                        cure=f"Choose another name, as in --{modality}-column left={rest}",
                    )
                if column not in self.names:
                    rule = f"--{modality}-column must name a column of {self.path}"
                    raise self._column_error(rule, column)
                slot = f"{modality}.{suffix}" if suffix else modality
                if slot.lower() in map(str.lower, columns):
                    raise MmfeatError(
                        f"--{modality}-column is given twice for the same part",
                        got=column,
                        cure=f"Name the second part, as in --{modality}-column left={column}",
                    )
                columns[slot] = column
        if self.options.key_column and self.options.key_column not in self.names:
            rule = f"--key-column must name a column of {self.path}"
            raise self._column_error(rule, self.options.key_column)
        return columns

    def _conventional_columns(self, named: dict[str, str]) -> dict[str, str]:
        """Return columns for the modalities without a named one, by conventional names."""
        by_lower_name = {name.strip().casefold(): name for name in reversed(self.names)}
        unnamed = [m for m in MODALITIES if not self.options.columns.get(m)]
        columns: dict[str, str] = {}

        def add_path_column(name: str, default: str | None) -> None:
            column = by_lower_name.get(name)
            if column is None or column in named.values():
                return
            modality = self._sniff_modality(column) or default
            if modality in unnamed:
                columns.setdefault(str(modality), column)

        for name in PATH_COLUMNS[:2]:
            add_path_column(name, "image")
        for modality in unnamed:
            for name in MODALITIES[modality].columns:
                if name in by_lower_name:
                    columns.setdefault(modality, by_lower_name[name])
        for name in (*PATH_COLUMNS[2:], "url"):
            has_image = "image" in named or (columns and name != "url")
            add_path_column(name, None if has_image else "image")
        return columns

    def _sniff_modality(self, column: str) -> str | None:
        """Return the modality of the first path in a column with a known extension."""
        cells = (row.get(column) for row in self.rows() if isinstance(row, dict))
        values = (value for value in cells if not is_missing(value))
        return next(filter(None, map(_path_modality, islice(values, _SNIFFED_VALUES))), None)

    def _column_error(self, rule: str, got: str | None) -> MmfeatError:
        cure = f"{did_you_mean(got or '', self.names)} Its columns are: {', '.join(self.names)}"
        return MmfeatError(rule, got=got, cure=cure.strip())


def _text_length(values: Sequence[object]) -> float:
    """Return the mean length of values that look like texts, and 0 for others: classes, numbers,
    dates, URLs, JSON and base64.
    """
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values) or len(set(texts)) <= len(texts) / 2:
        return 0
    joined = "".join(texts)
    is_text = (
        len(joined) >= _HINTED_CHARACTERS * len(texts)
        and sum(map(str.isalpha, joined)) >= len(joined) / 2
        and (any(map(str.isspace, joined)) or not joined.isascii())
        and not any(text.lstrip().startswith(("{", "[")) or "://" in text[:32] for text in texts)
    )
    return len(joined) / len(texts) if is_text else 0


def _path_modality(value: object) -> str | None:
    """Return the modality of a path or URL with a known extension."""
    if not isinstance(value, str):
        return None
    extension = posixpath.splitext(FileRef(value.strip()).name)[1].removeprefix(".")
    return modality_of_extension(extension)
