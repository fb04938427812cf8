"""The chosen model is the best candidate, or an ensemble that is not worse."""

import warnings
from dataclasses import replace

import numpy as np

from mmfeat.models.tasks import Multiclass
from training.objectives.multiclass import MulticlassObjective
from training.search.candidate import Candidate, Judge
from training.search.selection import choose, describe_fusion, margin

ROWS = 400
TARGETS = np.arange(ROWS) % 2


def judge() -> Judge:
    objective = MulticlassObjective("label")
    objective.bind_task(Multiclass(["a", "b"]))
    return Judge(objective, TARGETS, "accuracy")


def candidate(name: str, errors: float, seed: int, columns: tuple[str, ...]) -> Candidate:
    """Return a candidate whose logits have independent noise; more `errors` are more mistakes."""
    noise = np.random.default_rng(seed).normal(0, errors, ROWS)
    score = (TARGETS * 2 - 1) + noise
    logits = np.stack([-score, score], axis=1).astype(np.float32)
    return Candidate(name, columns, {}, logits, judge().judge(logits), build=list)


def test_the_best_candidate_wins_alone_if_it_may_not_be_combined() -> None:
    candidates = [candidate("bad", 3, 0, ("text",)), candidate("good", 1, 1, ("image",))]
    choice = choose(candidates, judge(), 1)
    assert choice.name == "good"
    assert choice.judgement == candidates[1].judgement


def test_independent_candidates_are_combined_and_the_result_is_not_worse() -> None:
    candidates = [candidate(f"c{seed}", 1, seed, ("image",)) for seed in range(4)]
    choice = choose(candidates, judge(), 4)
    assert len(choice.candidates) > 1
    best = max(c.judgement.key for c in candidates)
    assert choice.judgement.metric is not None
    assert choice.judgement.metric >= best[0] - 0.02
    assert choice.judgement.loss < -best[1]
    assert abs(sum(choice.weights) - 1) < 1e-9


def test_a_hopeless_candidate_gets_no_weight() -> None:
    candidates = [candidate("good", 0.6, 0, ("image",)), candidate("noise", 50, 1, ("text",))]
    assert choose(candidates, judge(), 3).name == "good"


def test_margins_are_tied_only_if_the_rows_cannot_tell() -> None:
    one, other = candidate("one", 1, 0, ("a",)), candidate("other", 1, 5, ("b",))
    bad = candidate("bad", 5, 9, ("b",))
    assert (found := margin(judge(), one.logits, other.logits))
    assert found.is_tied
    assert (found := margin(judge(), one.logits, bad.logits))
    assert not found.is_tied
    assert found.difference > 0.2
    # The error of a difference of accuracies is known: sqrt(var / n) of the paired differences.
    right = (one.logits.argmax(1) == TARGETS).astype(float)
    right -= bad.logits.argmax(1) == TARGETS
    assert abs(found.error - right.std() / ROWS**0.5) < 0.35 * right.std() / ROWS**0.5


def test_a_margin_of_one_group_is_unknown_and_no_metric_of_no_rows_is_computed() -> None:
    one, other = candidate("one", 1, 0, ("a",)), candidate("other", 5, 9, ("b",))
    objective = judge().objective
    for groups in (np.zeros(ROWS, int), np.zeros(0, int)):
        targets = TARGETS[: len(groups)]
        single = Judge(objective, targets, "accuracy", groups)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = margin(single, one.logits[: len(groups)], other.logits[: len(groups)])
        assert found is None


def test_the_headline_names_the_winner() -> None:
    alone, weak = candidate("image: ridge", 0.5, 0, ("image",)), ("image", "text")
    fused = candidate("gmu", 4, 1, weak)
    sentence = describe_fusion([alone, fused], choose([alone, fused], judge(), 1), judge())
    assert sentence.startswith("Fusion loses to the best single modality by 0.")
    fused = candidate("gmu", 0.5, 3, weak)
    alone = candidate("image: ridge", 4, 0, ("image",))
    sentence = describe_fusion([alone, fused], choose([alone, fused], judge(), 1), judge())
    assert sentence.startswith("Fusion beats the best single modality by 0.")
    assert "gmu accuracy 0." in sentence
    sentence = describe_fusion([fused, fused, alone], choose([fused], judge(), 1), judge())
    assert "tied" not in sentence
    sentence = describe_fusion([alone], choose([alone], judge(), 1), judge())
    assert sentence.startswith("One modality: the best candidate is image: ridge accuracy 0.")
    assert "Saved" not in sentence
    ensemble = replace(choose([alone], judge(), 1), candidates=[fused, alone], weights=[0.5, 0.5])
    sentence = describe_fusion([alone], ensemble, judge())
    assert ". Saved: 0.5 gmu + 0.5 image: ridge accuracy 0." in sentence


def test_a_margin_is_that_of_metrics_without_each_block() -> None:
    one, other = candidate("one", 1, 0, ("a",)), candidate("other", 2, 9, ("b",))
    groups = np.arange(ROWS) // 3
    for name in ("accuracy", "macro_f1", "balanced_accuracy"):
        judged = Judge(judge().objective, TARGETS, name, groups)
        found = margin(judged, one.logits, other.logits)
        assert found

        def difference(kept: np.ndarray, name: str = name) -> float:
            first, second = (
                judge().objective.validate(TARGETS[kept], c.logits[kept])[name]
                for c in (one, other)
            )
            assert first is not None
            assert second is not None
            return first - second

        parts = np.array([difference(groups % 20 != block) for block in range(20)])
        error = np.sqrt(19 / 20 * np.square(parts - parts.mean()).sum())
        np.testing.assert_allclose(found.difference, difference(groups >= 0), atol=1e-12)
        np.testing.assert_allclose(found.error, error, rtol=1e-9)


def test_an_ensemble_starts_with_the_lowest_loss_of_the_tied_candidates() -> None:
    sure = candidate("sure", 1, 0, ("a",))
    wrong = np.flatnonzero(sure.logits.argmax(1) != TARGETS)
    # The rival is right in two more rows, and far too sure in ten that are wrong.
    logits = sure.logits.copy()
    logits[wrong[:2]] *= -1
    logits[wrong[2:12]] *= 50
    rival = Candidate("rival", ("b",), {}, logits, judge().judge(logits), build=list)
    assert rival.judgement.key > sure.judgement.key
    assert rival.judgement.loss > sure.judgement.loss
    assert choose([rival, sure], judge(), 2).candidates[0].name == "sure"
    assert choose([rival, sure], judge(), 1).name == "rival"
