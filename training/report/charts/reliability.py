"""How far probabilities can be trusted: confidence against how often it was right."""

from dataclasses import dataclass, field

import numpy as np

from training.report.predictions import Batch

BINS = 15
"""As many as the ECE of the metrics has."""

_LEAST = 1e-30


@dataclass
class Bins:
    """Sums of confidence and of right answers, by confidence.

    Attributes:
        rows: answers in each bin.
        confidence: sum of their confidences.
        right: how many were right.
    """

    rows: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    right: np.ndarray = field(default_factory=lambda: np.zeros(BINS))

    def add(self, confidence: np.ndarray, right: np.ndarray) -> None:
        """Take answers in; shape (answers,) each."""
        places = np.minimum((confidence * BINS).astype(int), BINS - 1)
        self.rows += np.bincount(places, minlength=BINS)
        self.confidence += np.bincount(places, weights=confidence, minlength=BINS)
        self.right += np.bincount(places, weights=right, minlength=BINS)

    @property
    def ece(self) -> float:
        """Expected calibration error."""
        return float(np.abs(self.confidence - self.right).sum() / max(self.rows.sum(), 1))

    @property
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean confidence and share of right answers, of the bins that have any."""
        there = self.rows > 0
        return self.confidence[there] / self.rows[there], self.right[there] / self.rows[there]


class Reliability:
    """The bins before and after the temperature.

    Of several classes the likeliest counts, as one answer a row; of independent labels each one
    counts, as the answer yes with its probability. The probabilities in the file are calibrated;
    those before are p^T, brought back to a sum of 1.
    """

    def __init__(self, temperature: float | None) -> None:
        self.before = None if temperature is None else Bins()
        self.after = Bins()
        self._temperature = temperature

    def add(self, batch: Batch) -> None:
        """Take the rows in."""
        if batch.probabilities is None:
            return
        truth = np.zeros(batch.probabilities.shape, bool)
        truth[batch.labels] = True
        several = batch.layout.task == "multilabel"
        _add(self.after, batch.probabilities, truth, several)
        if self.before is not None and self._temperature is not None:
            raw = uncalibrated(batch.probabilities, self._temperature, several)
            _add(self.before, raw, truth, several)


def uncalibrated(probabilities: np.ndarray, temperature: float, several: bool) -> np.ndarray:
    """Probabilities as they were before logits were divided by the temperature.

    Args:
        probabilities: shape (rows, classes).
        temperature: that they were divided by.
        several: whether classes are independent of each other.
    """
    logits = np.log(np.maximum(probabilities, _LEAST))
    if several:
        logits = (logits - np.log(np.maximum(1 - probabilities, _LEAST))) * temperature
        return np.asarray(1 / (1 + np.exp(-logits)))
    logits = (logits - logits.max(axis=1, keepdims=True)) * temperature
    raised = np.exp(logits)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _add(bins: Bins, probabilities: np.ndarray, truth: np.ndarray, several: bool) -> None:
    if several:
        bins.add(probabilities.ravel(), truth.ravel())
    else:
        likeliest = probabilities.argmax(axis=1)
        rows = np.arange(len(likeliest))
        bins.add(probabilities[rows, likeliest], truth[rows, likeliest])
