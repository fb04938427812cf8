"""The task `align`: training, ranking of misaligned records, and dropping them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from mmfeat.models.saved_model import load_model
from mmfeat.scoring import ScoreConfig, Scoring
from mmfeat.store import RETRY_SHARD
from tests.training.stores import Records, write_receipts, write_store
from training import evaluate, train
from training.alignment import align_report

COUNT, SHUFFLED = 1200, 0.1
QUICK = [
    "--task", "align", "--lr", "0.003", "--epochs", "12", "--hidden", "32",
    "--combination", "linear",
]  # fmt: skip


def shuffled_pairs() -> tuple[Records, np.ndarray]:
    """Return two views of hidden vectors; a tenth of the texts belong to another record."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(COUNT, 8))
    views = {
        name: hidden @ rng.normal(size=(8, 24)) + rng.normal(0, 0.3, (COUNT, 24))
        for name in ("image", "text")
    }
    wrong = rng.choice(COUNT, int(SHUFFLED * COUNT), replace=False)
    views["text"][wrong] = views["text"][np.roll(wrong, 1)]
    is_wrong = np.isin(np.arange(COUNT), wrong)
    present = {name: np.ones(COUNT, bool) for name in views}
    present["image"][::50] = False
    splits = np.array(["train", "train", "train", "val", "test"])[np.arange(COUNT) % 5]
    metadata = {"split": splits.tolist(), "label": (np.arange(COUNT) % 2).tolist()}
    return Records(views, metadata, present), is_wrong


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A feature store, a model trained on it and a ranking by the model."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("pairs")
    records, is_wrong = shuffled_pairs()
    paths = {name: str(folder / name) for name in ("features", "model", "ranking")}
    write_store(paths["features"], records)
    train.main([paths["features"], paths["model"], *QUICK])
    align_report.main([paths["model"], paths["features"], paths["ranking"], "--no-cross-fit"])
    return paths | {"is_wrong": is_wrong, "has_pair": records.present["image"]}


def read_ranking(folder: str) -> dict[str, list[Any]]:
    return pq.read_table(f"{folder}/misaligned.parquet").to_pydict()


def is_wrong_by_rank(ranking: dict[str, list[Any]], is_wrong: np.ndarray) -> np.ndarray:
    return is_wrong[[int(key.removeprefix("key-")) for key in ranking["__key__"]]]


def test_shuffled_pairs_rank_first(pairs: dict[str, Any]) -> None:
    ranking = read_ranking(pairs["ranking"])
    wrong = is_wrong_by_rank(ranking, pairs["is_wrong"])
    assert roc_auc_score(wrong, ranking["misalignment"]) >= 0.95
    assert ranking["rank"] == list(range(1, pairs["has_pair"].sum() + 1))
    assert ranking["misalignment"] == sorted(ranking["misalignment"], reverse=True)
    assert set(ranking["split"]) == {"train", "val", "test"}


def test_cross_fitting_ranks_shuffled_pairs_first(pairs: dict[str, Any], tmp_path: Path) -> None:
    flags = ["--most", "50"]
    align_report.main([pairs["model"], pairs["features"], str(tmp_path / "ranking"), *flags])
    ranking = read_ranking(str(tmp_path / "ranking"))
    assert len(ranking["rank"]) == 50
    assert is_wrong_by_rank(ranking, pairs["is_wrong"]).mean() > 0.9


def test_dropped_records_are_counted_and_named_in_the_config(
    pairs: dict[str, Any], tmp_path: Path
) -> None:
    def read(name: str, file: str) -> Any:
        return json.loads((tmp_path / name / file).read_text())

    flags = ["--target", "label", "--epochs", "1", "--lr", "0.001", "--hidden", "8"]
    train.main([pairs["features"], str(tmp_path / "whole"), *flags])
    drop = ["--drop-misaligned", f"{pairs['ranking']}:0.08"]
    train.main([pairs["features"], str(tmp_path / "clean"), *flags, *drop])
    whole, clean = read("whole", "metrics.json"), read("clean", "metrics.json")
    ranking = read_ranking(pairs["ranking"])
    count = round(0.08 * len(ranking["rank"]))
    in_training = np.array(ranking["split"][:count]) == "train"
    assert clean["left_out"]["misaligned"] == in_training.sum() > 0
    assert clean["rows"] == whole["rows"] | {"train": whole["rows"]["train"] - in_training.sum()}
    assert is_wrong_by_rank(ranking, pairs["is_wrong"])[:count][in_training].mean() > 0.9
    dropped = read("clean", "config.json")["config"]["drop_misaligned"]
    assert dropped["records"] == count
    assert dropped["fraction"] == 0.08
    assert "drop_misaligned" not in read("whole", "config.json")["config"]


def test_scores_equal_those_of_the_ranking(pairs: dict[str, Any], tmp_path: Path) -> None:
    stage = Scoring(ScoreConfig(pairs["model"], pairs["features"], str(tmp_path)))
    loaded = stage.load()
    for task in stage.plan():
        stage.process(task, loaded)
    scored = {
        row["__key__"]: row
        for shard in FeatureStore(pairs["features"]).shards
        for row in pq.read_table(tmp_path / "data" / f"{shard}.parquet").to_pylist()
    }
    ranking = read_ranking(pairs["ranking"])
    for name in ("misalignment", "alignment"):
        assert [scored[key][name] for key in ranking["__key__"]] == ranking[name]
    assert scored["key-000000"]["status"] == "failed"
    assert scored["key-000000"]["reason"] == "image:missing"
    assert scored["key-000000"]["misalignment"] is None


