"""Which rows train, choose and judge."""

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
from training.data.splits import (
    NOWHERE,
    TEST,
    TRAIN,
    VAL,
    SplitRule,
    decode,
    encode,
    fraction,
    stratified_cuts,
)
from training.evaluate import main as evaluate
from training.train import main as train

PROBE = ["--target", "label", "--fusion", "logistic", "--inverse-penalty", "1"]

FIRST_TWELVE = "train val train train train train test train val train val train".split()

KEYS = [f"key-{number}" for number in range(5000)]


@pytest.mark.parametrize(
    ("says", "means"),
    [
        ("train", TRAIN),
        ("Training ", TRAIN),
        ("VALID", VAL),
        ("val", VAL),
        ("validation", VAL),
        ("dev", VAL),
        ("Test", TEST),
        ("holdout", NOWHERE),
        (None, NOWHERE),
        (3, NOWHERE),
    ],
)
def test_a_split_column_is_read_by_meaning(says: object, means: str) -> None:
    assert SplitRule("split").assign(["a"], [says]).tolist() == [means]


def test_the_hash_split_is_80_10_10() -> None:
    parts = Counter(SplitRule().assign(KEYS, []).tolist())
    assert parts[TRAIN] / 5000 == pytest.approx(0.8, abs=0.02)
    assert parts[VAL] / 5000 == pytest.approx(0.1, abs=0.02)
    assert parts[TEST] / 5000 == pytest.approx(0.1, abs=0.02)


def test_the_hash_split_never_moves_a_record() -> None:
    # Written down once: another version of mmfeat must not train on what this one tested on.
    assert SplitRule().assign(KEYS[:12], []).tolist() == FIRST_TWELVE
    shuffled = KEYS[::-1]
    assert SplitRule().assign(shuffled, [])[::-1].tolist() == SplitRule().assign(KEYS, []).tolist()


def test_carving_takes_a_tenth_of_the_training_rows_and_no_other() -> None:
    says = [TRAIN if number % 2 else TEST for number in range(5000)]
    carved = SplitRule("split", carve=True).assign(KEYS, says)
    parts = Counter(carved.tolist())
    assert parts[TEST] == 2500
    assert parts[VAL] / 2500 == pytest.approx(0.1, abs=0.02)
    assert parts[TRAIN] + parts[VAL] == 2500


values = st.one_of(st.none(), st.integers(0, 30), st.text(max_size=3))


@given(st.lists(values, min_size=1, max_size=200))
def test_no_group_stands_in_two_splits(groups: list[int | str | None]) -> None:
    rule = SplitRule(group="author")
    splits = rule.assign(rule.hashed(KEYS[: len(groups)], groups)).tolist()
    found: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        if group is not None:
            found.setdefault(str(group), set()).add(split)
    assert all(len(where) == 1 for where in found.values())
    # A record without a group is one by itself.
    alone = [split for group, split in zip(groups, splits, strict=True) if group is None]
    keys = [key for key, group in zip(KEYS, groups, strict=False) if group is None]
    assert alone == SplitRule().assign(keys).tolist()


@given(
    st.lists(st.sampled_from(["a", "b", "c", None]), min_size=10, max_size=300),
    st.integers(0, 1000),
)
def test_stratified_each_label_is_cut_80_10_10_within_a_row(
    labels: list[str | None], salt: int
) -> None:
    keys = [f"{salt}-{number}" for number in range(len(labels))]
    cuts = stratified_cuts(labels, np.array([fraction(key, "split") for key in keys]))
    rule = SplitRule(cuts=cuts)
    splits = rule.assign(keys, (), labels)
    for label, rows in Counter(label for label in labels if label).items():
        parts = Counter(s for s, name in zip(splits.tolist(), labels, strict=True) if name == label)
        if rows >= 10:
            for split, part in ((TRAIN, 0.8), (VAL, 0.1), (TEST, 0.1)):
                assert abs(parts[split] - part * rows) <= 1
        else:
            assert label not in cuts
    # As it comes back from a model's config.json.
    kept = SplitRule(**json.loads(json.dumps(asdict(rule))))
    assert kept == rule
    assert (kept.assign(keys, (), labels) == splits).all()


def test_splits_as_numbers_come_back_as_names() -> None:
    names = np.array([TRAIN, NOWHERE, TEST, VAL])
    assert encode(names).dtype == np.int8
    assert [decode(code) for code in encode(names)] == names.tolist()


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


def test_groups_stay_together_from_training_to_evaluation(
    make_store: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, model = grouped_store(make_store), tmp_path / "model"
    train([store, str(model), *PROBE, "--group-column", "author"])
    assert "80/10/10 by a hash of column 'author'" in capsys.readouterr().out
    found: dict[int, set[str]] = {}
    for row in predictions(model):
        found.setdefault(int(row["__key__"][4:]) // 3, set()).add(row["split"])
    assert all(len(where) == 1 for where in found.values())
    # All three of an author are there, none was trained on.
    assert len(predictions(model)) == 3 * len(found)
    assert_evaluated_alike(model, store, capsys)


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
    train([store, str(model), *PROBE, *flags, "--target", target, "--stratify"])
    assert "each label alike" in capsys.readouterr().out
    samples = FeatureStore(store)
    everyone = Counter(
        str(label) if isinstance(label, str) else str(sorted(label))
        for shard in samples.shards
        for label in samples.read_samples(shard)[target].to_pylist()
    )
    tested = Counter(str(r["target"]) for r in predictions(model) if r["split"] == "test")
    assert set(tested) == set(everyone)
    for label, rows in everyone.items():
        assert abs(tested[label] - rows / 10) <= 1
    assert_evaluated_alike(model, store, capsys)


def assert_evaluated_alike(model: Path, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`evaluate` finds the rows of each split that training found."""
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
    ("flags", "says"),
    [
        (["--group-column", "author", "--stratify"], "got '--group-column, --stratify'"),
        (["--split-column", "split", "--stratify"], "got '--split-column, --stratify'"),
        (
            ["--split-column", "split", "--group-column", "author"],
            "got '--split-column, --group-column'",
        ),
        (["--stratify", "--task", "regression"], "a like part of each class, and a number has"),
        (["--stratify", "--task", "align", "--target", ""], "takes no --stratify"),
        (["--group-column", "autor"], "no column 'autor' (--group-column)"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    make_store: Callable[..., str], tmp_path: Path, flags: list[str], says: str
) -> None:
    with pytest.raises(MmfeatError) as caught:
        train([grouped_store(make_store), str(tmp_path / "model"), *PROBE, *flags])
    assert says in str(caught.value)
