"""The task align: from pairs alone to one space, and to the records whose pairs do not fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from mmfeat.models.checkpoint import load_model
from mmfeat.scoring.stage import ScoreConfig, Scoring
from tests.training.stores import Records, write_store
from training import evaluate, train
from training.alignment import align_report
from training.evaluation.retrieval import both_ways
from training.objectives.contrastive import infonce, siglip

COUNT, SHUFFLED = 1200, 0.1
QUICK = [
    "--task", "align", "--lr", "0.003", "--epochs", "12", "--hidden", "32",
    "--combination", "linear",
]  # fmt: skip


def shuffled_pairs() -> tuple[Records, np.ndarray]:
    """Two views of one hidden vector; in a tenth of the records the text is another record's."""
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
    """A store, a model of it and a ranking by it."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("pairs")
    records, is_wrong = shuffled_pairs()
    found = {name: str(folder / name) for name in ("features", "model", "ranking")}
    write_store(found["features"], records)
    train.main([found["features"], found["model"], *QUICK])
    align_report.main([found["model"], found["features"], found["ranking"], "--no-cross-fit"])
    return found | {"is_wrong": is_wrong, "has_pair": records.present["image"]}


def read_ranking(folder: str) -> dict[str, list[Any]]:
    return pq.read_table(f"{folder}/misaligned.parquet").to_pydict()


def is_wrong_by_rank(ranking: dict[str, list[Any]], is_wrong: np.ndarray) -> np.ndarray:
    return is_wrong[[int(key.removeprefix("key-")) for key in ranking["__key__"]]]


def test_the_shuffled_pairs_stand_first(pairs: dict[str, Any]) -> None:
    ranking = read_ranking(pairs["ranking"])
    wrong = is_wrong_by_rank(ranking, pairs["is_wrong"])
    assert roc_auc_score(wrong, ranking["misalignment"]) >= 0.95
    assert ranking["rank"] == list(range(1, pairs["has_pair"].sum() + 1))
    assert ranking["misalignment"] == sorted(ranking["misalignment"], reverse=True)
    assert set(ranking["split"]) == {"train", "val", "test"}


def test_cross_fitted_judges_find_them_too(pairs: dict[str, Any], tmp_path: Path) -> None:
    flags = ["--most", "50"]
    align_report.main([pairs["model"], pairs["features"], str(tmp_path / "ranking"), *flags])
    ranking = read_ranking(str(tmp_path / "ranking"))
    assert len(ranking["rank"]) == 50
    assert is_wrong_by_rank(ranking, pairs["is_wrong"]).mean() > 0.9


def test_what_is_dropped_is_counted_named_in_the_claim_and_was_shuffled(
    pairs: dict[str, Any], tmp_path: Path
) -> None:
    def read(name: str, file: str) -> Any:
        return json.loads((tmp_path / name / file).read_text())

    plain = ["--target", "label", "--epochs", "1", "--lr", "0.001", "--hidden", "8"]
    train.main([pairs["features"], str(tmp_path / "whole"), *plain])
    drop = ["--drop-misaligned", f"{pairs['ranking']}:0.08"]
    train.main([pairs["features"], str(tmp_path / "clean"), *plain, *drop])
    whole, clean = read("whole", "metrics.json"), read("clean", "metrics.json")
    ranking = read_ranking(pairs["ranking"])
    count = round(0.08 * len(ranking["rank"]))
    in_training = np.array(ranking["split"][:count]) == "train"
    assert clean["left_out"]["misaligned"] == in_training.sum() > 0
    assert clean["rows"] == whole["rows"] | {"train": whole["rows"]["train"] - in_training.sum()}
    assert is_wrong_by_rank(ranking, pairs["is_wrong"])[:count][in_training].mean() > 0.9
    claimed = read("clean", "config.json")["config"]["drop_misaligned"]
    assert claimed["records"] == count
    assert claimed["fraction"] == 0.08
    assert "drop_misaligned" not in read("whole", "config.json")["config"]


def test_the_scores_of_a_record_are_those_of_the_ranking(
    pairs: dict[str, Any], tmp_path: Path
) -> None:
    stage = Scoring(ScoreConfig(pairs["model"], pairs["features"], str(tmp_path)))
    loaded = stage.load()
    for task in stage.plan():
        stage.process(task, loaded)
    scored = {
        row["__key__"]: row
        for shard in FeatureStore(pairs["features"]).shards
        for row in pq.read_table(tmp_path / f"{shard}.parquet").to_pylist()
    }
    ranking = read_ranking(pairs["ranking"])
    for name in ("misalignment", "alignment"):
        assert [scored[key][name] for key in ranking["__key__"]] == ranking[name]
    assert scored["key-000000"]["status"] == "failed"
    assert scored["key-000000"]["reason"] == "image:missing"
    assert scored["key-000000"]["misalignment"] is None


def test_evaluate_tells_the_recalls_of_both_ways(
    pairs: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    evaluate.main([pairs["model"], pairs["features"], "--json"])
    found = json.loads(capsys.readouterr().out)
    assert set(found["per_direction"]) == {"image to text", "text to image"}
    assert 0.4 < found["recall_at_1"] < found["recall_at_10"] <= 0.95
    assert found["left_out"]["no pair"] == 24
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
        ([], "none is named"),
        (["--target", "label", "--fusion", "align"], "align"),
        (["--target", "label", "--drop-misaligned", "nowhere"], "no ranking"),
    ],
)
def test_what_does_not_go_together_is_refused(
    pairs: dict[str, Any], tmp_path: Path, flags: list[str], rule: str
) -> None:
    with pytest.raises(MmfeatError, match=rule):
        train.main([pairs["features"], str(tmp_path / "model"), *flags])


def test_a_model_of_classes_ranks_no_pairs(pairs: dict[str, Any], tmp_path: Path) -> None:
    flags = ["--target", "label", "--epochs", "1", "--lr", "0.001", "--hidden", "8"]
    train.main([pairs["features"], str(tmp_path / "model"), *flags])
    with pytest.raises(MmfeatError, match="must be an alignment"):
        align_report.main([str(tmp_path / "model"), pairs["features"], str(tmp_path / "ranking")])


def test_ranks_share_the_places_of_a_tie() -> None:
    a = np.eye(3, dtype=np.float32)
    b = a[[0, 0, 2]]
    forth, back = both_ways(a, b)
    assert forth.above.tolist() == [0, 0, 0]
    assert forth.tied.tolist() == [1, 2, 0]
    assert forth.recall(1) == pytest.approx((1 / 2 + 1 / 3 + 1) / 3)
    assert back.recall(1) == pytest.approx(2 / 3)
    same = np.ones((4, 1), np.float32)
    assert both_ways(same, same)[0].recall(1) == 0.25


def test_ranks_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 50, 4)))
    whole = both_ways(a, b)
    monkeypatch.setattr("training.evaluation.retrieval._BLOCK", 7)
    for one, other in zip(whole, both_ways(a, b), strict=True):
        assert np.array_equal(one.above, other.above)
    own = np.diag(a @ b.T)
    assert np.array_equal(whole[0].above, (a @ b.T > own[:, None]).sum(axis=1))


def test_losses_by_hand() -> None:
    logits = torch.tensor([[0.0, np.log(3.0)], [0.0, 0.0]])
    # Rows: -log 1/4 and -log 1/2; columns: -log 1/2 and -log 1/4.
    assert float(infonce(logits)) == pytest.approx(np.log(8) / 2)
    # -log σ(0) three times, and -log σ(-ln 3) = log 4 once.
    assert float(siglip(logits)) == pytest.approx((3 * np.log(2) + np.log(4)) / 2)
