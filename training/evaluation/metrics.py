"""What a model is worth, in the numbers of scikit-learn."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
)

from training.evaluation.calibration import binary_ece, binary_nll, ece, nll

Scores = dict[str, float]


def class_scores(truth: np.ndarray, predicted: np.ndarray) -> Scores:
    """Accuracy, balanced accuracy and macro-F1 of class numbers, shape (rows,) each."""
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        # The mean recall of the classes that occur, which is scikit-learn's balanced accuracy
        # without its warning about predicted classes that do not.
        "balanced_accuracy": float(
            recall_score(
                truth, predicted, labels=np.unique(truth), average="macro", zero_division=0
            )
        ),
        "macro_f1": float(f1_score(truth, predicted, average="macro", zero_division=0)),
    }


def measure_classes(
    truth: np.ndarray,
    probabilities: np.ndarray,
    present: Mapping[str, np.ndarray],
    classes: Sequence[str],
) -> dict[str, Any]:
    """What is reported of a model that gives one class.

    Args:
        truth: int64, shape (rows,); numbers behind the classes are labels that it does not know.
        probabilities: shape (rows, classes).
        present: column → bool, shape (rows,).
        classes: the model's.
    """
    known = np.where(truth < len(classes), truth, -1)
    predicted = probabilities.argmax(axis=1)
    numbers = range(max(len(classes), int(truth.max(initial=0)) + 1))
    return {
        **class_scores(truth, predicted),
        "auroc": _mean_over_labels(roc_auc_score, _one_hot(known, len(classes)), probabilities),
        "nll": nll(probabilities, known),
        "ece": ece(probabilities, known),
        "rows": len(truth),
        "classes": list(classes),
        "per_class": _per_class(truth, predicted, classes),
        "confusion_matrix": confusion_matrix(truth, predicted, labels=numbers)[
            : len(classes), : len(classes)
        ].tolist(),
        "per_subset": _per_subset(present, lambda rows: class_scores(truth[rows], predicted[rows])),
    }


def label_scores(
    truth: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray | float
) -> dict[str, float | None]:
    """Mean average precision, F1, AUROC, subset accuracy of labels, 0 or 1, shape (rows, labels).

    Means over labels leave out those that no row has, of mAP and AUROC those that every row has
    too, and are None where all are such.
    """
    given = probabilities >= thresholds
    right, said, wanted = _label_counts(truth, given)
    there = wanted > 0
    return {
        "map": _mean_over_labels(average_precision_score, truth, probabilities),
        "macro_f1": float(_f1(right, said, wanted)[there].mean()) if there.any() else None,
        "micro_f1": float(_f1(right.sum(), said.sum(), wanted.sum())),
        "auroc": _mean_over_labels(roc_auc_score, truth, probabilities),
        "subset_accuracy": float((given == truth).all(axis=1).mean()),
    }


def _label_counts(truth: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, ...]:
    """For each label the rows that rightly have it, that are given it, and that have it.

    scikit-learn takes one column of labels for two classes, so these counts are our own.
    """
    has = truth > 0
    return (has & given).sum(axis=0), given.sum(axis=0), has.sum(axis=0)


def _f1(right: np.ndarray, said: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return _part(2 * right, said + wanted)


def _part(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; 0 where both are 0."""
    return part / np.maximum(whole, 1)


def measure_labels(
    truth: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
    present: Mapping[str, np.ndarray],
    classes: Sequence[str],
) -> dict[str, Any]:
    """What is reported of a model that gives any number of labels; arguments as above."""
    given = probabilities >= thresholds
    right, said, wanted = _label_counts(truth, given)
    per_label: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(classes):
        column = truth[:, number]
        per_label[name] = {
            "precision": float(_part(right, said)[number]),
            "recall": float(_part(right, wanted)[number]),
            "f1": float(_f1(right, said, wanted)[number]),
            "support": int(wanted[number]),
            "average_precision": (
                float(average_precision_score(column, probabilities[:, number]))
                if column.any()
                else None
            ),
            "threshold": float(thresholds[number]),
        }
    return {
        **label_scores(truth, probabilities, thresholds),
        "nll": binary_nll(probabilities, truth),
        "ece": binary_ece(probabilities, truth),
        "rows": len(truth),
        "classes": list(classes),
        "per_class": per_label,
        "per_subset": _per_subset(
            present,
            lambda rows: label_scores(truth[rows], probabilities[rows], thresholds),
        ),
    }


