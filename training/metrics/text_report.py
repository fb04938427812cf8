"""Metrics of generated texts: loss, perplexity, BLEU, chrF, CIDEr, exact matches."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from mmfeat.errors import MmfeatError
from training.metrics.by_task import per_subset
from training.metrics.cider import cider_scores
from training.metrics.functions import SumMetric, divide, mean_of_rows

_CJK = ("\u3040", "\u9fff")
_MAX_EXPONENT = 700.0


def _loss_table(truth: np.ndarray, losses: np.ndarray) -> np.ndarray:
    return losses[:, :2].T.astype(np.float64)


def _token_loss(sums: np.ndarray, rows: int) -> np.ndarray:
    return divide(sums[0], sums[1])


def _perplexity(sums: np.ndarray, rows: int) -> np.ndarray:
    return np.exp(_token_loss(sums, rows).clip(max=_MAX_EXPONENT))


def _cider_table(truth: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return outputs[:, 2:].T.astype(np.float64)


LOSS_METRICS = {
    "loss": SumMetric(_loss_table, _token_loss, False, (0.0, np.inf)),
    "perplexity": SumMetric(_loss_table, _perplexity, False, (1.0, np.inf)),
}
"""Metrics of losses of references and their tokens, shape (rows, 2)."""

TEXT_METRICS = {**LOSS_METRICS, "cider": SumMetric(_cider_table, mean_of_rows, True, (0.0, 10.0))}
"""Metrics of the same with the CIDEr of the generated texts, shape (rows, 3)."""


def evaluate_texts(
    texts: Sequence[str],
    references: Sequence[Sequence[str]],
    losses: np.ndarray,
    present: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Return all metrics of a describing model.

    BLEU and chrF are of the whole corpus (Post 2018, arXiv:1804.08771, sacrebleu). CIDEr weights
    words by all rows, also in the figures of a subset.

    Args:
        texts: the generated text of each row.
        references: its references.
        losses: shape (rows, 2): -log p of the first reference, and its number of tokens.
        present: column → bool, shape (rows,).
    """
    cider = cider_scores(texts, references)

    def of_rows(rows: np.ndarray) -> dict[str, float]:
        numbers = np.flatnonzero(rows).tolist()
        pairs = losses[numbers]
        return {
            **{name: metric(pairs[:, 0], pairs) for name, metric in LOSS_METRICS.items()},
            **text_metrics([texts[i] for i in numbers], [references[i] for i in numbers]),
            "cider": float(cider[numbers].mean()) if len(numbers) else 0.0,
        }

    return {
        **of_rows(np.ones(len(texts), bool)),
        "rows": len(texts),
        "distinct_texts": len(set(texts)),
        "per_subset": per_subset(present, of_rows),
    }


def text_metrics(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return BLEU and chrF, from 0 to 100, and the fraction of exact matches.

    Chinese and Japanese texts are cut into characters for BLEU. A match is exact if the text is one
    of the references, but for spaces.
    """
    sacrebleu = _import_sacrebleu()
    if not texts:
        return {"bleu": 0.0, "chrf": 0.0, "exact_match": 0.0}
    streams = [list(stream) for stream in zip_longest(*references)]
    bleu = sacrebleu.BLEU(tokenize="zh" if _is_cjk(references) else "13a")
    is_match = [
        " ".join(text.split()) in {" ".join(reference.split()) for reference in row}
        for text, row in zip(texts, references, strict=True)
    ]
    return {
        "bleu": float(bleu.corpus_score(list(texts), streams).score),
        "chrf": float(sacrebleu.CHRF().corpus_score(list(texts), streams).score),
        "exact_match": float(np.mean(is_match)),
    }


def _is_cjk(references: Sequence[Sequence[str]]) -> bool:
    """Return whether most characters of the first rows are Chinese or Japanese."""
    sample = "".join(text for row in references[:1000] for text in row)[:100_000]
    low, high = _CJK
    return 2 * sum(low <= character <= high for character in sample) > len(sample)


def _import_sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError as error:
        raise MmfeatError(
            "the metrics of generated texts need the package sacrebleu",
            cure="pip install sacrebleu",
        ) from error
    return sacrebleu
