"""The leaderboard of a comparison: what was tried, ordered, and why one of them is picked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from mmfeat.errors import MmfeatError
from mmfeat.store import files
from training.report.text import compact, number, plain, title

LEADERBOARD = "leaderboard.parquet"

LOWER_IS_BETTER = frozenset(
    "mae mse rmse nll ece loss median_absolute_error mean_absolute_error".split()
)

_COSTS = {
    "flops": ("the fewest FLOPs a record", False),
    "parameters": ("the fewest parameters", False),
    "score_rows_per_second": ("the most rows scored a second", True),
    "peak_memory_mb": ("the least memory in MB", False),
}
"""Column → how the cheapest is called, and whether more is cheaper."""

Row = dict[str, Any]

_NOTHING: Row = dict.fromkeys(
    (
        "fusion combination modalities lr seeds sd low high val_mean difference p_value tied emap "
        "emap_full uses_interaction parameters flops train_rows_per_second score_rows_per_second "
        "peak_memory_mb pareto picked"
    ).split()
)
"""What a row may know, beside its name and its mean."""


@dataclass(frozen=True)
class Leaderboard:
    """The rows, the best first.

    Attributes:
        metric: that they are judged by.
        higher: whether more of it is better.
    """

    rows: list[Row]
    metric: str
    higher: bool

    @property
    def best(self) -> Row:
        """The row with the best mean."""
        return self.rows[0]

    @property
    def picked(self) -> Row | None:
        """The row that is picked."""
        return next((row for row in self.rows if row.get("picked")), None)

    @property
    def tied(self) -> list[Row]:
        """The rows that cannot be told from the best one, which is among them."""
        return [row for row in self.rows if row.get("tied") or row is self.best]

    @property
    def cost(self) -> str:
        """The column of costs that most rows have: FLOPs, where they are known."""
        known = {name: sum(_known(row, name) for row in self.rows) for name in _COSTS}
        return max(known, key=lambda name: known[name])

    def verdict(self) -> str:
        """Which one is picked, and why, in words that the rows bear out."""
        picked, best, tied = self.picked, self.best, self.tied
        if picked is None:
            return ""
        told = f"Picked: {plain(picked['name'])}, {title(self.metric)} {interval(picked)}."
        other = f"{plain(best['name'])} ({number(best['mean'])})"
        if picked is not best and picked not in tied:
            return f"{told} The best is {other}."
        if picked is not best:
            told += f" It cannot be told from the best, {other}."
        elif len(tied) == 1:
            return f"{told} It is the best, and no other one ties with it."
        else:
            told += " It is the best."
        reasons = [
            f"{word} ({compact(picked[name])})"
            for name, (word, more) in _COSTS.items()
            if _is_cheapest(picked, tied, name, more)
        ]
        return f"{told} Of the {len(tied)} that tie it has {_listed(reasons)}." if reasons else told

    def without_interaction(self) -> list[Row]:
        """Rows that combine modalities and score as well without any interplay of them."""
        return [row for row in self.rows if row.get("uses_interaction") is False]

    def with_interaction(self) -> list[Row]:
        """Rows that score better for the interplay of their modalities."""
        return [row for row in self.rows if row.get("uses_interaction")]


def _known(row: Row, name: str) -> bool:
    return isinstance(row.get(name), int | float)


def _is_cheapest(picked: Row, tied: Sequence[Row], name: str, more: bool) -> bool:
    """Whether no tied row costs less, and one costs more."""
    if not all(_known(row, name) for row in tied):
        return False
    costs = [-row[name] if more else row[name] for row in tied]
    own = -picked[name] if more else picked[name]
    return own == min(costs) < max(costs)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def interval(row: Row) -> str:
    """`0.912 [0.900, 0.924]`."""
    if row.get("low") is None or row.get("high") is None:
        return number(row["mean"])
    return f"{number(row['mean'])} [{number(row['low'])}, {number(row['high'])}]"


def read_leaderboard(folder: str, metric: str, higher: bool | None) -> Leaderboard:
    """The leaderboard of a comparison, ordered.

    Args:
        folder: of the comparison.
        metric: its name.
        higher: whether more is better; None = as the metric's name tells.

    Raises:
        MmfeatError: there is none, or it has no row.
    """
    path = files.join(folder, LEADERBOARD)
    rows: list[Row] = []
    if files.exists(path):
        with files.open_input(path) as file:
            found = pq.read_table(file).to_pylist()
        rows = [_NOTHING | row for row in found if row.get("mean") is not None]
    if not rows:
        raise MmfeatError(
            f"a finished comparison has a {LEADERBOARD} with rows, and {folder} has none",
            cure="Name a directory that mmfeat compare wrote, or run mmfeat compare again",
        )
    more = metric not in LOWER_IS_BETTER if higher is None else higher
    rows.sort(key=lambda row: -row["mean"] if more else row["mean"])
    return Leaderboard(rows, metric, more)
