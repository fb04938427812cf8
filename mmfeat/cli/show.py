"""The command `mmfeat show`: one record in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmfeat.config import parse_args
from mmfeat.inspection.config import ShowConfig
from mmfeat.pages import clean_text, format_bytes
from mmfeat.records import REASONS
from mmfeat.system import console

_MAX_CHARACTERS = 4000


def main(arguments: Sequence[str]) -> None:
    """Print what the stores know of the record."""
    config = parse_args(ShowConfig, arguments, prog="mmfeat show")
    from mmfeat.inspection.describe_record import describe_record

    facts = describe_record(config)
    if config.json:
        console.print_json(facts, indent=2)
        return
    for kind, section in facts.items():
        if isinstance(section, Mapping):
            place = f"{facts['path']}" if kind == facts["kind"] else str(section.get("path", ""))
            rest = {name: value for name, value in section.items() if name != "path"}
            title = f"{kind} {place}".rstrip()
            console.show_summary(f"{clean_text(config.key, 200)} in {title}", _lines(rest, ""))


def _lines(facts: Mapping[str, Any], indent: str) -> list[tuple[str, Any]]:
    """Return the lines of a section; texts are data, without control characters."""
    lines: list[tuple[str, Any]] = []
    for name, value in facts.items():
        label = indent + clean_text(name)
        if name in ("features", "parts", "columns") or isinstance(value, Mapping):
            part = _one_line(value)
            nested = [] if part else _lines(value, indent + "  ")
            lines += [(label, part), *nested] if part or nested else []
        elif name in ("reason", "error") and value:
            lines.append((label, _explain(str(value))))
        else:
            lines.append((label, value if isinstance(value, int | float) else _clean(value)))
    return lines


def _one_line(part: Mapping[str, Any]) -> str:
    """Return a part of a record in one line; empty for other facts."""
    if isinstance(part.get("bytes"), int):  # classes may have such names
        return _part_line(part)
    if "shape" in part and "dtype" in part:
        return (
            f"{part['shape']} x {part['dtype']} of {_clean(part['slot'])} by "
            f"{_clean(part['encoder'])}; norm {_number(part['norm'])}, values "
            f"{_number(part['min'])} to {_number(part['max'])}, {part['zeros']} zeros"
        )
    if "encoder" in part and "reason" in part:
        return f"none: {_explain(str(part['reason']))}"
    return ""


def _part_line(part: Mapping[str, Any]) -> str:
    words = [format_bytes(part["bytes"])]
    if "width" in part:
        words.insert(0, f"{part['format']}, {part['width']} x {part['height']} pixels")
    if "seconds" in part:
        channels = f"{part['channels']} channel{'s' if part['channels'] != 1 else ''}"
        words.insert(0, f"{part['seconds']:g} s, {part['rate']:,} Hz, {channels}")
    if "problem" in part:
        words.append(_clean(part["problem"]))
    text = f"\n{_clean(part['text'])}" if part.get("text") else ""
    return ", ".join(words) + text


def _explain(reason: str) -> str:
    """Return a reason with the meaning of its first word."""
    meaning = REASONS.get(reason.partition(",")[0].rpartition(":")[2])
    return f"{_clean(reason)} ({meaning})" if meaning else _clean(reason)


def _number(value: Any) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def _clean(value: Any) -> str:
    """Return a text without control characters, which a terminal would obey, line by line."""
    lines = str("" if value is None else value)[:_MAX_CHARACTERS].splitlines()
    return "\n".join(clean_text(line, _MAX_CHARACTERS) for line in lines)