def test_evaluate_prints_recall_of_both_directions(
    pairs: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    evaluate.main([pairs["model"], pairs["features"], "--json"])
    metrics = json.loads(capsys.readouterr().out)
    assert set(metrics["per_direction"]) == {"image to text", "text to image"}
    assert 0.4 < metrics["recall_at_1"] < metrics["recall_at_10"] <= 0.95
    assert metrics["left_out"]["no pair"] == 24
    evaluate.main([pairs["model"], pairs["features"]])
    assert "image to text" in capsys.readouterr().out


def test_three_columns_and_siglip(make_store: Callable[..., str], tmp_path: Path) -> None:
    records, _ = shuffled_pairs()
    third = records.features["image"][:, ::-1] + 0.1
    features = make_store(
        features=records.features | {"sound": third},
        metadata=records.metadata,
        present=records.present | {"sound": np.arange(COUNT) % 3 > 0},
    )
    train.main([features, str(tmp_path / "model"), *QUICK, "--align-loss", "siglip"])
    metrics = json.loads((tmp_path / "model/metrics.json").read_text())
    assert len(metrics["test"]["per_direction"]) == 6
    assert metrics["test"]["recall_at_1"] > 0.4
    assert metrics["temperature"]["auroc_of_shuffled"] > 0.95
    assert load_model(str(tmp_path / "model")).config["align_loss"] == "siglip"


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (["--task", "align", "--target", "label"], "takes no --target"),
        (["--task", "align", "--fusion", "gmu"], "takes no --fusion"),
        (["--task", "align", "--modalities", "text"], "at least 2 modalities"),
        ([], "requires a target"),
        (["--target", "label", "--fusion", "align"], "align"),
        (["--target", "label", "--drop-misaligned", "nowhere"], "no folder nowhere"),
    ],
)
def test_conflicting_flags_are_an_error(
    pairs: dict[str, Any], tmp_path: Path, flags: list[str], rule: str
) -> None:
    with pytest.raises(MmfeatError, match=rule):
        train.main([pairs["features"], str(tmp_path / "model"), *flags])


def test_classifier_cannot_rank_pairs(pairs: dict[str, Any], tmp_path: Path) -> None:
    flags = ["--target", "label", "--epochs", "1", "--lr", "0.001", "--hidden", "8"]
    train.main([pairs["features"], str(tmp_path / "model"), *flags])
    with pytest.raises(MmfeatError, match="must be an alignment"):
        align_report.main([str(tmp_path / "model"), pairs["features"], str(tmp_path / "ranking")])


def test_the_cure_of_a_failed_cross_fit_works_in_the_same_directory(
    pairs: dict[str, Any], tmp_path: Path
) -> None:
    records, _ = shuffled_pairs()
    records.metadata["split"] = ["test"] * COUNT
    features = write_store(str(tmp_path / "features"), records)
    arguments = [pairs["model"], features, str(tmp_path / "ranking")]
    with pytest.raises(MmfeatError, match="--no-cross-fit"):
        align_report.main(arguments)
    assert not (tmp_path / "ranking").exists()
    align_report.main([*arguments, "--no-cross-fit"])
    assert len(read_ranking(arguments[2])["__key__"]) == pairs["has_pair"].sum()


def test_records_without_a_pair_claim_nothing(pairs: dict[str, Any], tmp_path: Path) -> None:
    records, _ = shuffled_pairs()
    records.present["image"][:] = False
    features = write_store(str(tmp_path / "features"), records)
    with pytest.raises(MmfeatError, match="has two modalities"):
        align_report.main([pairs["model"], features, str(tmp_path / "ranking"), "--no-cross-fit"])
    assert not (tmp_path / "ranking").exists()


def test_a_retried_pair_is_ranked_once(pairs: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(pairs["features"], tmp_path / "features")
    first, last = (tmp_path / "features" / "samples" / f"0000{n}.parquet" for n in (0, 1))
    rows, newest = pq.read_table(first), pq.read_table(last)
    keys = rows["__key__"].to_pylist()
    pq.write_table(rows.set_column(1, "status", pa.array(["partial"] * len(rows))), first)
    newest_keys = newest["__key__"].to_pylist()
    newest_keys[1:4] = keys[1:4]
    pq.write_table(newest.set_column(0, "__key__", pa.array(newest_keys)), last)
    path = tmp_path / "features" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["shards"][1][RETRY_SHARD] = True
    path.write_text(json.dumps(manifest))
    write_receipts(str(tmp_path / "features"))
    output = str(tmp_path / "ranking")
    align_report.main([pairs["model"], str(tmp_path / "features"), output, "--no-cross-fit"])
    ranking = read_ranking(output)
    assert len(ranking["__key__"]) == len({*ranking["__key__"]})
    shards = dict(zip(ranking["__key__"], ranking["shard"], strict=True))
    assert {shards[key] for key in keys[1:4]} == {"00001"}
    totals = json.loads((tmp_path / "ranking" / "manifest.json").read_text())["totals"]
    assert totals["records"] == COUNT - 3
    assert totals["ranked"] == len(ranking["__key__"])
