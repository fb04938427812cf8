"""CIDEr: consensus of a generated text with the references of its record.

Vedantam, Zitnick and Parikh 2015 (arXiv:1411.5726). This is CIDEr-D, the form that captioning
papers report: n-grams of one to four words, TF-IDF over the references of all records, clipped
counts, a Gaussian penalty for the length, the mean over the references and over n, times 10.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

MAX_N = 4
SIGMA = 6.0

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|\w+(?:['’]\w+)*", re.UNICODE
)

_Counts = Counter[tuple[str, ...]]


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation.

    Each Chinese or Japanese character is a word.
    """
    return _WORD.findall(text.lower())


def cider_scores(texts: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the score of each text, float64, shape (rows,), from 0 to 10.

    The n-grams of all references that are not those of the record are the corpus: a single record
    has none, and its score is 0.

    Args:
        texts: one per record.
        references: one or several per record.
    """
    frequency: Counter[tuple[str, ...]] = Counter()
    for row in references:
        frequency.update({ngram for text in row for ngram in _ngrams(words(text))})
    log_rows = math.log(max(1, len(references)))
    idf = {ngram: log_rows - math.log(count) for ngram, count in frequency.items()}
    scores = [_score(text, row, idf, log_rows) for text, row in zip(texts, references, strict=True)]
    return np.array(scores)


def _score(
    text: str, references: Sequence[str], idf: dict[tuple[str, ...], float], unknown: float
) -> float:
    candidate_words = words(text)
    candidate = _vectors(candidate_words, idf, unknown)
    total = 0.0
    for reference in references:
        reference_words = words(reference)
        vectors = _vectors(reference_words, idf, unknown)
        delta = len(candidate_words) - len(reference_words)
        penalty = math.exp(-(delta**2) / (2 * SIGMA**2))
        total += penalty * sum(map(_similarity, candidate, vectors)) / MAX_N
    return 10 * total / max(1, len(references))


def _vectors(
    text: Sequence[str], idf: dict[tuple[str, ...], float], unknown: float
) -> list[dict[tuple[str, ...], float]]:
    """Return a sparse TF-IDF vector for each n."""
    vectors: list[dict[tuple[str, ...], float]] = [{} for _ in range(MAX_N)]
    for ngram, count in Counter(_ngrams(text)).items():
        vectors[len(ngram) - 1][ngram] = count * idf.get(ngram, unknown)
    return vectors


def _similarity(
    candidate: dict[tuple[str, ...], float], reference: dict[tuple[str, ...], float]
) -> float:
    """Return the cosine, with the candidate's weights clipped at those of the reference."""
    norms = [math.sqrt(sum(w * w for w in vector.values())) for vector in (candidate, reference)]
    if not all(norms):
        return 0.0
    product = sum(
        min(weight, reference[ngram]) * reference[ngram]
        for ngram, weight in candidate.items()
        if ngram in reference
    )
    return product / (norms[0] * norms[1])


def _ngrams(text: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for n in range(1, MAX_N + 1):
        for start in range(len(text) - n + 1):
            yield tuple(text[start : start + n])
