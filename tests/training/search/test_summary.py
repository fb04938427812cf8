"""The lines below the candidates say what was saved, why, and what the dropped networks mean."""

from typing import Any

from training.search.summary import explain_choice


def metrics(weights: dict[str, float], dropped: dict[str, str]) -> dict[str, Any]:
    parts = [f"{weight} {name}" for name, weight in weights.items()]
    name = " + ".join(parts) if len(weights) > 1 else next(iter(weights))
    chosen = {"accuracy": 0.8154, "loss": 0.61234}
    search = {"weights": weights, "dropped": dropped, "chosen": chosen}
    return {"metric": "accuracy", "model": name, "search": search}


def test_an_ensemble_that_is_no_row_of_the_table_is_explained() -> None:
    (line,) = explain_choice(metrics({"kernel": 0.5, "ridge": 0.5}, {}))
    assert line.startswith(
        "saved: the ensemble 0.5 kernel + 0.5 ridge (accuracy 0.815, loss 0.612)"
    )
    assert "tied with the best accuracy" in line


def test_a_single_candidate_is_named_and_an_unknown_figure_left_out() -> None:
    assert explain_choice(metrics({"ridge": 1.0}, {})) == ["saved: ridge"]
    found = metrics({"kernel": 0.5, "ridge": 0.5}, {})
    found["search"]["chosen"]["accuracy"] = None
    assert "(loss 0.612)" in explain_choice(found)[0]


def test_trials_and_the_budget_are_explained_only_where_they_dropped_a_network() -> None:
    dropped = {
        "gmu": "worse in its trial (accuracy 0.943, loss 0.2) than network",
        "network": "no budget left",
    }
    lines = explain_choice(metrics({"ridge": 1.0}, dropped))
    assert lines[1:3] == [f"dropped {name}: {reason}" for name, reason in dropped.items()]
    assert "not comparable with those of the table" in lines[3]
    assert "--quality best" in lines[4]
    late = explain_choice(metrics({"ridge": 1.0}, {"gmu": "the time limit was reached"}))
    assert len(late) == 2
