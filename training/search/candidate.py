"""A candidate of a search: its predictions for the rows that choose, and how to build its model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmfeat.models.architecture import LOGISTIC, Architecture
from mmfeat.models.base import Model
from training.objectives.base import Objective


@dataclass(frozen=True)
class Judgement:
    """How good predictions of rows are.

    Attributes:
        metric: the metric that chooses; None if it is undefined.
        loss: the loss of the calibrated predictions.
        temperature: divides the logits; fitted to the same rows.
        minimized: whether a lower metric is better.
    """

    metric: float | None
    loss: float
    temperature: float
    minimized: bool

    @property
    def key(self) -> tuple[float, float]:
        """Key of the best under `max`: the metric, then the loss."""
        if self.metric is None:
            return (-np.inf, -self.loss)
        return (-self.metric if self.minimized else self.metric, -self.loss)


@dataclass(frozen=True)
class Candidate:
    """A way to fit a model, judged on rows that it was not fitted on.

    Attributes:
        name: for people: `image: logistic`, `gmu`.
        columns: the feature columns it reads.
        settings: what validation chose in it, for people.
        logits: predictions of the rows that choose, float32, shape (rows, outputs).
        judgement: how good they are.
        build: returns fitted models; the candidate predicts the mean of their logits.
        seconds: how long it took.
    """

    name: str
    columns: tuple[str, ...]
    settings: dict[str, Any]
    logits: np.ndarray
    judgement: Judgement
    build: Callable[[], list[Model]]
    seconds: float = 0.0


class Judge:
    """Judges predictions of the rows that choose.

    Args:
        objective: the objective.
        targets: encoded targets of the rows.
        metric: the metric that chooses.
        groups: group number of each row; rows of a group are not independent. None = each row is
            a group.
    """

    def __init__(
        self,
        objective: Objective,
        targets: np.ndarray,
        metric: str,
        groups: np.ndarray | None = None,
    ) -> None:
        self.objective, self.targets, self.metric = objective, targets, metric
        self.groups = np.arange(len(targets)) if groups is None else groups
        self.minimized = metric in objective.minimized

    def select(self, rows: np.ndarray) -> "Judge":
        """Return the judge of some of the rows."""
        return Judge(self.objective, self.targets[rows], self.metric, self.groups[rows])

    def judge(self, logits: np.ndarray, rows: np.ndarray | None = None) -> Judgement:
        """Judge predictions.

        Args:
            logits: float32, shape (rows, outputs).
            rows: positions of the rows that have predictions; None = all.

        Returns:
            The worst judgement if a prediction is not finite, as of a training that diverged.
        """
        if not np.isfinite(logits).all():
            return Judgement(None, np.inf, 1.0, self.minimized)
        targets = self.targets if rows is None else self.targets[rows]
        stub = Model(Architecture({"": 1}, logits.shape[1], fusion=LOGISTIC))
        self.objective.calibrate(stub, targets, logits)
        temperature = float(stub.temperature)
        values = self.objective.validate(targets, logits / np.float32(temperature))
        loss = values["loss"]
        return Judgement(
            metric=values[self.metric],
            loss=np.inf if loss is None else float(loss),
            temperature=temperature,
            minimized=self.minimized,
        )
