"""A command that fails before its work begins leaves the output as it was."""

import json
import re
import shutil

import numpy as np
import pytest

from mmfeat.errors import MmfeatError
from tests.training.stores import Records, write_store


@pytest.fixture
def sku_table(make_table):
    """Records of which two share the key."""
    rows = [{"file_name": f"p{i}.png", "text": f"t{i}", "sku": i % 9} for i in range(10)]
    return make_table(rows)


@pytest.fixture
def features(tmp_path):
    """A feature store of two columns, with a class and a number per record."""
    count = 60
    records = Records(
        features={name: np.ones((count, 4), np.float16) for name in ("image", "text")},
        metadata={
            "__key__": [f"k{i}" for i in range(count)],
            "label": [("cat", "dog")[i % 2] for i in range(count)],
            "price": [i / 7 for i in range(count)],
        },
    )
    return write_store(str(tmp_path / "features"), records)


def fail(mmfeat, *arguments):
    result = mmfeat(*arguments)
    assert result.returncode in (1, 2), result.stdout
    assert "Traceback" not in result.stderr
    assert result.stderr.count("mmfeat: error") == 1
    return result.stderr


def test_the_cure_of_duplicate_keys_works_in_the_same_directory(mmfeat, sku_table, tmp_path):
    arguments = ("shard", sku_table, tmp_path / "a/b/out", "--key-column", "sku")
    assert "--duplicate-keys suffix" in fail(mmfeat, *arguments)
    assert not (tmp_path / "a").exists()
    assert mmfeat(*arguments, "--duplicate-keys", "suffix").returncode == 0


