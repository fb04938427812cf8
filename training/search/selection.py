"""Choose a candidate or an ensemble of candidates, and say whether fusion pays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.search.candidate import Candidate, Judge, Judgement

_MIN_GAIN = 0.002
"""Smallest fraction by which a further member must lower the loss."""

_BLOCKS = 20
"""Blocks of rows of the jackknife."""

_TIED = 2.0
"""Differences below this many standard errors are no differences."""


@dataclass(frozen=True)
class Choice:
    """The chosen candidates and their weights; the model is their weighted mean.

    Attributes:
        candidates: the candidates.
        weights: weight of each; the sum is 1.
        logits: predictions of the rows that choose.
        judgement: how good they are.
    """

    candidates: list[Candidate]
    weights: list[float]
    logits: np.ndarray
    judgement: Judgement

    @property
    def name(self) -> str:
        """The names of the candidates, with their weights if there are several."""
        if len(self.candidates) == 1:
            return self.candidates[0].name
        pairs = zip(self.weights, self.candidates, strict=True)
        return " + ".join(f"{weight:.2g} {candidate.name}" for weight, candidate in pairs)


def choose(candidates: Sequence[Candidate], judge: Judge, size: int) -> Choice:
    """Return the best candidate, or an ensemble.

    Greedy selection with replacement (Caruana et al. 2004, Ensemble selection from libraries of
    models), each candidate at its own temperature. It starts with the lowest loss among the
    candidates that are tied with the best metric: on few rows, the loss tells more than the metric.
    A further member must lower the loss, and must not lower the metric by more than one standard
    error.

    Args:
        candidates: all candidates; at least one.
        judge: judges predictions.
        size: most candidates to pick, counted with their repetitions; 1 = the best one.
    """
    best = max(candidates, key=lambda candidate: candidate.judgement.key)
    if size > 1:
        gaps = [(margin(judge, best.logits, c.logits), c) for c in candidates if c is not best]
        tied = [best, *(candidate for gap, candidate in gaps if gap and gap.is_tied)]
        best = min(tied, key=lambda candidate: candidate.judgement.loss)
    picked, total = [best], _calibrated(best)
    judgement = best.judgement
    while len(picked) < size:
        means = [(total + _calibrated(c)) / np.float32(len(picked) + 1) for c in candidates]
        trials = [(judge.judge(mean), number) for number, mean in enumerate(means)]
        current = total / np.float32(len(picked))
        for found, number in sorted(trials, key=lambda trial: trial[0].loss):
            if not found.loss < judgement.loss * (1 - _MIN_GAIN):
                return _to_choice(picked, total, judgement)
            gap = margin(judge, means[number], current)
            if found.key[0] >= judgement.key[0] or (gap and gap.difference >= -gap.error):
                picked, judgement = [*picked, candidates[number]], found
                total = total + _calibrated(candidates[number])
                break
        else:
            break
    return _to_choice(picked, total, judgement)


def _to_choice(picked: list[Candidate], total: np.ndarray, judgement: Judgement) -> Choice:
    """Return the mean of the picked candidates, which may occur several times."""
    best = picked[0]
    unique = list({candidate.name: candidate for candidate in picked}.values())
    if len(unique) == 1:
        return Choice(unique, [1.0], best.logits, best.judgement)
    weights = [sum(c is u for c in picked) / len(picked) for u in unique]
    return Choice(unique, weights, total / np.float32(len(picked)), judgement)


def _calibrated(candidate: Candidate) -> np.ndarray:
    logits: np.ndarray = candidate.logits / np.float32(candidate.judgement.temperature)
    return logits


@dataclass(frozen=True)
class Margin:
    """How much better one set of predictions is than another.

    Attributes:
        difference: of the metric; positive if the first is better.
        error: standard error of the difference.
    """

    difference: float
    error: float

    @property
    def is_tied(self) -> bool:
        """Whether the rows cannot tell the two apart."""
        return abs(self.difference) <= _TIED * self.error


def margin(judge: Judge, one: np.ndarray, other: np.ndarray) -> Margin | None:
    """Return by how much logits are better than others; None if that cannot be told.

    There must be two groups of rows, and the metric must be defined without any block of groups.
    The error is that of the delete-a-group jackknife (Kott 2001), for which no rows are drawn. Rows
    of a group are left out together.
    """
    _, numbers = np.unique(judge.groups, return_inverse=True)
    blocks = min(_BLOCKS, numbers.max(initial=-1) + 1)
    if blocks < 2:  # without the only block, no row is left
        return None
    # Counts of all rows, and of the rows without each block; metrics divide by the number of rows.
    counts = np.ones((len(one), blocks + 1))
    counts[np.arange(len(one)), 1 + numbers % blocks] = 0
    counts *= len(one) / counts.sum(axis=0)
    objective = judge.objective
    metric, truth = (
        objective.comparison_metric(judge.metric),
        objective.comparison_targets(judge.targets),
    )
    first, second = (
        metric.prepare(truth, objective.predict(logits)).measure(counts) for logits in (one, other)
    )
    whole, *parts = second - first if judge.minimized else first - second
    if not np.isfinite([whole, *parts]).all():
        return None
    error = np.sqrt((blocks - 1) / blocks * np.square(parts - np.mean(parts)).sum())
    return Margin(float(whole), float(error))


def describe_fusion(candidates: Sequence[Candidate], choice: Choice, judge: Judge) -> str:
    """Return one sentence: whether fusion beats the best single modality, and by how much.

    Fusion is the chosen model if it reads several columns, else the best candidate that does. The
    sentence names the chosen model if the comparison does not.
    """
    sentence = _compare_fusion(candidates, choice, judge)
    if f"{choice.name} {judge.metric}" in sentence:
        return sentence
    return f"{sentence}. Saved: {choice.name} {_score(choice, judge)}"


def _compare_fusion(candidates: Sequence[Candidate], choice: Choice, judge: Judge) -> str:
    single = [candidate for candidate in candidates if len(candidate.columns) == 1]
    fused = [candidate for candidate in candidates if len(candidate.columns) > 1]
    if not single or not fused:
        best = max(candidates, key=lambda candidate: candidate.judgement.key)
        return f"One modality: the best candidate is {best.name} {_score(best, judge)}"
    alone = max(single, key=lambda candidate: candidate.judgement.key)
    together = max(fused, key=lambda candidate: candidate.judgement.key)
    names = {name for candidate in choice.candidates for name in candidate.columns}
    if len(names) > 1:
        together = replace(
            together,
            name=choice.name,
            logits=choice.logits,
            judgement=choice.judgement,
        )
    found = margin(judge, together.logits, alone.logits)
    facts = f"{together.name} {_score(together, judge)}, {alone.name} {_score(alone, judge)}"
    if found is None:
        return f"Fusion cannot be compared with the best single modality: {facts}"
    difference = f"{abs(found.difference):.3f} ± {found.error:.3f}"
    if found.is_tied:
        return f"Fusion and the best single modality are tied ({difference}): {facts}"
    verb = "beats" if found.difference > 0 else "loses to"
    return f"Fusion {verb} the best single modality by {difference}: {facts}"


def _score(candidate: Candidate | Choice, judge: Judge) -> str:
    metric = candidate.judgement.metric
    return f"{judge.metric} {'-' if metric is None else f'{metric:.3f}'}"
