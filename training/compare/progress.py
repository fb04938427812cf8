"""Show the trials of a comparison as they finish, on standard error."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.table import Table

from mmfeat.system import make_console, print_err
from training.compare.grid import ModelSpec
from training.compare.trials import Trial


class TrialProgress:
    """A live table of the models on a terminal; elsewhere, a line per finished trial.

    Args:
        specs: the models.
        seeds: seeds of a model that is not linear.
    """

    def __init__(self, specs: Sequence[ModelSpec], seeds: int) -> None:
        self._seeds = {spec: len(spec.seeds(seeds)) for spec in specs}
        self._trials: dict[ModelSpec, dict[int, Trial]] = {spec: {} for spec in specs}
        self._live: Live | None = None
        if sys.stderr.isatty():
            console = make_console(stderr=True)
            self._live = Live(console=console, transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, spec: ModelSpec, seed: int, trial: Trial, *, is_new: bool = True) -> None:
        """Show a finished trial.

        Args:
            spec: the model.
            seed: its seed.
            trial: its figures.
            is_new: whether this run has trained it. Others have no line of their own.
        """
        self._trials[spec][seed] = trial
        if self._live:
            self._live.update(self._table(), refresh=True)
        elif is_new:
            print_err(
                f"compare: {spec.name}, seed {seed}: validation {_format_score(trial.val)}, "
                f"{describe_choice(trial)} ({self._done} of {self._total} trials)"
            )

    @property
    def _done(self) -> int:
        return sum(map(len, self._trials.values()))

    @property
    def _total(self) -> int:
        return sum(self._seeds.values())

    def _table(self) -> Table:
        """Return the table: models that are training, those not begun, then the finished ones.

        If the terminal is too low for all, the end of the table is not shown.
        """
        table = Table(title=f"compare: {self._done} of {self._total} trials", title_justify="left")
        for name in ("model", "seeds", "validation", "chosen by the first seed"):
            table.add_column(name)
        for spec in sorted(self._trials, key=self._order):
            trials = self._trials[spec]
            scores = [trial.val for trial in trials.values() if trial.val is not None]
            table.add_row(
                spec.name,
                f"{len(trials)} of {self._seeds[spec]}",
                _format_score(sum(scores) / len(scores) if scores else None),
                describe_choice(trials[0]) if 0 in trials else "",
            )
        return table

    def _order(self, spec: ModelSpec) -> int:
        trials = len(self._trials[spec])
        return 2 if trials == self._seeds[spec] else 0 if trials else 1


def describe_choice(trial: Trial) -> str:
    """Return the settings that were chosen on validation, for people."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value if isinstance(value, bool | str) else f'{value:g}'}"
        for name, value in trial.choice.items()
    )


def _format_score(score: float | None) -> str:
    return "undefined" if score is None else f"{score:.3f}"
