"""Read the leaderboard of a comparison, sort it, and explain the pick in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.pages import clean_text, display_name, format_compact, format_number
from mmfeat.storage import files, read_intact_document
from mmfeat.store import MANIFEST_FILE, open_recorded, read_parquet

LEADERBOARD = "leaderboard.parquet"

_COSTS = {
    "flops": ("the fewest FLOPs per record", False),
    "parameters": ("the fewest parameters", False),
    "score_rows_per_second": ("the most rows scored per second", True),
    "peak_memory_mb": ("the least memory in MB", False),
}
"""Cost column → description of the cheapest model, and whether higher is cheaper."""

Row = dict[str, Any]

_EMPTY_ROW: Row = dict.fromkeys(
    (
        "fusion combination modalities lr seeds sd low high val_mean difference p_value tied emap "
        "emap_full uses_interaction parameters flops train_rows_per_second score_rows_per_second "
        "peak_memory_mb pareto picked"
    ).split()
)
"""The optional columns of a row. A row always has a name and a mean."""


@dataclass(frozen=True)
class Comparison:
    """The rows of a leaderboard, best first.

    Attributes:
        metric: name of the metric.
        higher_is_better: whether higher values of the metric are better.
    """

    rows: list[Row]
    metric: str
    higher_is_better: bool

    @property
    def best(self) -> Row:
        """The row with the best mean."""
        return self.rows[0]

    @property
    def picked(self) -> Row | None:
        """The row that is picked."""
        return next((row for row in self.rows if row["picked"]), None)

    @property
    def tied(self) -> list[Row]:
        """The best row and the rows not significantly different from it."""
        return [row for row in self.rows if row["tied"] or row is self.best]

    @property
    def cheapest_tied(self) -> Row | None:
        """The row with the fewest FLOPs among the tied ones; None if no other is tied."""
        tied = [row for row in self.tied if row["flops"] is not None]
        return min(tied, key=lambda row: row["flops"]) if len(self.tied) > 1 and tied else None

    def verdict(self) -> str:
        """Say which model is picked and why."""
        picked, best, tied = self.picked, self.best, self.tied
        if picked is None:
            return ""
        name = clean_text(picked["name"])
        verdict = f"Picked: {name}, {display_name(self.metric)} {format_interval(picked)}."
        highest = f"{clean_text(best['name'])} ({format_number(best['mean'])})"
        others = len(tied) - 1
        if picked not in tied:
            verdict += f" It is significantly worse than the best mean on the test rows, {highest}"
            if others:
                verdict += f", which is tied with {_count_others(others)}"
            return f"{verdict}.{self._cheapest(tied)}"
        if not others:
            return f"{verdict} It is the best model; no other model ties with it."
        verdict += f" It is tied with {_count_others(others)}"
        verdict += "." if picked is best else f", among them the best mean, {highest}."
        reasons = [
            f"{description} ({format_compact(picked[column])})"
            for column, (description, higher_is_cheaper) in _COSTS.items()
            if _is_cheapest(picked, tied, column, higher_is_cheaper)
        ]
        if reasons:
            verdict += f" Of the {len(tied)} tied models it has {_enumerate(reasons)}."
        return verdict + self._cheapest([picked])

    def _cheapest(self, compared: Sequence[Row]) -> str:
        """Name the cheapest tied model, if it is cheaper than one of these rows."""
        cheapest = self.cheapest_tied
        if not cheapest or all(cheapest["flops"] >= (row["flops"] or 0) for row in compared):
            return ""
        cost = f"{format_compact(cheapest['flops'])} FLOPs per record"
        return f" The cheapest of them is {clean_text(cheapest['name'])} ({cost})."

    def with_interaction(self) -> list[Row]:
        """Return the rows that gain from interaction between modalities."""
        return [row for row in self.rows if row["uses_interaction"]]

    def without_interaction(self) -> list[Row]:
        """Return the rows that fuse modalities and score as well without interaction."""
        return [row for row in self.rows if row["uses_interaction"] is False]


def _is_cheapest(picked: Row, tied: Sequence[Row], column: str, higher_is_cheaper: bool) -> bool:
    """Return whether no tied row is cheaper than `picked`, and some row is more expensive."""
    if any(row[column] is None for row in tied):
        return False
    sign = -1 if higher_is_cheaper else 1
    costs = [sign * row[column] for row in tied]
    return bool(sign * picked[column] == min(costs) < max(costs))


def _count_others(number: int) -> str:
    return f"{number} other{'s' if number > 1 else ''}"


def _enumerate(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def format_interval(row: Row) -> str:
    """Format the mean and its interval: `0.912 [0.900, 0.924]`."""
    if row["low"] is None or row["high"] is None:
        return format_number(row["mean"])
    low, high = format_number(row["low"]), format_number(row["high"])
    return f"{format_number(row['mean'])} [{low}, {high}]"


def read_comparison(folder: str, metric: str, higher_is_better: bool) -> Comparison:
    """Read the leaderboard of a comparison, best row first.

    Args:
        folder: directory of the comparison.
        metric: name of the metric.
        higher_is_better: whether higher values of the metric are better.

    Raises:
        MmfeatError: the leaderboard is missing, empty, or not the one of the manifest.
    """
    path = files.join(folder, LEADERBOARD)
    rows: list[Row] = []
    if files.exists(path):
        manifest = read_intact_document(files.join(folder, MANIFEST_FILE), dict[str, Any]) or {}
        with open_recorded(folder, LEADERBOARD, manifest) as file:
            table = read_parquet(path, texts=["name"], file=file).to_pylist()
        rows = [_EMPTY_ROW | row for row in table if row.get("mean") is not None]
        # Older leaderboards have 0 as the deviation of one seed.
        rows = [row | {"sd": None} if row["seeds"] == 1 else row for row in rows]
    if not rows:
        raise MmfeatError(
            f"a finished comparison has a {LEADERBOARD} with rows; {folder} has none",
            cure="Name a directory that mmfeat compare wrote, or run mmfeat compare again",
        )
    rows.sort(key=lambda row: row["mean"], reverse=higher_is_better)
    return Comparison(rows, metric, higher_is_better)
