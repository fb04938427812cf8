"""Labels that may be mistakes are named once, with the flag that leaves their rows out."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmfeat.cli.main import main
from mmfeat.models.tasks import Multiclass, Multilabel
from tests.training.stores import Records, make_splits, write_store
from training.data.odd_labels import describe_odd_labels
from training.objectives.multiclass import MulticlassObjective
from training.objectives.registry import objective_for


def test_each_kind_of_odd_label_has_a_line() -> None:
    counts = {"dog": 30, "Dog": 2, "NA": 4, "nan": 3, "new york": 9, "New  York": 2, "once": 1}
    words, near, single = describe_odd_labels(counts)
    assert words.startswith("'NA' (4 rows), 'nan' (3 rows) may mean")
    assert words.endswith("--null-labels NA,nan leaves its rows out")
    assert near.endswith(
        "only: 'dog' (30 rows), 'Dog' (2 rows); 'new york' (9 rows), 'New  York' (2 rows)"
    )
    assert single == "labels of one row: 'once'"


def test_many_labels_of_one_row_are_counted() -> None:
    assert describe_odd_labels({f"label {n}": 1 for n in range(12)})[0].endswith("and 7 more")


def test_usual_labels_have_no_line() -> None:
    assert describe_odd_labels({"a": 2, "b": 3, "none of these": 9}) == []


def test_labels_of_rows_are_counted() -> None:
    objective = MulticlassObjective("label")
    objective.labels = ["a", "b", "c"]
    assert objective.label_counts(np.array([0, 2, -1, 0])) == {"a": 2, "c": 1}


@pytest.mark.parametrize("task", [Multiclass(["dog ", "cat"]), Multilabel(["dog ", "cat"])])
def test_classes_of_older_models_with_spaces_are_known(task: Multiclass | Multilabel) -> None:
    objective = objective_for(task, "label")
    assert objective.number("dog") == 0
    assert objective.number("dog ") == 0


def test_tasks_without_null_labels_have_the_settings_of_older_models() -> None:
    assert Multiclass(["a"]).config == {"task": "multiclass", "classes": ["a"]}
    assert Multiclass(["a"], null_labels=["NA"]).config["null_labels"] == ["NA"]


def test_null_labels_hold_in_training_and_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    words = np.array(["yes", "no ", "NA"])[rng.integers(0, 3, 150)]
    features = write_store(
        str(tmp_path / "features"),
        Records(
            {"image": rng.normal(size=(150, 4))},
            {"label": [*words], "split": make_splits(150)},
        ),
    )
    rows = int((words == "NA").sum())
    flags = ["--target", "label", "--fusion", "ridge"]
    assert main(["train", features, str(tmp_path / "all"), *flags]) == 0
    assert f"'NA' ({rows} rows) may mean that there is no target" in capsys.readouterr().err
    nulls = ["--null-labels", "NA"]
    assert main(["train", features, str(tmp_path / "model"), *flags, *nulls]) == 0
    assert "may mean" not in capsys.readouterr().err
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config["config"]["classes"] == ["no", "yes"]
    arguments = ["evaluate", str(tmp_path / "model"), features, "--split", "all", "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rows"], result["unseen_labels"]) == (150 - rows, {})
