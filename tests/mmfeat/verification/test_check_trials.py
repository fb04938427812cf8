import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from mmfeat.storage import files
from mmfeat.store import open_run, record_file, write_manifest
from mmfeat.verification import uncommit, verify_store

NAMES = ("model.safetensors", "val.npy", "test.npy")


def write_trial(folder, *, digests=True):
    """A trial as `mmfeat compare` writes it; without digests, as earlier versions did."""
    Path(folder).mkdir(parents=True)
    values = np.arange(6, dtype=np.float32)
    array = io.BytesIO()
    np.save(array, values)
    contents = {"model.safetensors": safetensors.numpy.save({"weight": values})}
    for name in NAMES:
        Path(folder, name).write_bytes(contents.get(name, array.getvalue()))
    recorded = {"files": {name: record_file(f"{folder}/{name}") for name in NAMES}}
    files.write_json(f"{folder}/cell.json", {"epoch": 1, **(recorded if digests else {})})


@pytest.fixture
def trials(tmp_path, monkeypatch):
    """An interrupted comparison with two trials; the second was ended within its last file."""
    monkeypatch.chdir(tmp_path)
    open_run("out", "comparison", {"target": "label"})
    write_trial("out/cells/gmu/0")
    files.write_json("out/cells/gmu/interaction.json", {"rows": 1})
    write_trial("out/cells/concat/0")
    write_trial("out/cells/concat/1")
    Path("out/cells/concat/1/cell.json").unlink()
    return Path("out/cells")


@pytest.fixture
def winner():
    """The model that was picked."""
    config_hash = open_run("out/winner", "model", {})
    write_manifest("out/winner", "model", config_hash, files={})


def finish(**facts):
    config_hash = files.read_json("out/config.json")["hash"]
    write_manifest("out", "comparison", config_hash, winner={"name": "gmu", "model": ""}, **facts)


def flip_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_finished_trials_of_an_interrupted_comparison_are_read(trials):
    result = verify_store("out")
    assert (result.finished, result.all_damages) == (False, [])
    assert result.files == 2 * len(NAMES)
    assert result.bytes == sum(
        (trials / model / "0" / name).stat().st_size
        for model in ("gmu", "concat")
        for name in NAMES
    )


@pytest.mark.parametrize(
    ("name", "damage"),
    [*product(NAMES, ("bit", "missing")), ("cell.json", "bit")],
)
def test_fix_removes_the_receipt_of_a_damaged_trial_first(trials, name, damage):
    path = trials / "gmu" / "0" / name
    if damage == "bit":
        flip_byte(path)
    else:
        path.unlink()
    result = verify_store("out")
    assert [found.path for found in result.damages] == [str(path)]
    removed = uncommit(result)
    assert removed[0] == "out/cells/gmu/0/cell.json"
    assert not path.exists()
    assert verify_store("out").all_damages == []
    assert (trials / "concat" / "0" / "cell.json").exists()


def test_the_interaction_of_a_model_is_verified(trials):
    flip_byte(trials / "gmu" / "interaction.json")
    assert uncommit(verify_store("out")) == ["out/cells/gmu/interaction.json"]


@pytest.mark.parametrize("name", NAMES)
def test_trials_without_digests_are_read(trials, name):
    write_trial("out/cells/old/0", digests=False)
    assert verify_store("out").all_damages == []
    path = trials / "old" / "0" / name
    path.write_bytes(path.read_bytes()[:-9])
    assert [found.path for found in verify_store("out").damages] == [str(path)]


def test_a_finished_comparison_lacks_no_trial(trials, winner):
    finish()
    missing = {"out/cells/concat/1/cell.json", "out/cells/concat/interaction.json"}
    assert {found.path for found in verify_store("out").damages} == missing
    finish(failed={"concat": "out of memory"})
    assert verify_store("out").damages == []
