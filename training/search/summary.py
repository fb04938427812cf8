"""Show the candidates of a search and the chosen model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmfeat.system import print_out, show_table
from training.data import Dataset
from training.fit.closing_summary import print_summary
from training.search.candidate import Candidate
from training.search.search import Search
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
    print_summary(folder, dataset, metrics)
