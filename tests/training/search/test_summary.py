"""The lines below the candidates say what was saved, why, and what the dropped networks mean."""

from typing import Any

from training.data import SplitRule
from training.search.summary import explain_choice

RULE = SplitRule()


def metrics(weights: dict[str, float], dropped: dict[str, str], folds: int = 0) -> dict[str, Any]:
    parts = [f"{weight} {name}" for name, weight in weights.items()]
    name = " + ".join(parts) if len(weights) > 1 else next(iter(weights))
    chosen = {"accuracy": 0.8154, "loss": 0.61234}
    search = {"weights": weights, "dropped": dropped, "chosen": chosen, "folds": folds}
    return {"metric": "accuracy", "model": name, "search": search}


def test_an_ensemble_that_is_no_row_of_the_table_is_explained() -> None:
    (line,) = explain_choice(metrics({"kernel": 0.5, "ridge": 0.5}, {}), RULE)
    assert line.startswith(
        "saved: the ensemble 0.5 kernel + 0.5 ridge (accuracy 0.815, loss 0.612)"
    )
    assert "tied with the best accuracy" in line


def test_a_single_candidate_is_named_and_an_unknown_figure_left_out() -> None:
    assert explain_choice(metrics({"ridge": 1.0}, {}), RULE) == ["saved: ridge"]
    found = metrics({"kernel": 0.5, "ridge": 0.5}, {})
    found["search"]["chosen"]["accuracy"] = None
    assert "(loss 0.612)" in explain_choice(found, RULE)[0]


def test_trials_and_the_budget_are_explained_only_where_they_dropped_a_network() -> None:
    dropped = {
        "gmu": "worse in its trial (accuracy 0.943, loss 0.2) than network",
        "network": "no budget left",
    }
    lines = explain_choice(metrics({"ridge": 1.0}, dropped), RULE)
    assert "not comparable with those of the table" in lines[1]
    assert "--quality best" in lines[2]
    late = explain_choice(metrics({"ridge": 1.0}, {"gmu": "the time limit was reached"}), RULE)
    assert len(late) == 1


def test_folds_are_explained_and_a_split_column_warns_of_groups() -> None:
    found = metrics({"ridge": 1.0}, {}, folds=5)
    assert "only the test split is unseen" in explain_choice(found, RULE)[1]
    assert len(explain_choice(found, SplitRule(group="author"))) == 2
    warning = explain_choice(found, SplitRule(column="split"))[2]
    assert "'split'" in warning
    assert "--folds 0" in warning
    alone = metrics({"ridge": 1.0}, {})
    assert explain_choice(alone, SplitRule(column="split")) == ["saved: ridge"]
