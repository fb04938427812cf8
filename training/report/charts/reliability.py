"""Compare confidence with accuracy (calibration) and draw the reliability diagram."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from training.report.charts.svg import ACCENT, MUTED, new_chart, to_svg
from training.report.prediction_batches import PredictionBatch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 15
"""Bins of the ECE, as in the metrics."""

_MIN_PROBABILITY = 1e-30


@dataclass
class CalibrationBins:
    """Sums over answers, by confidence.

    Attributes:
        rows: number of answers.
        confidence: sum of their confidences.
        correct: number of correct answers.
    """

    rows: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    correct: np.ndarray = field(default_factory=lambda: np.zeros(BINS))

    def add(self, confidence: np.ndarray, correct: np.ndarray) -> None:
        """Add answers, shape (answers,) each."""
        bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
        self.rows += np.bincount(bins, minlength=BINS)
        self.confidence += np.bincount(bins, weights=confidence, minlength=BINS)
        self.correct += np.bincount(bins, weights=correct, minlength=BINS)

    @property
    def ece(self) -> float:
        """Expected calibration error."""
        return float(np.abs(self.confidence - self.correct).sum() / max(self.rows.sum(), 1))

    @property
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean confidence and accuracy of each bin that has answers."""
        filled = self.rows > 0
        return self.confidence[filled] / self.rows[filled], self.correct[filled] / self.rows[filled]


class Reliability:
    """The bins before and after temperature scaling.

    For classes, the most likely class of a row is one answer. For independent labels, each label of
    a row is one answer: "yes", with its probability. The probabilities in the file are calibrated;
    those before are p^T, normalized to a sum of 1.
    """

    def __init__(self, temperature: float | None) -> None:
        self.before = None if temperature is None else CalibrationBins()
        self.after = CalibrationBins()
        self._temperature = temperature

    def add(self, batch: PredictionBatch) -> None:
        """Add the rows of a batch."""
        if batch.probabilities is None:
            return
        truth = np.zeros(batch.probabilities.shape, bool)
        truth[batch.labels] = True
        multilabel = batch.schema.task == "multilabel"
        _add_answers(self.after, batch.probabilities, truth, multilabel)
        if self.before is not None and self._temperature is not None:
            raw = _uncalibrate(batch.probabilities, self._temperature, multilabel)
            _add_answers(self.before, raw, truth, multilabel)


def _uncalibrate(probabilities: np.ndarray, temperature: float, multilabel: bool) -> np.ndarray:
    """Undo temperature scaling of probabilities, shape (rows, classes)."""
    logits = np.log(np.maximum(probabilities, _MIN_PROBABILITY))
    if multilabel:
        logits = (logits - np.log(np.maximum(1 - probabilities, _MIN_PROBABILITY))) * temperature
        return np.asarray(1 / (1 + np.exp(-logits)))
    logits = (logits - logits.max(axis=1, keepdims=True)) * temperature
    exponentials = np.exp(logits)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def _add_answers(
    bins: CalibrationBins, probabilities: np.ndarray, truth: np.ndarray, multilabel: bool
) -> None:
    if multilabel:
        bins.add(probabilities.ravel(), truth.ravel())
    else:
        classes = probabilities.argmax(axis=1)
        rows = np.arange(len(classes))
        bins.add(probabilities[rows, classes], truth[rows, classes])


def draw_reliability(reliability: Reliability) -> Markup:
    """Draw accuracy against confidence, and below it the number of answers."""
    with new_chart("reliability", 4.7, 4.6) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        top.plot([0, 1], [0, 1], linestyle=(0, (3, 3)), color=MUTED, linewidth=1, label="ideal")
        if reliability.before is not None:
            _draw_bins(top, reliability.before, MUTED, "before")
        _draw_bins(top, reliability.after, ACCENT, "after")
        top.set_ylabel("accuracy")
        top.set_ylim(-0.02, 1.02)
        top.set_xlim(-0.02, 1.02)
        top.legend(loc="upper left")
        rows = reliability.after.rows
        bottom.bar((np.arange(BINS) + 0.5) / BINS, rows, 0.85 / BINS, color=ACCENT, alpha=0.6)
        bottom.set_ylabel("answers")
        bottom.set_xlabel("confidence")
        return to_svg(figure, "Reliability diagram; the table has the calibration errors")


def _draw_bins(axes: "Axes", bins: CalibrationBins, color: str, label: str) -> None:
    x, y = bins.points
    rows = bins.rows[bins.rows > 0]
    axes.plot(x, y, "-", color=color, linewidth=1, alpha=0.6)
    face = "none" if label == "before" else color  # rings and dots: colors alone are too close
    sizes = 12 + 90 * np.sqrt(rows / rows.max())
    axes.scatter(x, y, sizes, facecolor=face, edgecolor=color, alpha=0.75, linewidth=1.2)
    name = f"{label}: ECE {bins.ece:.3f}"
    axes.plot([], [], "o", color=color, markerfacecolor=face, label=name)
