"""Metrics during training: log.jsonl with one line per epoch, and loggers of other packages."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmfeat.storage import files
from mmfeat.system import print_err
from training.loggers import RunLogger, choice_text, start_logger
from training.recipe import Recipe

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"


def format_line(choice: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return a line of log.jsonl: the candidate's settings and the metrics of an epoch."""
    tried = {f"tried_{name}": value for name, value in choice.items()}
    return json.dumps(tried | dict(metrics)) + "\n"


def describe_epoch(
    recipes: Sequence[Recipe], number: int, metrics: Mapping[str, Any], rows: int
) -> str:
    """Return what an epoch was, for people: `learning rate 2 of 4, epoch 7 of ≤ 50, …`.

    Args:
        recipes: the candidates.
        number: index of the candidate.
        metrics: metrics of the epoch.
        rows: training rows.
    """
    recipe = recipes[number]
    kind = "learning rate" if "lr" in recipe.choice else "candidate"
    parts = [f"{kind} {number + 1} of {len(recipes)}"] if len(recipes) > 1 else []
    parts.append(f"epoch {metrics['epoch']} of ≤ {recipe.epochs}")
    score = metrics.get(f"val_{recipe.metric}")
    if score is not None:
        parts.append(f"validation {recipe.metric} {score:.3f}")
    if metrics.get("train_seconds"):
        parts.append(f"{rows / metrics['train_seconds']:,.0f} rows/s")
    return ", ".join(parts)


class MetricsLog:
    """Writes the metrics of each epoch.

    A resumed run logs its earlier epochs again, so the log starts empty each time.

    Args:
        output: the model's directory.
        logger: `tensorboard`, `wandb` or `mlflow`, to write them there as well; empty = none.
    """

    def __init__(self, output: str, *, logger: str = "") -> None:
        self._path = files.join(output, LOG)
        self._is_local = files.is_local(output)
        self._lines: list[str] = []
        self._output, self._logger = output, logger
        self._loggers: dict[str, RunLogger] = {}
        files.remove(self._path)
        if logger == TENSORBOARD:  # its folder belongs to this run; other loggers keep old runs
            files.remove(files.join(output, TENSORBOARD))

    def log_metrics(self, choice: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
        """Log an epoch.

        Args:
            choice: the candidate's settings, by name.
            metrics: metrics of the epoch.
        """
        line = format_line(choice, metrics)
        if self._is_local:
            with open(files.filesystem(self._path)[1], "a") as file:
                file.write(line)
        else:  # objects do not support appends
            self._lines.append(line)
            with files.create(self._path) as output:
                output.write("".join(self._lines).encode())
        if self._logger:
            self._log_run(choice, metrics)

    def close(self) -> None:
        """End the runs of the logger."""
        for run in self._loggers.values():
            run.close()

    def _log_run(self, choice: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
        name = choice_text(choice)
        if name not in self._loggers:
            self._loggers[name] = start_logger(self._logger, self._output, choice)
        values = {key: value for key, value in metrics.items() if value is not None}
        try:
            self._loggers[name].log_metrics(values, values.pop("epoch"))
        except Exception as error:  # a server that is gone must not end the training
            self._logger = ""
            print_err(
                f"mmfeat: warning: --logger stopped ({type(error).__name__}: {error}); "
                f"{self._path} has all metrics"
            )
