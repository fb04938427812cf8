"""The lines of `mmfeat info`: what a store is first, its settings later, its digests last."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmfeat.cli.search_lines import search_lines
from mmfeat.cli.store_commands import command_of
from mmfeat.features import parse_columns
from mmfeat.pages import clean_text, format_bytes, format_number
from mmfeat.records import REASONS

Lines = list[tuple[str, Any]]

_DIGEST = re.compile(r"[0-9a-f]{32,}")
_LEADERS = 5
"""Models of a comparison that are shown."""

_MAX_CLASSES = 20
_MAX_VALUES = 6
_MAX_CHARACTERS = 400


def summary_lines(facts: Mapping[str, Any]) -> Lines:
    """Return the lines about a store, from `describe_store` and `read_contents`."""
    config = dict(facts["config"])
    contents = facts.get("contents", {})
    lines = [
        ("finished", "yes" if facts["finished"] else _unfinished_cure(facts)),
        *_progress_lines(facts),
        *_total_lines(facts.get("totals", {})),
        *_store_lines(facts),
        *_model_lines(config, contents),
        *_content_lines(contents, facts),
        *(
            (f"failed shard {shard}", _clean(error))
            for shard, error in facts["failed_shards"].items()
        ),
    ]
    digests: Lines = [("configuration", facts["config_hash"][:12])]
    for name in ("classes", "columns", "target", "task", "systems"):
        config.pop(name, None)
    settings = _nested_lines(config, "  ", digests)
    if settings:
        lines += [("settings", ""), *settings]
    lines += [("digests", ""), *((f"  {name}", value) for name, value in digests)]
    return lines + _fingerprint_lines(facts)


def _progress_lines(facts: Mapping[str, Any]) -> Lines:
    return [
        (name, " of ".join(f"{number:,}" for number in numbers))
        for name, numbers in facts.get("progress", {}).items()
    ]


def _total_lines(totals: Mapping[str, Any]) -> Lines:
    """Return counts with the meaning of the reasons, and sizes."""
    lines: Lines = []
    for name, value in totals.items():
        if name == "columns":
            continue
        if isinstance(value, dict):
            total = sum(number for number in value.values() if isinstance(number, int))
            if name == "rejected" and total:
                lines.append((name, total))
            elif value and name != "rejected":
                lines.append((name, ""))
            lines += [(f"  {_clean(key)}", _explain(key, number)) for key, number in value.items()]
        elif name.startswith("bytes"):
            lines.append((name.replace("_", " "), format_bytes(value)))
        else:
            lines.append((name.replace("_", " "), value))
    return lines


def _explain(reason: str, number: Any) -> Any:
    meaning = REASONS.get(str(reason).partition(",")[0].rpartition(":")[2])
    return f"{number:,} ({meaning})" if meaning and isinstance(number, int) else number


def _store_lines(facts: Mapping[str, Any]) -> Lines:
    """Return shards, slots, feature columns, and the winner of a comparison."""
    lines: Lines = []
    if "shards" in facts:
        lines.append(("shards", len(facts["shards"])))
    if "slots" in facts:
        lines.append(("slots", ", ".join(map(_clean, facts["slots"]))))
    if facts["kind"] == "features":
        counts = facts.get("totals", {}).get("columns", {})
        for name, column in parse_columns(facts.get("columns", {}), facts["path"]).items():
            number = counts.get(name, {}).get("out")
            features = f"{number:,} features of " if number is not None else ""
            lines.append((f"column {name}", f"{features}{column.slot}, {column.summary}"))
    lines += _leaderboard_lines(facts)
    if "winner" in facts:
        winner = facts["winner"]
        lines.append(("winner", f"{_clean(winner['name'])}, in {_clean(winner['model'])}"))
    if "missing" in facts:
        names = (f"{name} (seeds {', '.join(map(str, s))})" for name, s in facts["missing"].items())
        lines.append(("not trained within the time limit", _clean(", ".join(names))))
    return lines


def _leaderboard_lines(facts: Mapping[str, Any]) -> Lines:
    """Return the first models of a finished comparison with their metric on the test split."""
    rows = facts.get("leaderboard", ())
    if not rows:
        return []
    number = f"{len(rows):,} models, best first" if len(rows) > 1 else "1 model"
    lines: Lines = [("leaderboard", f"{facts['config'].get('metric', 'metric')} of {number}")]
    return lines + [(f"  {_clean(row['name'])}", f"{row['mean']:.3f}") for row in rows[:_LEADERS]]


def _model_lines(config: Mapping[str, Any], contents: Mapping[str, Any]) -> Lines:
    """Return task, target, classes, columns with their encoders, and metrics."""
    lines: Lines = [(name, _clean(config[name])) for name in ("task", "target") if config.get(name)]
    classes = config.get("classes")
    if isinstance(classes, list) and classes:
        shown = ", ".join(map(_clean, classes[:_MAX_CLASSES]))
        more = f", … ({len(classes):,} in all)" if len(classes) > _MAX_CLASSES else ""
        lines.append(("classes", shown + more))
    for column in _columns(config):
        encoder = column.get("encoder")
        name = encoder.get("name", "") if isinstance(encoder, dict) else ""
        shape = f"{column.get('dim', '?')} x {column.get('dtype', 'float32')}"
        text = ", ".join(_clean(word) for word in (column.get("modality"), shape, name) if word)
        lines.append((f"column {_clean(column.get('name', ''))}", text))
    for split, values in contents.get("metrics", {}).items():
        words = [f"{name} {format_number(value)}" for name, value in values.items()]
        lines.append((split, ", ".join(words)))
    if "parameters" in contents:
        lines.append(("parameters", contents["parameters"]))
    return lines + search_lines(contents.get("search", {}))


def _columns(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the feature columns of a model."""
    columns = config.get("columns")
    return [c for c in columns if isinstance(c, dict)] if isinstance(columns, list) else []


