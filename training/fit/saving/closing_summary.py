"""The closing summary of a training."""

from typing import Any

from mmfeat.storage import files
from mmfeat.system import show_summary
from training.data import SPLITS, Dataset
from training.evaluation.text_baselines import warn_of_texts
from training.objectives.unseen_labels import UnseenLabels
from training.report import REPORT

_CHOSEN = ("lr", "inverse_penalty", "standardised")


def print_summary(folder: str, dataset: Dataset, metrics: dict[str, Any]) -> None:
    """Print the closing summary of a run."""
    metric = metrics["metric"]
    choice = {name: metrics[name] for name in _CHOSEN if name in metrics}
    facts: dict[str, Any] = {f"rows: {split}": metrics["rows"][split] for split in SPLITS}
    facts |= {f"left out: {reason}": rows for reason, rows in metrics["left_out"].items()}
    facts |= {
        "columns": ", ".join(column.label for column in dataset.features.columns),
        "split by": str(dataset.rule),
        "task": metrics["task"],
    }
    if "classes" in metrics["validation"]:
        facts["classes"] = len(metrics["validation"]["classes"])
    if dataset.leakage.summary:
        facts["leakage"] = dataset.leakage.summary
    for split in ("validation", "test"):
        if unseen := str(UnseenLabels.of_result(metrics[split] or {})):
            facts[f"{split}: labels"] = unseen
        if warnings := warn_of_texts(metrics[split] or {}):
            facts[f"{split}: warning"] = "; ".join(warnings)
    facts |= {
        **{name.replace("_", " "): _choice_text(value) for name, value in choice.items()},
        **({"chosen": metrics["model"]} if "model" in metrics else {}),
        **({"best epoch": metrics["best_epoch"]} if metrics["best_epoch"] else {}),
        f"validation: {metric}": metrics["validation"][metric],
        f"test: {metric}": metrics["test"][metric] if metrics["test"] else "no test rows",
        **_calibration_facts(metrics["temperature"]),
        "parameters": metrics["parameters"],
        "training rows per second": round(metrics["speed"]["train_rows_per_second"]),
        "training seconds": metrics["speed"]["train_seconds"],
        "peak memory": f"{metrics['speed']['peak_memory_mb']:,.0f} MB",
        "model": folder,
        "report": files.join(folder, REPORT),
    }
    show_summary("train", facts)


def _choice_text(value: float | bool) -> str:
    return str(value) if isinstance(value, bool) else f"{value:g}"


def _calibration_facts(calibration: dict[str, Any] | None) -> dict[str, Any]:
    if not calibration:
        return {}

    def describe(when: str) -> str:
        values = {name: calibration[f"{name}_{when}"] for name in ("nll", "ece")}
        return ", ".join(
            f"{name.upper()} {'-' if value is None else f'{value:.3f}'}"
            for name, value in values.items()
        )

    return {
        "temperature": calibration["value"],
        "calibration of validation rows": f"{describe('before')} → {describe('after')}",
    }
