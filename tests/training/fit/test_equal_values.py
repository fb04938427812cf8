"""One value that is written in several ways, from the table to the metrics."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmfeat
from mmfeat.cli import main
from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureStore
from training.data import SplitRule, read_sample_rows
from training.evaluate import main as evaluate
from training.objectives.registry import OBJECTIVES
from training.train import main as train

QUICK = "--fusion logistic --inverse-penalty 1".split()

Rows = list[dict[str, Any]]


def make_rows(count: int = 60) -> Rows:
    """Return records whose text says their label, 0 or 1."""
    return [
        {"id": f"r{n:03d}", "text": f"{'cold blue' if n % 2 else 'warm red'} {n}", "label": n % 2}
        for n in range(count)
    ]


def write_csv(path: Path, rows: Rows) -> Path:
    header = list(rows[0])
    lines = [header, *([row[name] for name in header] for row in rows)]
    path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    return path


def write_jsonl(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Return a function that shards a table, extracts its texts and returns the features."""

    def run(table: object) -> str:
        folder = tmp_path_factory.mktemp("store")
        shards, features = str(folder / "shards"), str(folder / "features")
        assert main.main(["shard", str(table), shards, "--key-column", "id"]) == 0
        assert main.main(["extract", shards, features, "--threads", "1"]) == 0
        return features

    return run


