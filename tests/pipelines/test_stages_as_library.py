"""Stages used without a command: plan, make each shard, finish."""

from mmfeat.extraction import ExtractConfig, Extraction
from mmfeat.scoring import ScoreConfig, Scoring
from mmfeat.sharding import ShardConfig, Sharding


def make_store(stage):
    tasks = stage.plan()
    loaded = stage.load()
    receipts = [stage.process(task, loaded) for task in tasks]
    assert [receipt.records for receipt in receipts] == [task.records for task in tasks]
    return stage.finish([task.shard for task in tasks])


def test_stages_with_default_options_run_without_beam(mmfeat, toy_table, tmp_path):
    shards, features = str(tmp_path / "shards"), str(tmp_path / "features")
    model, predictions = str(tmp_path / "model"), str(tmp_path / "predictions")
    manifest = make_store(Sharding(ShardConfig(str(toy_table), shards)))
    assert manifest["totals"]["out"] == 60
    manifest = make_store(Extraction(ExtractConfig(shards, features)))
    assert {c["out"] for c in manifest["totals"]["columns"].values()} == {60}
    mmfeat("train", features, model, "--target", "label", "--epochs", "1")
    assert make_store(Scoring(ScoreConfig(model, features, predictions)))["totals"]["out"] == 60