def _content_lines(contents: Mapping[str, Any], facts: Mapping[str, Any]) -> Lines:
    """Return the values of each column of the rows."""
    if "problem" in contents:
        return [("rows", _clean(contents["problem"]))]
    columns = contents.get("columns")
    if not columns:
        return []
    rows, total = contents["rows_read"], facts.get("totals", {}).get("records", 0)
    title = f"{rows:,} of about {total:,} rows" if total > rows else f"{rows:,} rows"
    lines: Lines = [("values", title)]
    for name, summary in columns.items():
        if summary["filled"] and name not in ("status", "reason", "shard"):
            lines.append((f"  {_clean(name)}", _column_text(summary, rows)))
    return lines


def _column_text(summary: Mapping[str, Any], rows: int) -> str:
    words = [summary["type"]]
    if summary["filled"] < rows:
        words.append(f"{summary['filled']:,} filled ({summary['filled'] / rows:.0%})")
    if "mean" in summary:
        low, mean, high = (format_number(summary[name]) for name in ("min", "mean", "max"))
        words.append(f"{low} to {high}, mean {mean}")
    distinct = summary.get("distinct", 0)
    if 0 < distinct <= summary["filled"] / 2 or distinct == 1:
        values = list(summary["most_frequent"].items())
        shown = ", ".join(
            f"{clean_text(value, 30)} ({count:,})" for value, count in values[:_MAX_VALUES]
        )
        more = ", …" if distinct > _MAX_VALUES else ""
        words.append(f"{distinct:,} value{'s' if distinct != 1 else ''}: {shown}{more}")
    elif distinct:
        words.append(f"{distinct:,} different values")
    return ", ".join(words)


def _fingerprint_lines(facts: Mapping[str, Any]) -> Lines:
    """Return the fingerprints of the feature columns."""
    if facts["kind"] == "features":
        columns = parse_columns(facts.get("columns", {}), facts["path"])
        return [(f"  fingerprint of {n}", c.fingerprint[:12]) for n, c in columns.items()]
    named = facts["config"].get("columns")
    pairs = [(c.get("name", ""), c.get("fingerprint", "")) for c in _columns(facts["config"])]
    pairs += list(named.items()) if isinstance(named, dict) else []
    return [(f"  fingerprint of {_clean(name)}", _clean(text)[:12]) for name, text in pairs]


def _nested_lines(facts: Mapping[str, Any], indent: str, digests: Lines, parent: str = "") -> Lines:
    """Return the settings that are set; digests are added to `digests`."""
    lines: Lines = []
    for name, value in facts.items():
        label = f"{parent} {name}".strip()
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            value = {str(item.get("name", number)): item for number, item in enumerate(value)}
        if isinstance(value, dict):
            if nested := _nested_lines(value, indent + "  ", digests, label):
                lines += [(f"{indent}{_clean(name)}", ""), *nested]
        elif isinstance(value, str) and _DIGEST.fullmatch(value):
            digests.append((_clean(label), value[:12]))
        elif isinstance(value, list):
            lines += [(f"{indent}{_clean(name)}", ", ".join(map(_clean, value)))] if value else []
        elif isinstance(value, bool) or value not in (None, ""):
            shown = value if isinstance(value, int | float) else _clean(value)
            lines.append((f"{indent}{_clean(name)}", shown))
    return lines


def sample_table(contents: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Return the header and the rows of a table of sample rows; empty if there are none.

    The first columns that fit are shown, the key first.
    """
    samples: Sequence[Mapping[str, Any]] = contents.get("samples", ())
    names = list(dict.fromkeys(name for row in samples for name in row))
    names = sorted(names, key=lambda name: name not in ("__key__", "status"))[: _MAX_VALUES + 1]
    rows = [[_sample_cell(row.get(name, "")) for name in names] for row in samples]
    return [_clean(name) for name in names], rows


def _sample_cell(value: Any) -> Any:
    if isinstance(value, float):
        return format_number(value)
    return clean_text(value, 40)


def _unfinished_cure(facts: Mapping[str, Any]) -> str:
    return f"no: run again {command_of(facts['kind'], facts['path'])}"


def _clean(value: Any) -> str:
    return clean_text(value, _MAX_CHARACTERS)
