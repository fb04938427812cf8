"""Metrics, calibration and retrieval scores as functions of arrays."""

from training.metrics.by_task import (
    evaluate_multiclass,
    evaluate_multilabel,
    evaluate_regression,
    multiclass_metrics,
    multilabel_metrics,
    regression_metrics,
)
from training.metrics.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    binary_ece,
    binary_nll,
    ece,
    fit_binary_temperature,
    fit_temperature,
    fit_thresholds,
    nll,
)
from training.metrics.cider import cider_scores
from training.metrics.functions import METRICS, Metric, PreparedMetric
from training.metrics.multilabel import MULTILABEL_METRICS, multilabel_metric
from training.metrics.retrieval import (
    MAX_ROWS,
    RECALL_KS,
    evaluate_direction,
    rank_both_directions,
    sample_rows,
)
from training.metrics.text_report import TEXT_METRICS, evaluate_texts, text_metrics

__all__ = [
    "MAX_ROWS",
    "MAX_TEMPERATURE",
    "METRICS",
    "MIN_TEMPERATURE",
    "MULTILABEL_METRICS",
    "RECALL_KS",
    "TEXT_METRICS",
    "Metric",
    "PreparedMetric",
    "binary_ece",
    "binary_nll",
    "cider_scores",
    "ece",
    "evaluate_direction",
    "evaluate_multiclass",
    "evaluate_multilabel",
    "evaluate_regression",
    "evaluate_texts",
    "fit_binary_temperature",
    "fit_temperature",
    "fit_thresholds",
    "multiclass_metrics",
    "multilabel_metric",
    "multilabel_metrics",
    "nll",
    "rank_both_directions",
    "regression_metrics",
    "sample_rows",
    "text_metrics",
]