def number_scores(truth: np.ndarray, predicted: np.ndarray) -> Scores:
    """Mean absolute error, root mean square, Pearson's r and R² of numbers, shape (rows,)."""
    predicted = predicted.astype(np.float64)
    errors = predicted - truth
    centred = (truth - truth.mean()) * (predicted - predicted.mean())
    # The deviation of equal numbers may be a rounding error above 0.
    spread = float(truth.std() * predicted.std()) if np.ptp(truth) and np.ptp(predicted) else 0.0
    total = float(((truth - truth.mean()) ** 2).sum()) if np.ptp(truth) else 0.0
    return {
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "pearson": float(centred.mean()) / spread if spread > 0 else 0.0,
        "r2": 1 - float((errors**2).sum()) / total if total > 0 else 0.0,
    }


def measure_numbers(
    truth: np.ndarray, predicted: np.ndarray, present: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """What is reported of a model that gives a number; arguments as above."""
    return {
        **number_scores(truth, predicted),
        **sentiment_scores(truth, predicted),
        "rows": len(truth),
        "per_subset": _per_subset(
            present, lambda rows: number_scores(truth[rows], predicted[rows])
        ),
    }


def sentiment_scores(truth: np.ndarray, predicted: np.ndarray) -> Scores:
    """The three accuracies of sentiment on -3 … 3, where the truth is of that kind; else nothing.

    acc2_has0: negative or not, zero counts as not negative. acc2_non0: negative or positive, rows
    at zero left out. acc7: the nearest whole number (Zadeh et al. 2018, CMU-MOSEI).
    """
    if not len(truth) or truth.min() < -3 or truth.max() > 3 or not (truth < 0).any():
        return {}
    decided = truth != 0
    rounded = np.clip(np.round(predicted), -3, 3) == np.clip(np.round(truth), -3, 3)
    same_sign = (predicted > 0) == (truth > 0)
    return {
        "acc2_has0": float(((predicted >= 0) == (truth >= 0)).mean()),
        "acc2_non0": float(same_sign[decided].mean()) if decided.any() else 0.0,
        "acc7": float(rounded.mean()),
    }


def _per_class(
    truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    columns = precision_recall_fscore_support(
        truth, predicted, labels=range(len(classes)), zero_division=0
    )
    return {
        name: {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "support": int(support),
        }
        for name, precision, recall, f1, support in zip(classes, *columns, strict=True)
    }


def _one_hot(numbers: np.ndarray, classes: int) -> np.ndarray:
    return numbers[:, None] == np.arange(classes)


def _mean_over_labels(
    metric: Callable[[np.ndarray, np.ndarray], float], truth: np.ndarray, scores: np.ndarray
) -> float | None:
    """Mean of a metric, one label against the rest, over the labels that some rows have."""
    values = [
        float(metric(wanted, scores[:, number]))
        for number, wanted in enumerate(truth.T)
        if wanted.any() and not wanted.all()
    ]
    return float(np.mean(values)) if values else None


def _per_subset(
    present: Mapping[str, np.ndarray], scores_of: Callable[[np.ndarray], Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The scores for each set of modalities that records have, the largest first."""
    columns = list(present)
    pattern = np.stack([present[name] for name in columns], axis=1)
    found = {}
    for subset in np.unique(pattern, axis=0)[::-1]:
        rows = (pattern == subset).all(axis=1)
        found[subset_name(columns, subset)] = {"rows": int(rows.sum()), **scores_of(rows)}
    return dict(sorted(found.items(), key=lambda item: -item[1]["rows"]))


def subset_name(columns: Sequence[str], there: Sequence[bool]) -> str:
    """`image+text` where a record has both, `image only` where it has one of several."""
    names = [name for name, is_there in zip(columns, there, strict=True) if is_there]
    alone = len(names) == 1 and len(columns) > 1
    return f"{names[0]} only" if alone else "+".join(names)
