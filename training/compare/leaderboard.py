"""The table of a comparison: quality with its interval, ties, cost, and what is picked."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.store import files
from mmfeat.system.console import say, show_table
from training.compare.bootstrap import Standing, compare
from training.compare.config import CompareConfig
from training.compare.interaction import Interaction
from training.compare.pareto import Candidate, best, cheapest_tied, pareto_front
from training.compare.systems import LINEAR, System
from training.compare.trials import Cell
from training.data.dataset import Dataset
from training.data.splits import TEST, VAL
from training.report import LEADERBOARD


@dataclass(frozen=True)
class Line:
    """All that is known of a system.

    Attributes:
        cells: one a seed.
        val, test: what each seed predicts of these splits, shape (seeds, rows, …).
    """

    system: System
    cells: list[Cell]
    val: np.ndarray
    test: np.ndarray
    interaction: Interaction


@dataclass(frozen=True)
class Row:
    """A system in the table.

    Attributes:
        mean, sd: of the metric on the test split, over seeds.
        low, high: 95 % interval of the mean, over rows and seeds.
        val_mean: of the metric on validation, over seeds.
        difference: mean - mean of the best.
        p_value: of that difference, corrected for the number of comparisons.
        tied: not told from the best on the test split.
        emap, emap_full: see `Interaction`; `emap_full` is of the same rows and seed as `emap`.
            None, as `uses_interaction`, where nothing is fused.
        train_rows_per_second, score_rows_per_second: mean over seeds, with other cells beside it.
        pareto: whether no other is as good with fewer FLOPs.
        picked: by validation, as --pick says.
    """

    name: str
    fusion: str
    combination: str
    modalities: str
    lr: float | None
    seeds: int
    mean: float
    sd: float
    low: float
    high: float
    val_mean: float
    difference: float
    p_value: float
    tied: bool
    emap: float | None
    emap_full: float | None
    uses_interaction: bool | None
    parameters: int
    flops: float
    train_rows_per_second: float
    score_rows_per_second: float
    train_seconds: float
    peak_memory_mb: float
    pareto: bool = False
    picked: bool = False


def make_leaderboard(lines: Sequence[Line], dataset: Dataset, metric: str, pick: str) -> list[Row]:
    """A row for each line, in their order.

    Args:
        lines: the systems.
        dataset: that they were trained on.
        metric: name of the metric.
        pick: `best` or `cheapest-tied`; validation decides.
    """
    objective = dataset.objective
    measure = objective.metric(metric)
    standings: dict[str, dict[str, Standing]] = {}
    for split in (VAL, TEST):
        truth = objective.comparable(dataset.targets[dataset.parts[split]])
        said = {line.system.name: getattr(line, split) for line in lines}
        standings[split] = compare(truth, said, measure)
    truth = objective.comparable(dataset.targets[dataset.parts[TEST]])
    rows = [
        _row(line, standings[TEST][line.system.name], standings[VAL][line.system.name],
             np.array([measure(truth, one) for one in line.test]))
        for line in lines
    ]  # fmt: skip
    quality = {row.name: objective.better(metric, row.mean) for row in rows}
    front = {
        c.name for c in pareto_front([Candidate(r.name, quality[r.name], r.flops) for r in rows])
    }
    choose = cheapest_tied if pick == "cheapest-tied" else best
    picked = choose(
        [
            Candidate(
                row.name,
                objective.better(metric, row.val_mean),
                row.flops,
                standings[VAL][row.name].tied,
            )
            for row in rows
        ]
    )
    return [replace(row, pareto=row.name in front, picked=row.name == picked.name) for row in rows]


def _row(line: Line, test: Standing, val: Standing, values: np.ndarray) -> Row:
    cells, system = line.cells, line.system
    fuses = len(system.modalities) > 1 and system.fusion not in LINEAR
    return Row(
        name=system.name,
        fusion=system.fusion,
        combination=system.combination,
        modalities=",".join(system.modalities),
        lr=cells[0].choice.get("lr"),
        seeds=len(cells),
        mean=test.mean,
        sd=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        low=test.interval.low,
        high=test.interval.high,
        val_mean=val.mean,
        difference=test.difference,
        p_value=test.p_holm,
        tied=test.tied,
        emap=line.interaction.emap if fuses else None,
        emap_full=line.interaction.full if fuses else None,
        uses_interaction=line.interaction.used if fuses else None,
        parameters=cells[0].parameters,
        flops=cells[0].flops,
        train_rows_per_second=_mean([cell.train_rows_per_second for cell in cells]),
        score_rows_per_second=_mean([cell.score_rows_per_second for cell in cells]),
        train_seconds=sum(cell.train_seconds for cell in cells),
        peak_memory_mb=max(cell.peak_memory_mb for cell in cells),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def write_leaderboard(folder: str, rows: Sequence[Row]) -> None:
    """Write leaderboard.parquet, one row a system."""
    table = pa.Table.from_pylist([asdict(row) for row in rows])
    with files.create(files.join(folder, LEADERBOARD)) as output:
        pq.write_table(table, output)


def show_leaderboard(
    rows: Sequence[Row], metric: str, dataset: Dataset, config: CompareConfig
) -> None:
    """The table as a person reads it, the best first, and what it says in words."""
    show_table(
        f"{metric} on {len(dataset.parts[TEST]):,} test rows (split by {dataset.rule})",
        ["", metric, "sd", "95 %", "against the best", "validation", "EMAP"],
        [
            [
                _marked(row),
                f"{row.mean:.3f}",
                f"{row.sd:.3f}" if row.seeds > 1 else "",
                f"{row.low:.3f} – {row.high:.3f}",
                _against_best(row),
                f"{row.val_mean:.3f}",
                _emap(row),
            ]
            for row in rows
        ],
    )
    show_table(
        "cost",
        ["", "parameters", "FLOPs", "rows/s to train", "rows/s to score", "MB"],
        [
            [
                _marked(row),
                _short(row.parameters),
                _short(row.flops),
                _short(row.train_rows_per_second),
                _short(row.score_rows_per_second),
                f"{row.peak_memory_mb:.0f}",
            ]
            for row in rows
        ],
    )
    picked = next(row for row in rows if row.picked)
    how = (
        "best on validation"
        if config.pick == "best"
        else "fewest FLOPs among those that validation cannot tell from the best"
    )
    say(f"→ picked: {picked.name} ({how}). * no other is as good with fewer FLOPs.")
    tied = [row.name for row in rows if row.tied and row.difference != 0]
    if tied:
        say(f"Not told from the best by these test rows: {', '.join(tied)}")
    fused = [row for row in rows if row.uses_interaction is not None]
    using = [row.name for row in fused if row.uses_interaction]
    if fused:
        say(f"Interaction between modalities pays in: {', '.join(using) or 'none'} (see EMAP)")


def _marked(row: Row) -> str:
    return ("→ " if row.picked else "  ") + row.name + (" *" if row.pareto else "")


def _against_best(row: Row) -> str:
    if row.difference == 0:
        return "the best"
    return f"{row.difference:+.3f}, {'tied' if row.tied else f'p = {row.p_value:.3f}'}"


def _emap(row: Row) -> str:
    if row.emap is None or row.emap_full is None:
        return ""
    return f"{row.emap:.3f} of {row.emap_full:.3f}"


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
