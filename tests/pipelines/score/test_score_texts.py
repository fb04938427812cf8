"""`mmfeat score` with a model that describes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmfeat
from mmfeat.errors import MmfeatError
from tests.training.scenes import describe_flags, scene_records
from tests.training.stores import write_store, xor_records
from training.train import main as train


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with features and a model of a few epochs."""
    folder = tmp_path_factory.mktemp("scenes")
    store = write_store(str(folder / "features"), scene_records(150, missing=0.1), shards=3)
    train([store, str(folder / "model"), *describe_flags(3)])
    return folder


def score(scenes: Path, output: Path, **options: object) -> pa.Table:
    mmfeat.score(scenes / "model", scenes / "features", output, **options)
    return pa.concat_tables(pq.read_table(path) for path in sorted((output / "data").iterdir()))


def test_each_record_has_a_text_its_mean_log_probability_and_its_length(scenes, tmp_path):
    table = score(scenes, tmp_path / "predictions", columns="caption")
    assert len(table) == 150
    for row in table.to_pylist():
        if row["status"] == "ok":
            assert row["prediction"]
            assert row["log_probability"] < 0
            assert 1 <= row["length"] <= 20
        else:
            assert row["prediction"] is row["log_probability"] is row["length"] is None
            assert row["reason"] == "image:missing, text:missing"
    assert 0 < table["prediction"].null_count < 10


def test_the_predictions_of_training_are_those_of_score(scenes, tmp_path):
    scored = score(scenes, tmp_path / "predictions").to_pylist()
    texts = {row["__key__"]: (row["prediction"], row["log_probability"]) for row in scored}
    trained = pq.read_table(scenes / "model" / "predictions.parquet").to_pylist()
    assert trained
    for row in trained:
        assert texts[row["__key__"]] == (row["prediction"], row["log_probability"])


def test_samples_depend_on_the_seed_and_not_on_the_shards(scenes, tmp_path):
    options = {"decoding": "sample", "sampling_temperature": 2.0}
    one = score(scenes, tmp_path / "one", **options)
    assert score(scenes, tmp_path / "two", **options).equals(one)
    other = score(scenes, tmp_path / "three", sampling_seed=1, **options)
    assert other["prediction"] != one["prediction"]
    records = scene_records(150, missing=0.1)
    store = write_store(str(tmp_path / "features"), records, shards=1)
    whole = mmfeat.score(scenes / "model", store, tmp_path / "four", **options)
    (path,) = sorted((Path(whole.path) / "data").iterdir())
    assert pq.read_table(path)["prediction"].to_pylist() == one["prediction"].to_pylist()


def test_other_decoding_is_another_run(scenes, tmp_path):
    score(scenes, tmp_path / "predictions", decoding="beam", beams=2, max_tokens=3)
    with pytest.raises(MmfeatError, match="was made with another configuration"):
        score(scenes, tmp_path / "predictions")


def test_raw_predictions_take_the_same_options(scenes):
    model = mmfeat.open(scenes / "model")
    features = scene_records(5).features
    assert model.predict(features).to_arrow()["length"].to_pylist() != [1] * 5
    model.decode_with(max_tokens=1)
    assert model.predict(features).to_arrow()["length"].to_pylist() == [1] * 5
    with pytest.raises(MmfeatError, match="beems"):
        model.decode_with(beems=3)


def test_models_of_other_tasks_take_no_decoding(tmp_path):
    store = write_store(str(tmp_path / "features"), xor_records(200))
    train([store, str(tmp_path / "model"), "--target", "label", "--fusion", "ridge"])
    with pytest.raises(MmfeatError, match="are for models that describe"):
        mmfeat.score(tmp_path / "model", store, tmp_path / "output", decoding="beam")
    with pytest.raises(MmfeatError, match="are for models that describe"):
        mmfeat.open(tmp_path / "model").decode_with(decoding="beam")
