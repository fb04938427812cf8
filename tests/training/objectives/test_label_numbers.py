"""Labels are numbered by value and named as the rows spell them."""

import pyarrow as pa

from mmfeat.models.tasks import Multiclass
from training.objectives.multiclass import MulticlassObjective
from training.objectives.multilabel import MultilabelObjective
from training.objectives.registry import objective_for


def test_a_label_of_one_spelling_keeps_it_and_others_get_the_canonical_text() -> None:
    for labels, names in (
        (["1.0", "True", "1.0"], ["1.0", "True"]),
        (["1.0", "1", "True", "true"], ["1", "true"]),
        (["1", "1.0", "TRUE", "True"], ["1", "true"]),
        (["01", "1"], ["01", "1"]),
    ):
        objective = MulticlassObjective("label")
        numbers = [objective.number(label) for label in labels]
        assert objective.labels == names
        assert [objective.number(label) for label in labels] == numbers


def test_a_trained_model_keeps_the_names_of_its_classes() -> None:
    objective = objective_for(Multiclass(["0.0", "1.0"]), "label")
    targets = objective.read_targets(pa.table({"label": [1, 0, 1, None, 2]}))
    assert targets.tolist() == [1, 0, 1, -1, 2]
    assert objective.to_arrow(targets).to_pylist() == ["1.0", "0.0", "1.0", None, "2"]


def test_a_model_of_an_older_version_may_have_two_classes_of_one_value() -> None:
    objective = objective_for(Multiclass(["1", "1.0", "True"]), "label")
    table = pa.table({"label": ["1", "1.0", "True", "true", "1.00"]})
    assert objective.read_targets(table).tolist() == [0, 1, 2, 2, 3]


def test_binary_columns_are_named_exactly() -> None:
    objective = MultilabelObjective("1,1.0")
    table = pa.table({"1": [1, 0], "1.0": [0, 1]})
    assert objective.read_targets(table).tolist() == [[1, 0], [0, 1]]
    objective.fit_targets(objective.read_targets(table), pa.array([0, 1]).to_numpy())
    assert objective.classes == ["1", "1.0"]
