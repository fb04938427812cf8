"""Split rules, from training to evaluation."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from training.data.split_rule import (
    TEST,
    TRAIN,
    UNASSIGNED,
    VAL,
    SplitRule,
    carve_fraction,
    decode_split,
    encode_splits,
    hash_fraction,
    stratified_cuts,
)
from training.evaluate import main as evaluate
from training.train import main as train

LOGISTIC = ["--target", "label", "--fusion", "logistic", "--inverse-penalty", "1"]

FIRST_TWELVE = "train val train train train train test train val train val train".split()

KEYS = [f"key-{number}" for number in range(5000)]


@pytest.mark.parametrize(
    ("value", "split"),
    [
        ("train", TRAIN),
        ("Training ", TRAIN),
        ("VALID", VAL),
        ("val", VAL),
        ("validation", VAL),
        ("dev", VAL),
        ("Test", TEST),
        ("holdout", UNASSIGNED),
        (None, UNASSIGNED),
        (3, UNASSIGNED),
    ],
)
def test_names_in_a_split_column(value: object, split: str) -> None:
    assert SplitRule("split").assign(["a"], [value]).tolist() == [split]


def test_the_hash_split_is_80_10_10() -> None:
    parts = Counter(SplitRule().assign(KEYS, []).tolist())
    assert parts[TRAIN] / 5000 == pytest.approx(0.8, abs=0.02)
    assert parts[VAL] / 5000 == pytest.approx(0.1, abs=0.02)
    assert parts[TEST] / 5000 == pytest.approx(0.1, abs=0.02)


def test_the_hash_split_is_stable() -> None:
    # A later version of mmfeat must not train on the test records of this one.
    assert SplitRule().assign(KEYS[:12], []).tolist() == FIRST_TWELVE
    shuffled = KEYS[::-1]
    assert SplitRule().assign(shuffled, [])[::-1].tolist() == SplitRule().assign(KEYS, []).tolist()


def test_carving_takes_a_tenth_of_the_training_rows() -> None:
    column = [TRAIN if number % 2 else TEST for number in range(5000)]
    carved = SplitRule("split", carve=True).assign(KEYS, column)
    parts = Counter(carved.tolist())
    assert parts[TEST] == 2500
    assert parts[VAL] / 2500 == pytest.approx(0.1, abs=0.02)
    assert parts[TRAIN] + parts[VAL] == 2500


values = st.one_of(st.none(), st.integers(0, 30), st.text(max_size=3))


@given(st.lists(values, min_size=1, max_size=200))
def test_a_group_is_in_one_split(groups: list[int | str | None]) -> None:
    rule = SplitRule(group="author")
    splits = rule.assign(rule.hash_inputs(KEYS[: len(groups)], groups)).tolist()
    splits_by_group: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        if group not in (None, ""):
            splits_by_group.setdefault(str(group), set()).add(split)
    assert all(len(splits) == 1 for splits in splits_by_group.values())
    # A record without a group is a group of its own.
    ungrouped = [s for group, s in zip(groups, splits, strict=True) if group in (None, "")]
    keys = [key for key, group in zip(KEYS, groups, strict=False) if group in (None, "")]
    assert ungrouped == SplitRule().assign(keys).tolist()


def test_equal_groups_share_a_split_however_they_are_written() -> None:
    rule = SplitRule(group="seller")
    for number in range(100):
        spellings = [number, float(number), str(number), f"{number}.0"]
        assert len(set(rule.hash_inputs(KEYS[:4], spellings))) == 1
    assert len(set(rule.hash_inputs(KEYS[:3], [True, "True", "true"]))) == 1
    assert rule.hash_inputs(["key"] * 3, ["01", "1", " 1"]) == ["01", "1", " 1"]
    assert rule.hash_inputs(KEYS[:3], [None, float("nan"), ""]) == KEYS[:3]


def test_groups_of_older_models_stay_in_their_splits() -> None:
    old = {"column": "", "group": "seller", "cuts": {}, "carve": False}
    rule = SplitRule.from_config(old)
    assert rule.hash_inputs(KEYS[:4], [1.0, True, "", None]) == ["1.0", "True", "", KEYS[3]]
    # Their entry is kept, and the rule of a new model survives config.json.
    assert {**old, "group_by": "text"} == rule.config
    new = SplitRule(group="seller", carve=True, carve_below=0.25)
    assert SplitRule.from_config(json.loads(json.dumps(new.config))) == new
    assert SplitRule("split").config == {"column": "split", "group": "", "cuts": {}, "carve": False}


def test_equal_labels_share_stratified_cuts() -> None:
    keys = [f"key-{number}" for number in range(40)]
    fractions = np.array([hash_fraction(key, "split") for key in keys])
    cuts = stratified_cuts(["1", "1.0"] * 20, fractions)
    assert set(cuts) == {"1"}
    assert Counter(SplitRule(cuts=cuts).assign(keys, (), ["1.0"] * 40).tolist())[TEST] == 4
    assert SplitRule(cuts={"1.0": (0.5, 0.6)}).cuts == {"1": (0.5, 0.6)}


@given(
    st.lists(st.sampled_from(["a", "b", "c", None]), min_size=10, max_size=300),
    st.integers(0, 1000),
)
def test_stratified_splits_are_80_10_10_per_label(labels: list[str | None], salt: int) -> None:
    keys = [f"{salt}-{number}" for number in range(len(labels))]
    cuts = stratified_cuts(labels, np.array([hash_fraction(key, "split") for key in keys]))
    rule = SplitRule(cuts=cuts)
    splits = rule.assign(keys, (), labels)
    for label, rows in Counter(label for label in labels if label).items():
        parts = Counter(s for s, name in zip(splits.tolist(), labels, strict=True) if name == label)
        if rows >= 10:
            for split, part in ((TRAIN, 0.8), (VAL, 0.1), (TEST, 0.1)):
                assert abs(parts[split] - part * rows) <= 1
        else:
            assert label not in cuts
    # The rule survives config.json.
    reloaded = SplitRule(**json.loads(json.dumps(asdict(rule))))
    assert reloaded == rule
    assert (reloaded.assign(keys, (), labels) == splits).all()


def test_split_codes_round_trip() -> None:
    names = np.array([TRAIN, UNASSIGNED, TEST, VAL])
    assert encode_splits(names).dtype == np.int8
    assert [decode_split(code) for code in encode_splits(names)] == names.tolist()


def grouped_store(make_store: Callable[..., str]) -> str:
    rng = np.random.default_rng(0)
    metadata = {
        "label": rng.choice(["often", "seldom"], 600, p=[0.9, 0.1]).tolist(),
        "author": [f"author {number // 3}" for number in range(600)],
        "tags": [["x"] if number % 3 else ["x", "a"] for number in range(600)],
        "split": ["train"] * 600,
    }
    return make_store(features={"x": rng.normal(size=(600, 4))}, metadata=metadata)


def predictions(model: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(model / "predictions.parquet").to_pylist()
    return rows


def test_training_and_evaluation_keep_groups_together(
    make_store: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, model = grouped_store(make_store), tmp_path / "model"
    train([store, str(model), *LOGISTIC, "--group-column", "author"])
    assert "80/10/10 by a hash of column 'author'" in capsys.readouterr().out
    splits_by_author: dict[int, set[str]] = {}
    for row in predictions(model):
        splits_by_author.setdefault(int(row["__key__"][4:]) // 3, set()).add(row["split"])
    assert all(len(splits) == 1 for splits in splits_by_author.values())
    # No author of a validation or test record is in the training split.
    assert len(predictions(model)) == 3 * len(splits_by_author)
    assert_evaluate_finds_the_same_rows(model, store, capsys)


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_few_groups_leave_rows_to_validate_on(
    make_store: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    groups: int,
) -> None:
    # These groups are all training rows, and none of them has a hash below a tenth.
    names = [
        name
        for name in map(str, range(100))
        if SplitRule().assign([name])[0] == TRAIN and carve_fraction(name) >= 0.1
    ][:groups]
    rng = np.random.default_rng(0)
    metadata = {
        "label": rng.choice(["a", "b"], 60).tolist(),
        "seller": [names[number % groups] for number in range(60)],
    }
    store = make_store(features={"x": rng.normal(size=(60, 4))}, metadata=metadata)
    model = tmp_path / "model"
    train([store, str(model), *LOGISTIC, "--group-column", "seller"])
    rows = json.loads((model / "metrics.json").read_text())["rows"]
    assert rows == {"train": 60 - 60 // groups, "val": 60 // groups, "test": 0}
    evaluate([str(model), store, "--split", "val", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == 60 // groups


@pytest.mark.parametrize(
    ("flags", "target"),
    [([], "label"), (["--task", "multilabel"], "tags")],
)
def test_stratified_splits_are_the_same_in_evaluation(
    make_store: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    target: str,
) -> None:
    store, model = grouped_store(make_store), tmp_path / "model"
    train([store, str(model), *LOGISTIC, *flags, "--target", target, "--stratify"])
    assert "stratified by label" in capsys.readouterr().out
    samples = FeatureStore(store)
    record_counts = Counter(
        str(label) if isinstance(label, str) else str(sorted(label))
        for shard in samples.shards
        for label in samples.read_samples(shard)[target].to_pylist()
    )
    tested = Counter(str(r["target"]) for r in predictions(model) if r["split"] == "test")
    assert set(tested) == set(record_counts)
    for label, rows in record_counts.items():
        assert abs(tested[label] - rows / 10) <= 1
    assert_evaluate_finds_the_same_rows(model, store, capsys)


def assert_evaluate_finds_the_same_rows(
    model: Path, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Assert that `mmfeat evaluate` finds the same rows in each split as training."""
    rows = json.loads((model / "metrics.json").read_text())["rows"]
    for split, name in (("train", None), ("val", "validation"), ("test", "test")):
        capsys.readouterr()
        evaluate([str(model), store, "--split", split, "--json"])
        result = json.loads(capsys.readouterr().out)
        assert result["rows"] == rows[split]
        if name:
            written = json.loads((model / "metrics.json").read_text())[name]
            assert {key: result[key] for key in written} == written


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--group-column", "author", "--stratify"], "got '--group-column, --stratify'"),
        (["--split-column", "split", "--stratify"], "got '--split-column, --stratify'"),
        (
            ["--split-column", "split", "--group-column", "author"],
            "got '--split-column, --group-column'",
        ),
        (["--stratify", "--task", "regression"], "--stratify needs classes or labels"),
        (["--stratify", "--task", "align", "--target", ""], "takes no --stratify"),
        (["--group-column", "autor"], "no column 'autor' (--group-column)"),
    ],
)
def test_conflicting_flags_are_refused(
    make_store: Callable[..., str], tmp_path: Path, flags: list[str], message: str
) -> None:
    with pytest.raises(MmfeatError) as caught:
        train([grouped_store(make_store), str(tmp_path / "model"), *LOGISTIC, *flags])
    assert message in str(caught.value)
