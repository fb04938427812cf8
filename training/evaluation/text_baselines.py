"""Baselines of generated texts: the most frequent text, and the text of the nearest neighbour.

Both know nothing of language. A model that does not beat the neighbour has learned to look up
training texts, and a generated text that is one of them is counted as a copy.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xxhash

from mmfeat.models.inference import has_any_token
from training.data import FeatureReader
from training.metrics import cider_scores, text_metrics
from training.objectives.describe import DescribeObjective

MAX_QUERIES = 2_000
"""Maximum number of rows that the baselines are computed for; more are sampled evenly."""

MAX_NEIGHBOURS = 50_000
"""Maximum number of training rows among which the neighbours are; more are sampled evenly."""

_PART_ROWS = 1024
_MEAN_ROWS = 2048
_MAX_EXAMPLES = 5


BASELINES = {
    "most_frequent": "most frequent text of training",
    "nearest_neighbour": "text of the nearest training record",
}
"""Baseline → its name for people."""


def compare_with_baselines(
    reader: FeatureReader,
    objective: DescribeObjective,
    targets: np.ndarray,
    training: np.ndarray,
    rows: np.ndarray,
    texts: Sequence[str],
) -> dict[str, Any]:
    """Return the metrics of the baselines beside those of the model, and the copies.

    Args:
        reader: the features of all rows.
        objective: has the texts.
        targets: number of the text of each row.
        training: int64, the training rows; may be empty.
        rows: int64, ascending, the evaluated rows.
        texts: the generated text of each evaluated row.

    Returns:
        `copies`, the generated texts that are texts of training rows, and `baselines`; empty
        without training rows.
    """
    if not len(training):
        return {}
    chosen = _evenly(len(rows), MAX_QUERIES)
    queries, neighbours = rows[chosen], training[_evenly(len(training), MAX_NEIGHBOURS)]
    references = objective.texts.take(targets[queries])
    nearest = neighbours[find_nearest(reader, queries, neighbours)]
    counts = _count_first_texts(objective, targets[training])
    frequent = counts.most_common(1)[0][0]
    answers = {
        "model": [texts[i] for i in chosen.tolist()],
        "most_frequent": [frequent] * len(queries),
        "nearest_neighbour": [row[0] for row in objective.texts.take(targets[nearest])],
    }
    return {
        "copies": _count_copies(texts, objective, targets[training]),
        "baselines": {
            "rows": len(queries),
            "most_frequent_text": frequent,
            "different_texts": len(set(answers["model"])),
            "metrics": {
                name: {
                    **text_metrics(answer, references),
                    "cider": float(cider_scores(answer, references).mean()),
                }
                for name, answer in answers.items()
            },
        },
    }


def warn_of_texts(result: Mapping[str, Any]) -> list[str]:
    """Return one line for each reason why generated texts are of no use.

    Args:
        result: metrics with the keys that `compare_with_baselines` returns, or without them.
    """
    if "baselines" not in result:
        return []
    found = result["baselines"]
    lines = []
    if found["rows"] > 1 and found["different_texts"] == 1:
        lines.append(f"one text for all of {found['rows']:,} rows: train longer, or on more rows")
    cider = {name: values["cider"] for name, values in found["metrics"].items()}
    better = [name for name in BASELINES if cider[name] > cider["model"]]
    if better:
        figures = ", ".join(f"{BASELINES[name]} {cider[name]:.2f}" for name in better)
        lines.append(f"CIDEr {cider['model']:.2f} is below baselines: {figures}")
    return lines


def find_nearest(reader: FeatureReader, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the position in `rows` of the nearest neighbour of each query.

    The similarity is the sum over the columns of the cosine of centered features; a column that one
    of the two lacks counts 0. Tokens are averaged. Memory is that of the queries and of a part of
    the rows.

    Args:
        reader: the features.
        queries, rows: int64, ascending row numbers.
    """
    means = _means(reader, rows)
    own = _vectors(reader, queries, means)
    best = np.full(len(queries), -np.inf, np.float32)
    nearest = np.zeros(len(queries), np.int64)
    for start in range(0, len(rows), _PART_ROWS):
        part = _vectors(reader, rows[start : start + _PART_ROWS], means)
        similarity = sum(own[name] @ part[name].T for name in own)
        assert isinstance(similarity, np.ndarray)
        position = similarity.argmax(axis=1)
        value = similarity[np.arange(len(queries)), position]
        nearest = np.where(value > best, start + position, nearest)
        best = np.maximum(best, value)
    return nearest


def _means(reader: FeatureReader, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the mean feature of each column over the first rows."""
    raw = _pooled(reader, rows[_evenly(len(rows), _MEAN_ROWS)])
    return {
        name: vectors[present].mean(axis=0) if present.any() else np.zeros(vectors.shape[1])
        for name, (vectors, present) in raw.items()
    }


def _vectors(
    reader: FeatureReader, rows: np.ndarray, means: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return centered features of length 1, float32, shape (rows, dim); 0 if absent."""
    vectors = {}
    for name, (values, present) in _pooled(reader, rows).items():
        centered = values - means[name].astype(np.float32)
        norms = np.linalg.norm(centered, axis=1, keepdims=True)
        vectors[name] = np.where(present[:, None], centered / np.maximum(norms, 1e-12), 0)
    return vectors


def _pooled(reader: FeatureReader, rows: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return features, float32, shape (rows, dim), and presence, bool, shape (rows,)."""
    pooled = {}
    features, present = reader.take(rows)
    for name, values in features.items():
        mask: np.ndarray = present[name]
        vectors = np.asarray(values, np.float32)
        if mask.ndim == 2:
            vectors = np.where(mask[:, :, None], vectors, 0).sum(axis=1)
            vectors /= np.maximum(mask.sum(axis=1, keepdims=True), 1)
            mask = has_any_token(mask)
        pooled[name] = (np.where(mask[:, None], vectors, 0), mask)
    return pooled


def _evenly(count: int, limit: int) -> np.ndarray:
    """Return the numbers below `count`, or `limit` of them, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(np.int64))


def _count_first_texts(objective: DescribeObjective, numbers: np.ndarray) -> Counter[str]:
    counts: Counter[str] = Counter()
    for start in range(0, len(numbers), _PART_ROWS):
        part = objective.texts.take(numbers[start : start + _PART_ROWS])
        counts.update(row[0] for row in part)
    return counts


def _count_copies(
    texts: Sequence[str], objective: DescribeObjective, numbers: np.ndarray
) -> dict[str, Any]:
    """Return how many generated texts are texts of training rows, and some of them."""
    known = np.empty(len(numbers), np.uint64)
    for start in range(0, len(numbers), _PART_ROWS):
        part = objective.texts.take(numbers[start : start + _PART_ROWS])
        known[start : start + len(part)] = [_hash(row[0]) for row in part]
    hashes = np.array([_hash(text) for text in texts], np.uint64)
    is_copy = np.isin(hashes, known)
    copied = Counter(text for text, copy in zip(texts, is_copy, strict=True) if copy)
    return {
        "rows": int(is_copy.sum()),
        "fraction": float(is_copy.mean()) if len(texts) else 0.0,
        "most_frequent": dict(copied.most_common(_MAX_EXAMPLES)),
    }


def _hash(text: str) -> int:
    return xxhash.xxh64_intdigest(" ".join(text.split()).encode("utf-8", "surrogatepass"))
