"""What extract, score, train and evaluate do with damaged files of the stores they read."""

import random
from pathlib import Path

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.extraction.samples_table import read_input_receipt
from mmfeat.features import FeatureStore
from mmfeat.models.saved_model import load_model
from mmfeat.shards import read_stored_shard
from mmfeat.store import read_manifest
from tests.faults import assert_one_error
from tests.figures import COUNTS
from tests.mmfeat.verification.conftest import COMMANDS
from tests.mmfeat.verification.test_verify import flip_bit

FLIPS = 300

DAMAGED = (
    "features/image/00001.arrow",
    "features/samples/00001.parquet",
    "features/columns/text/00001_stats.json",
)


def read_shards():
    """Read what extract reads."""
    manifest = read_manifest("shards", "shards")
    records = {}
    for entry in manifest["shards"]:
        receipt = read_input_receipt("shards", entry)
        for record in read_stored_shard("shards", receipt, manifest["slots"]):
            members = record.sample.members if record.sample else None
            records[record.key] = record.statuses, members
    return records


def read_features():
    """Read what train and score read."""
    store = FeatureStore("features")
    rows = {}
    for shard, columns in store.read([*store.columns]):
        rows[shard] = store.read_samples(shard).to_pylist()
        for name, column in columns.items():
            rows[shard, name] = column.features.tobytes(), column.reasons.to_pylist()
    return rows


def read_model():
    """Read what score and evaluate read."""
    model = load_model("model")
    weights = [value.numpy().tobytes() for value in model.module.state_dict().values()]
    return model.task.config, model.target, model.split, str(model.columns), weights


@pytest.mark.slow
@pytest.mark.parametrize("read", [read_shards, read_features, read_model])
def test_no_flipped_bit_is_read_silently(stores, read):
    """Each is an error of mmfeat, or it is in a file or a value that the reader does not use."""
    rng = random.Random(5)
    whole = read()
    folder = read.__name__.removeprefix("read_")
    paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    refused = 0
    for number in range(FLIPS // 3):
        path = paths[number % len(paths)]
        data = path.read_bytes()
        flip_bit(path, rng.randrange(8 * len(data)))
        COUNTS["flipped bits"] += 1
        try:
            assert read() == whole, path
        except MmfeatError:
            refused += 1
        path.write_bytes(data)
    assert refused > FLIPS // 3 * (0.2 if folder == "model" else 0.7)
    assert read() == whole


@pytest.mark.parametrize("name", DAMAGED)
def test_score_fails_the_shard_of_a_damaged_file_until_it_is_restored(
    stores, contents, mmfeat, name
):
    data = Path(name).read_bytes()
    flip_bit(Path(name), 4 * len(data))
    result = mmfeat("score", "model", "features", "scores")
    line = assert_one_error(result)
    assert "1 of 4 shards" in line
    assert "00001" in line
    assert {path.name for path in Path("scores/data").iterdir()} == {
        f"0000{number}.parquet" for number in (0, 2, 3)
    }
    Path(name).write_bytes(data)
    assert mmfeat("score", "model", "features", "scores").returncode == 0
    assert contents(Path("scores")) == contents(Path("predictions"))


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_train_and_evaluate_name_the_damaged_file(stores, mmfeat, command):
    flip_bit(Path(DAMAGED[0]), 9999)
    arguments = {
        "train": ("train", "features", "other", *COMMANDS["model"][3:]),
        "evaluate": ("evaluate", "model", "features", "--split", "all"),
    }[command]
    line = assert_one_error(mmfeat(*arguments))
    assert f"{DAMAGED[0]} must have the bytes of its receipt" in line
    assert "mmfeat verify --fix" in line


def test_a_damaged_model_scores_nothing(stores, mmfeat):
    flip_bit(Path("model/model.safetensors"), 99999)
    line = assert_one_error(mmfeat("score", "model", "features", "scores"))
    assert "model.safetensors" in line
    assert not Path("scores/data").exists()
