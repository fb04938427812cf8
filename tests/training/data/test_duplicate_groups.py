import shutil

import numpy as np
import pytest

import mmfeat
from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureStore
from tests.training.stores import Records, write_store
from training.data import SplitRule, load_groups, read_hash_inputs

ROWS = 120


@pytest.fixture
def folder(tmp_path):
    """A store in which each three rows are near-duplicates, and its groups."""
    rng = np.random.default_rng(0)
    image = np.repeat(rng.normal(size=(ROWS // 3, 16)), 3, axis=0)
    image = (image + rng.normal(size=image.shape) * 0.01).astype(np.float16)
    labels = ["cat" if row % 2 else "dog" for row in range(ROWS)]
    write_store(str(tmp_path / "features"), Records({"image": image}, {"label": labels}))
    mmfeat.dedup(tmp_path / "features", tmp_path / "groups")
    return tmp_path


def train(folder, **options):
    return mmfeat.train(
        folder / "features",
        folder / "model",
        target="label",
        fusion="ridge",
        group_column=folder / "groups",
        **options,
    )


def split_of(model, store):
    """Return the split of each row by the rule of a model."""
    rule = SplitRule.from_config(model.manifest["config"]["split"])
    splits = []
    for shard in store.shards:
        splits += rule.assign(read_hash_inputs(store.read_samples(shard), rule)).tolist()
    return splits


def test_near_duplicates_share_a_split_and_the_model_remembers_the_groups(folder):
    model = train(folder)
    splits = split_of(model, FeatureStore(str(folder / "features")))
    for row in range(0, ROWS, 3):
        assert len({*splits[row : row + 3]}) == 1
    assert {*splits} == {"train", "val", "test"}
    metrics = mmfeat.evaluate(folder / "model", folder / "features")
    assert metrics["rows"] == splits.count("test")


def test_groups_that_are_gone_or_changed_are_an_error_with_a_cure(folder):
    train(folder)
    shutil.rmtree(folder / "groups")
    load_groups.cache_clear()
    with pytest.raises(MmfeatError, match=r"no folder .*groups"):
        mmfeat.evaluate(folder / "model", folder / "features")
    mmfeat.dedup(folder / "features", folder / "groups", threshold=0.2)
    with pytest.raises(MmfeatError, match=r"trained with.*--split all"):
        mmfeat.evaluate(folder / "model", folder / "features")


def test_a_folder_without_groups_is_refused(folder):
    (folder / "empty").mkdir()
    with pytest.raises(MmfeatError, match=r"no duplicates.*mmfeat dedup"):
        mmfeat.train(
            folder / "features", folder / "model", target="label", group_column=folder / "empty"
        )
    assert not (folder / "model").exists()


def test_groups_are_not_read_from_the_web():
    with pytest.raises(MmfeatError, match="not read from the web"):
        load_groups("http://localhost/groups", "")


def test_rules_of_other_models_have_no_entry_of_groups():
    assert not {"duplicates", "duplicates_sha256"} & SplitRule().config.keys()
