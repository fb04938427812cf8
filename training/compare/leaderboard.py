"""Build, write and print the leaderboard: quality with intervals, ties, cost, and the pick."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.pages import format_compact
from mmfeat.storage import files
from mmfeat.system import print_out, show_table
from training.compare.config import CompareConfig
from training.compare.emap import EmapScore
from training.compare.grid import ModelSpec
from training.compare.statistics import ModelComparison, compare_with_best
from training.compare.statistics.pareto import (
    Candidate,
    pareto_front,
    pick_best,
    pick_cheapest_tied,
)
from training.compare.trials import Trial
from training.data import TEST, VAL, Dataset
from training.report import LEADERBOARD


@dataclass(frozen=True)
class ModelResults:
    """The results of all trials of a model.

    Attributes:
        folders, trials: one per finished seed.
        val, test: predictions of each seed on these splits, shape (seeds, rows, …).
        emap_score: None if a seed is not finished.
    """

    spec: ModelSpec
    folders: list[str]
    trials: list[Trial]
    val: np.ndarray
    test: np.ndarray
    emap_score: EmapScore | None


@dataclass(frozen=True)
class LeaderboardRow:
    """A model in the table.

    Attributes:
        mean: the metric on the test split, over seeds.
        sd: its standard deviation over seeds; None for one seed.
        low, high: 95 % interval of the mean over rows, and over seeds if there are several.
        val_mean: the metric on validation, over seeds.
        difference: mean − mean of the best model.
        p_value: p-value of "may be the best model", corrected for the number of models.
        tied: in the 95 % confidence set of the best model on the test split.
        emap, emap_full, uses_interaction: `emap`, `full` and `used` of `EmapScore`, for the best
            seed. None if the model does not fuse modalities, or if a seed is not finished.
        train_rows_per_second, score_rows_per_second: mean over seeds, measured while other trials
            run in parallel.
        pareto: no other model is as good with fewer FLOPs.
        picked: this model is picked, on validation.
    """

    name: str
    fusion: str
    combination: str
    modalities: str
    lr: float | None
    seeds: int
    mean: float
    sd: float | None
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


def build_leaderboard(
    results: Sequence[ModelResults], dataset: Dataset, metric: str, pick: str
) -> list[LeaderboardRow]:
    """Build one row per model, in the order of `results`.

    Args:
        results: the models.
        dataset: the dataset they were trained on.
        metric: name of the metric.
        pick: `best` or `cheapest-tied`, decided on validation.
    """
    objective = dataset.objective
    measure = objective.comparison_metric(metric)
    comparisons: dict[str, dict[str, ModelComparison]] = {}
    for split in (VAL, TEST):
        truth = objective.comparison_targets(dataset.targets[dataset.split_rows[split]])
        predictions = {result.spec.name: getattr(result, split) for result in results}
        comparisons[split] = compare_with_best(truth, predictions, measure)
    rows = [
        _row(result, comparisons[TEST][result.spec.name], comparisons[VAL][result.spec.name])
        for result in results
    ]
    on_test = [Candidate(r.name, objective.maximized(metric, r.mean), r.flops) for r in rows]
    front = {candidate.name for candidate in pareto_front(on_test)}
    on_validation = [
        Candidate(
            row.name,
            objective.maximized(metric, row.val_mean),
            row.flops,
            comparisons[VAL][row.name].tied,
        )
        for row in rows
    ]
    picked = (pick_cheapest_tied if pick == "cheapest-tied" else pick_best)(on_validation)
    return [replace(row, pareto=row.name in front, picked=row.name == picked.name) for row in rows]


def _row(result: ModelResults, test: ModelComparison, val: ModelComparison) -> LeaderboardRow:
    trials, spec = result.trials, result.spec
    fuses = len(spec.modalities) > 1 and not spec.is_linear
    emap_score = result.emap_score if fuses and result.emap_score else None
    if emap_score and not emap_score.rows:
        emap_score = None
    return LeaderboardRow(
        name=spec.name,
        fusion=spec.fusion,
        combination=spec.combination,
        modalities=",".join(spec.modalities),
        lr=trials[0].choice.get("lr"),
        seeds=len(trials),
        mean=test.mean,
        sd=float(test.values.std(ddof=1)) if len(trials) > 1 else None,
        low=test.interval.low,
        high=test.interval.high,
        val_mean=val.mean,
        difference=test.difference,
        p_value=test.p_value,
        tied=test.tied,
        emap=emap_score.emap if emap_score else None,
        emap_full=emap_score.full if emap_score else None,
        uses_interaction=emap_score.used if emap_score else None,
        parameters=trials[0].parameters,
        flops=trials[0].flops,
        train_rows_per_second=_mean([trial.train_rows_per_second for trial in trials]),
        score_rows_per_second=_mean([trial.score_rows_per_second for trial in trials]),
        train_seconds=sum(trial.train_seconds for trial in trials),
        peak_memory_mb=max(trial.peak_memory_mb for trial in trials),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def write_leaderboard(folder: str, rows: Sequence[LeaderboardRow]) -> None:
    """Write leaderboard.parquet, one row per model."""
    table = pa.Table.from_pylist([asdict(row) for row in rows])
    table = table.cast(
        pa.schema(
            # A column without values, such as `sd` of one seed, is still one of numbers.
            pa.field(field.name, pa.float64()) if pa.types.is_null(field.type) else field
            for field in table.schema
        )
    )
    with files.create(files.join(folder, LEADERBOARD)) as output:
        pq.write_table(table, output)


def show_leaderboard(
    rows: Sequence[LeaderboardRow],
    metric: str,
    dataset: Dataset,
    config: CompareConfig,
    missing: int = 0,
) -> None:
    """Print the table, best model first, and its summary in words.

    Args:
        rows: one row per model, the best first.
        metric: name of the metric.
        dataset: the rows that were compared on.
        config: the options.
        missing: number of trials that the time limit has left out.
    """
    show_table(
        f"{metric} on {len(dataset.split_rows[TEST]):,} test rows (split: {dataset.rule})",
        ["", metric, "sd", "95 %", "vs best", "validation", "EMAP"],
        [
            [
                _marked_name(row),
                f"{row.mean:.3f}",
                "" if row.sd is None else f"{row.sd:.3f}",
                _interval(row),
                _versus_best(row, is_best=row is rows[0]),
                f"{row.val_mean:.3f}",
                _emap(row),
            ]
            for row in rows
        ],
    )
    show_table(
        "cost",
        ["", "parameters", "FLOPs", "train rows/s", "score rows/s", "MB"],
        [
            [
                _marked_name(row),
                format_compact(row.parameters),
                format_compact(row.flops),
                format_compact(row.train_rows_per_second),
                format_compact(row.score_rows_per_second),
                f"{row.peak_memory_mb:.0f}",
            ]
            for row in rows
        ],
    )
    picked = next(row for row in rows if row.picked)
    reason = (
        "best on validation"
        if config.pick == "best"
        else "fewest FLOPs among the models tied with the best on validation"
    )
    if missing:
        trained = sum(row.seeds for row in rows)
        reason += f", after {trained:,} of {trained + missing:,} trials"
        if not any("," in row.modalities for row in rows):
            reason += ", none of them of several columns"
    print_out(f"→ picked: {picked.name} ({reason}). * no other model is as good with fewer FLOPs.")
    tied = [row for row in rows if row.tied]
    if len(tied) > 1:
        cheapest = min(tied, key=lambda row: row.flops)
        print_out(
            f"{len(tied)} models are tied for the best on the test rows; the cheapest of them is "
            f"{cheapest.name} ({format_compact(cheapest.flops)} FLOPs): "
            f"{', '.join(row.name for row in tied)}"
        )
    fused = [row for row in rows if row.uses_interaction is not None]
    using = [row.name for row in fused if row.uses_interaction]
    if fused:
        print_out(
            f"Models that gain from interaction between modalities: {', '.join(using) or 'none'}"
        )


def _marked_name(row: LeaderboardRow) -> str:
    return ("→ " if row.picked else "  ") + row.name + (" *" if row.pareto else "")


def _interval(row: LeaderboardRow) -> str:
    return f"{row.low:.3f} – {row.high:.3f}" + (" (rows)" if row.seeds == 1 else "")


def _versus_best(row: LeaderboardRow, *, is_best: bool) -> str:
    if is_best:
        return "best mean"
    p_value = "p < 0.001" if row.p_value < 0.001 else f"p = {row.p_value:.3f}"
    return f"{row.difference:+.3f}, {'tied' if row.tied else p_value}"


def _emap(row: LeaderboardRow) -> str:
    if row.emap is None or row.emap_full is None:
        return ""
    return f"{row.emap:.3f} of {row.emap_full:.3f}"