def relabel(rows: Rows, *spellings: Any) -> Rows:
    """Return the rows with the label 0 spelt as the first spellings, 1 as the second, in turn."""
    pairs = list(zip(spellings[::2], spellings[1::2], strict=True))
    return [row | {"label": pairs[n // 2 % len(pairs)][n % 2]} for n, row in enumerate(rows)]


def classes_of(model: Path) -> list[str]:
    classes: list[str] = json.loads((model / "config.json").read_text())["config"]["classes"]
    return classes


def evaluate_json(model: Path, features: str, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    evaluate([str(model), features, "--split", "test", "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("form", ["mixed JSON", "parts of different types"])
def test_numbers_and_their_texts_are_one_class(
    extract: Callable[..., str], tmp_path: Path, form: str
) -> None:
    rows = make_rows()
    if form == "mixed JSON":
        mixed = relabel(rows, 0, 1, "0", "1", 0.0, 1.0, "0.0", "1.0")
        features = extract(write_jsonl(tmp_path / "mixed.jsonl", mixed))
    else:
        for number, kind in enumerate((pa.int64(), pa.string(), pa.float64())):
            table = pa.Table.from_pylist(rows[number::3])
            place = table.schema.get_field_index("label")
            column = table["label"].cast(kind)
            table = table.set_column(place, "label", column)
            pq.write_table(table, tmp_path / f"part-{number}.parquet")
        features = extract(tmp_path / "part-*.parquet")
    labels = FeatureStore(features).read_samples("00000", ["label"])["label"].to_pylist()
    assert {str(label).removesuffix(".0") for label in labels} == {"0", "1"}
    train([features, str(tmp_path / "model"), "--target", "label", *QUICK])
    assert classes_of(tmp_path / "model") == ["0", "1"]


@pytest.mark.parametrize(
    ("trained", "other"),
    [((0, 1), ("0.0", "1.0")), (("0.0", "1.0"), (0, 1)), (("false", "true"), ("False", "True"))],
)
def test_a_model_knows_its_labels_in_another_spelling(
    extract: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    trained: tuple[Any, Any],
    other: tuple[Any, Any],
) -> None:
    rows, model = make_rows(), tmp_path / "model"
    first = extract(write_csv(tmp_path / "first.csv", relabel(rows, *trained)))
    second = extract(write_csv(tmp_path / "second.csv", relabel(rows, *other)))
    train([first, str(model), "--target", "label", *QUICK])
    # A class is named as its rows spell it, so predictions can be joined with them.
    assert classes_of(model) == [str(label) for label in trained]
    on_first, on_second = (evaluate_json(model, store, capsys) for store in (first, second))
    assert on_second["accuracy"] == on_first["accuracy"] > 0.8
    assert on_second["unseen_labels"] == {}
    assert on_second["per_class"] == on_first["per_class"]


def test_booleans_of_parquet_and_csv_are_the_same_labels(
    extract: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, model = relabel(make_rows(), False, True), tmp_path / "model"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "bool.parquet")
    train([extract(tmp_path / "bool.parquet"), str(model), "--target", "label", *QUICK])
    assert classes_of(model) == ["false", "true"]
    features = extract(write_csv(tmp_path / "bool.csv", rows))
    assert evaluate_json(model, features, capsys)["accuracy"] > 0.8


def test_a_warning_says_how_labels_differ(
    extract: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, model = make_rows(), tmp_path / "model"
    first = extract(write_csv(tmp_path / "first.csv", relabel(rows, "cat", "1")))
    second = extract(write_csv(tmp_path / "second.csv", relabel(rows, "Cat", "01")))
    train([first, str(model), "--target", "label", *QUICK])
    capsys.readouterr()
    evaluate([str(model), second, "--split", "all"])
    printed = capsys.readouterr()
    assert "warning: all" in printed.err
    assert "labels are unknown to the model" in printed.err
    assert ", the model has 'cat')" in printed.err
    assert ", the model has '1')" in printed.err
    assert "Its classes: '1', 'cat'" in printed.err
    capsys.readouterr()
    evaluate([str(model), first, "--split", "all"])
    assert "unknown" not in "".join(capsys.readouterr())


def test_odd_labels_train(
    extract: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows()
    odd = ["--1", "2", "-", "[/b]", "$x$_", "%s{}", "²", "9" * 5000]
    for number, row in enumerate(rows):
        row["label"] = odd[number % len(odd)]
        row["split"] = ("train", "train", "val", "test")[number // len(odd) % 4]
    features, model = extract(write_csv(tmp_path / "odd.csv", rows)), tmp_path / "model"
    train([features, str(model), "--target", "label", *QUICK])
    assert classes_of(model) == sorted(odd)
    assert set(evaluate_json(model, features, capsys)["per_class"]) == set(odd)
    assert (model / "report.html").exists()
    assert mmfeat.load_model(str(model)).task.outputs == len(odd)


def test_split_column_and_price_of_mixed_types(extract: Callable[..., str], tmp_path: Path) -> None:
    rows = make_rows()
    for number, row in enumerate(rows):
        price = 1.0 + number % 2
        row["price"] = str(price) if number % 3 else price
        row["fold"] = ["train", "train", "val", "test"][number % 4]
    rows[0]["fold"] = 3
    features = extract(write_jsonl(tmp_path / "rows.jsonl", rows))
    flags = "--target price --task regression --split-column fold --fusion ridge".split()
    train([features, str(tmp_path / "model"), *flags])
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["rows"] == {"train": 29, "val": 15, "test": 15}
    assert metrics["left_out"] == {"no split": 1}
    assert 1 <= mmfeat.load_model(str(tmp_path / "model")).task.config["mean"] <= 2


def test_a_group_of_mixed_types_is_in_one_split(
    extract: Callable[..., str], tmp_path: Path
) -> None:
    rows = make_rows(90)
    for number, row in enumerate(rows):
        seller = number % 30
        row["seller"] = [seller, str(seller), float(seller)][number // 30]
    features = FeatureStore(extract(write_jsonl(tmp_path / "rows.jsonl", rows)))
    objective, rule = OBJECTIVES["multiclass"]("label"), SplitRule(group="seller")
    splits_by_seller: dict[int, set[int]] = {}
    for shard in features.shards:
        samples = read_sample_rows(features, shard, objective, rule, {})
        for key, split in zip(samples.keys, samples.splits.tolist(), strict=True):
            splits_by_seller.setdefault(int(key[1:]) % 30, set()).add(split)
    assert len(splits_by_seller) == 30
    assert all(len(splits) == 1 for splits in splits_by_seller.values())


@pytest.mark.parametrize("target", ["text_status", "status", "reason", "input_row", "__key__"])
def test_columns_of_mmfeat_are_no_target(
    extract: Callable[..., str], tmp_path: Path, target: str
) -> None:
    rows = [row | {"order_status": "sent" if row["label"] else "paid"} for row in make_rows()]
    features = extract(write_csv(tmp_path / "rows.csv", rows))
    with pytest.raises(MmfeatError, match=r"mmfeat wrote .*; the input has: .*order_status"):
        train([features, str(tmp_path / "model"), "--target", target, *QUICK])
    train([features, str(tmp_path / "model"), "--target", "order_status", *QUICK])
    assert classes_of(tmp_path / "model") == ["paid", "sent"]
