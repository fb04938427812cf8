"""What a model is worth, in the numbers of scikit-learn."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
)

from training.calibration import ece, nll
from training.targets import encode


def scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
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


def measure(
    texts: Sequence[str],
    probabilities: np.ndarray,
    present: dict[str, np.ndarray],
    classes: list[str],
) -> dict[str, Any]:
    """All that `mmfeat evaluate` reports of some rows, ready for JSON.

    A label that no training row had counts as a class of its own that is never predicted: an
    error in every row.

    Args:
        texts: the label of each row.
        probabilities: shape (rows, classes).
        present: column → bool, shape (rows,).
        classes: the model's.
    """
    unseen = Counter(text for text in texts if text not in set(classes))
    truth = encode(texts, [*classes, *sorted(unseen)])
    known = np.where(truth < len(classes), truth, -1)
    predicted = probabilities.argmax(axis=1)
    return {
        **scores(truth, predicted),
        "auroc": _auroc(known, probabilities),
        "nll": nll(probabilities, known),
        "ece": ece(probabilities, known),
        "rows": len(truth),
        "classes": classes,
        "unseen_labels": dict(sorted(unseen.items())),
        "per_class": _per_class(truth, predicted, classes),
        "confusion_matrix": confusion_matrix(
            truth, predicted, labels=range(len(classes) + len(unseen))
        )[: len(classes), : len(classes)].tolist(),
        "per_subset": _per_subset(truth, predicted, present),
    }


def _per_class(
    truth: np.ndarray, predicted: np.ndarray, classes: list[str]
) -> dict[str, dict[str, float]]:
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


def _auroc(truth: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Mean area under the ROC curve, one class against the rest, over the classes that occur."""
    areas = []
    for number in range(probabilities.shape[1]):
        positive = truth == number
        if positive.any() and not positive.all():
            areas.append(roc_auc_score(positive, probabilities[:, number]))
    return float(np.mean(areas)) if areas else None


def _per_subset(
    truth: np.ndarray, predicted: np.ndarray, present: dict[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """The three scores for each set of modalities that records have, the largest first."""
    columns = list(present)
    pattern = np.stack([present[name] for name in columns], axis=1)
    found = {}
    for subset in np.unique(pattern, axis=0)[::-1]:
        rows = (pattern == subset).all(axis=1)
        found[subset_name(columns, subset)] = {
            "rows": int(rows.sum()),
            **scores(truth[rows], predicted[rows]),
        }
    return dict(sorted(found.items(), key=lambda item: -item[1]["rows"]))


def subset_name(columns: Sequence[str], there: Sequence[bool]) -> str:
    """`image+text` where a record has both, `image only` where it has one of several."""
    names = [name for name, is_there in zip(columns, there, strict=True) if is_there]
    alone = len(names) == 1 and len(columns) > 1
    return f"{names[0]} only" if alone else "+".join(names)