@pytest.mark.parametrize(
    "flags",
    [
        ("--where", "nothing == 1"),
        ("--where", "text == 'none has this text'"),
        ("--require", "audio"),
        ("--image-column", "nothing"),
        ("--retry-failed",),
        ("--key-column", "sku", "--dedup", "exact"),
        ("--samples-per-shrad", 5),
    ],
    ids=lambda flags: " ".join(map(str, flags)),
)
def test_a_shard_command_that_fails_claims_nothing(mmfeat, sku_table, tmp_path, flags):
    fail(mmfeat, "shard", sku_table, tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    fail(mmfeat, "shard", sku_table, tmp_path / "out", *flags)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_run_that_was_killed_while_it_planned_claims_nothing(mmfeat, sku_table, tmp_path):
    plan = tmp_path / "out" / "_plan"
    plan.mkdir(parents=True)
    (plan / "00000.jsonl").write_text("{}\n")
    (plan / ".00001.jsonl.tmp-1").write_text("{")
    assert mmfeat("shard", sku_table, tmp_path / "out").returncode == 0
    assert not plan.exists()


def test_a_folder_of_the_user_that_is_called_plan_is_kept(mmfeat, sku_table, tmp_path):
    plan = tmp_path / "out" / "_plan"
    plan.mkdir(parents=True)
    (plan / "thesis.txt").write_text("my plan")
    assert "must be empty" in fail(mmfeat, "shard", sku_table, tmp_path / "out")
    assert (plan / "thesis.txt").read_text() == "my plan"


@pytest.fixture
def count_measurements(monkeypatch):
    """Counts how often an encoder is measured."""
    calls = []
    from mmfeat.extraction import column_start

    autotune = column_start.autotune

    def count(*arguments):
        calls.append(arguments)
        return autotune(*arguments)

    monkeypatch.setattr(column_start, "autotune", count)
    return calls


def test_extract_refuses_a_directory_before_it_measures(
    mmfeat, toy_table, tmp_path, count_measurements
):
    shards, out = tmp_path / "shards", tmp_path / "out"
    mmfeat("shard", toy_table, shards)
    out.mkdir()
    (out / "thesis.docx").touch()
    assert "must be empty" in fail(mmfeat, "extract", shards, out)
    assert "must lie apart from SHARDS" in fail(mmfeat, "extract", shards, shards)
    features, copy = tmp_path / "features", shutil.copytree(shards, tmp_path / "copy")
    assert "kind was shards" in fail(mmfeat, "extract", shards, copy)
    text = "text=builtin:text"
    assert mmfeat("extract", shards, features, "--encoder", text).returncode == 0
    count_measurements.clear()
    # The second column exists, with another encoder.
    flags = ("--encoder", "new:text=builtin:text", "--encoder", f"{text}?dim=64")
    assert "column text" in fail(mmfeat, "extract", shards, features, *flags)
    mmfeat("shard", toy_table, tmp_path / "other", "--samples-per-shard", 7)
    assert "other options" in fail(mmfeat, "extract", tmp_path / "other", features, *flags)
    assert count_measurements == []
    assert not (features / "columns" / "new").exists()


def test_extract_claims_nothing_if_an_encoder_cannot_be_loaded(mmfeat, toy_table, tmp_path):
    shards, out = tmp_path / "shards", tmp_path / "out"
    mmfeat("shard", toy_table, shards)
    flags = ("--encoder", "image=builtin:image", "--encoder", "text=builtin:text?dims=7")
    fail(mmfeat, "extract", shards, out, *flags)
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("train", ("--target", "nothing")),
        ("train", ("--target", "price")),
        ("train", ("--target", "label", "--metric", "mae")),
        ("train", ("--target", "label", "--fusion", "gmuu")),
        ("train", ("--target", "label", "--modalities", "image", "--fusion", "gmuu")),
        ("train", ("--target", "label", "--modalities", "sound")),
        ("train", ("--target", "label", "--split-column", "label")),
        ("compare", ("--target", "nothing")),
        ("compare", ("--target", "label", "--fusions", "gmuu")),
        ("compare", ("--target", "label", "--metric", "mae")),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_training_command_that_fails_claims_nothing(mmfeat, features, tmp_path, command, flags):
    fail(mmfeat, command, features, tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists()


def test_a_number_as_the_target_is_sent_to_regression(mmfeat, features, tmp_path):
    error = fail(mmfeat, "train", features, tmp_path / "out", "--target", "price")
    assert "--task regression" in error


def test_a_model_of_other_features_names_what_differs(mmfeat, toy_table, tmp_path):
    def path(name):
        return tmp_path / str(name)

    mmfeat("shard", toy_table, path("shards"))
    for dim in (256, 512):
        mmfeat("extract", path("shards"), path(dim), "--encoder", f"text=builtin:text?dim={dim}")
    model = ("--target", "label", "--epochs", 1)
    assert mmfeat("train", path(256), path("model"), *model).returncode == 0
    grid = ("--target", "label", "--seeds", 1, "--epochs", 1, "--lr", 0.01, "--workers", 1)
    assert mmfeat("compare", path(256), path("comparison"), *grid).returncode == 0
    for command in (
        ("score", path("model"), path(512), path("predictions")),
        ("evaluate", path("model"), path(512)),
        ("train", path(512), path("model"), *model),
        ("compare", path(512), path("comparison"), *grid),
        ("extract", path("shards"), path(256), "--encoder", "text=builtin:text?dim=512"),
    ):
        assert "dim was 256, is 512 now" in fail(mmfeat, *command), command


@pytest.mark.parametrize(
    "command",
    [
        ("shard", "MISSING.csv"),
        ("extract", "MISSING"),
        ("train", "MISSING", "--target", "label"),
        ("compare", "MISSING", "--target", "label"),
        ("score", "MISSING", "MISSING"),
        ("align-report", "MISSING", "MISSING"),
    ],
    ids=lambda command: command[0],
)
def test_every_command_checks_its_output_before_its_input(mmfeat, tmp_path, command):
    """The output directory is refused although the input is missing, too."""
    out = tmp_path / "out"
    out.mkdir()
    inputs = [word for word in command[1:] if word.startswith("MISSING")]
    arguments = (command[0], *inputs, out, *command[1 + len(inputs) :])
    (out / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert "must be empty or a store of mmfeat" in fail(mmfeat, *arguments)
    assert json.loads((out / "config.json").read_text()) == {"model_type": "bert"}
    (out / "config.json").unlink()
    missing = fail(mmfeat, *arguments)
    assert "MISSING" in missing
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ("shard", "IN"),
        ("shard", "IN", "--dry-run"),
        ("extract", "IN"),
        ("train", "IN", "--target", "label"),
        ("compare", "IN", "--target", "label"),
        ("score", "MODEL", "IN"),
        ("score", "IN", "FEATURES"),
        ("align-report", "MODEL", "IN"),
    ],
    ids=" ".join,
)
def test_no_command_writes_into_its_input(mmfeat, tmp_path, command):
    """The input keeps the bytes and the folders that it had."""
    photos = tmp_path / "in"
    photos.mkdir()
    (photos / "note.txt").write_text("a text")
    (tmp_path / "link").symlink_to(photos)
    paths = {"IN": photos, "MODEL": tmp_path / "model", "FEATURES": tmp_path / "features"}
    number = max(command.index(word) for word in command if word in paths) + 1
    for output in (photos / "out", tmp_path / "link/a/b", tmp_path / "gone/../in/", tmp_path):
        words = [*command[:number], output, *command[number:]]
        assert "must lie apart from" in fail(mmfeat, *(paths.get(word, word) for word in words))
    assert [path.name for path in photos.rglob("*")] == ["note.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "link"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(24, "Too many open files"), "failed: Too many open files. Raise the limit with"),
        (MmfeatError("it needs a package", cure="Install it"), "it needs a package. Install it"),
        (ValueError("odd"), "failed: odd .* run the same command again"),
    ],
    ids=["system", "user", "other"],
)
def test_an_error_in_a_worker_keeps_its_cure(
    mmfeat, toy_table, tmp_path, monkeypatch, caplog, error, message
):
    def fail_to_load(stage):
        raise error

    monkeypatch.setattr("mmfeat.sharding.stage.Sharding.load", fail_to_load)
    assert re.search(message, fail(mmfeat, "shard", toy_table, tmp_path / "out"))
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
