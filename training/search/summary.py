"""Show the candidates of a search and the chosen model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmfeat.system import print_out, show_table
from training.data import Dataset, SplitRule
from training.fit.saving.closing_summary import print_summary
from training.search.candidate import Candidate
from training.search.search import NO_BUDGET, Search
from training.search.selection import Choice, margin


def candidate_rows(
    candidates: Sequence[Candidate], choice: Choice, search: Search
) -> list[dict[str, Any]]:
    """Return one row per candidate for metrics.json, the best first."""
    judge = search.judge
    best = max(candidates, key=lambda candidate: candidate.judgement.key)
    rows = []
    for candidate in sorted(candidates, key=lambda c: c.judgement.key, reverse=True):
        gap = margin(judge, best.logits, candidate.logits) if candidate is not best else None
        loss = candidate.judgement.loss
        rows.append(
            {
                "model": candidate.name,
                judge.metric: candidate.judgement.metric,
                "loss": loss if np.isfinite(loss) else None,
                "behind": gap.difference if gap else None if candidate is not best else 0.0,
                "tied": candidate is best or bool(gap and gap.is_tied),
                "weight": dict(
                    zip((c.name for c in choice.candidates), choice.weights, strict=True)
                ).get(candidate.name, 0.0),
                "settings": ", ".join(
                    f"{name.replace('_', ' ')} {value:g}"
                    if isinstance(value, float)
                    else f"{name} {value}"
                    for name, value in candidate.settings.items()
                    if name != "model"
                ),
            }
        )
    return rows


def chosen_figures(choice: Choice, search: Search) -> dict[str, float | None]:
    """Return the metric and the loss of the chosen model, as each candidate has them."""
    loss = choice.judgement.loss
    return {
        search.judge.metric: choice.judgement.metric,
        "loss": loss if np.isfinite(loss) else None,
    }


def explain_choice(metrics: Mapping[str, Any], rule: SplitRule) -> list[str]:
    """Return the lines below the candidates: what was saved and why, and how to read the figures.

    Args:
        metrics: the content of metrics.json, but for these lines.
        rule: the rule that split the rows.
    """
    metric, search = metrics["metric"], metrics["search"]
    weights, found = search["weights"], search["chosen"]
    lines = []
    if len(weights) > 1:
        figures = ", ".join(
            f"{name} {found[name]:.3f}" for name in (metric, "loss") if found[name] is not None
        )
        lines.append(
            f"saved: the ensemble {metrics['model']} ({figures}). Its first member has the lowest "
            f"loss of the candidates that are tied with the best {metric}; each further member "
            f"lowers the loss, and costs at most one standard error of {metric}"
        )
    else:
        lines.append(f"saved: {metrics['model']}")
    if folds := search["folds"]:
        lines.append(
            f"{folds} folds of training and validation rows chose, and the saved model is fitted "
            "to all of them: only the test split is unseen"
        )
        if rule.column and not rule.has_groups:
            lines.append(
                f"if the column {rule.column!r} keeps groups such as authors or days apart, the "
                "validation figures are too good, because the folds do not: --folds 0 lets the "
                "validation rows alone choose"
            )
    reasons = " ".join(search["dropped"].values())
    if "in its trial" in reasons:
        lines.append(
            "a trial is one short training, judged on some of the rows: its figures are not "
            "comparable with those of the table, which are of all rows that choose"
        )
    if NO_BUDGET in reasons:
        lines.append(
            f"{NO_BUDGET}: the search counts operations, and stops networks that would exceed its "
            "share; they may be better or worse. --quality best has six times the budget"
        )
    return lines


def show_search(folder: str, dataset: Dataset, metrics: dict[str, Any]) -> None:
    """Print what the search found: the headline, the candidates, and the summary of the model."""
    metric = metrics["metric"]
    print_out(metrics["headline"])
    show_table(
        "candidates, best first",
        ["model", metric, "loss", "tied with the best", "weight in the model", "settings"],
        [
            [
                row["model"],
                *(f"{row[n]:.3f}" if row[n] is not None else "-" for n in (metric, "loss")),
                "yes" if row["tied"] else "no",
                f"{row['weight']:.2f}" if row["weight"] else "",
                row["settings"],
            ]
            for row in metrics["candidates"]
        ],
    )
    for name, reason in metrics["search"]["dropped"].items():
        print_out(f"dropped {name}: {reason}")
    for line in metrics["explanation"]:
        print_out(line)
    print_summary(folder, dataset, metrics)
