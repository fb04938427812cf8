"""Models that describe, from the options to the files."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import numpy as np
import pyarrow.parquet as pq
import pytest

import mmfeat
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.models.decoder.decoding_options import DecodingOptions
from mmfeat.models.saved_model import load_model
from tests.faults import kill, wait_for
from tests.training.runs import assert_evaluate_agrees, read_json, read_weights, run_evaluate
from tests.training.scenes import describe_flags, scene_records
from tests.training.stores import write_store
from training.train import main

EPOCHS = 60


@pytest.fixture(scope="module")
def scene_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_store(str(tmp_path_factory.mktemp("scene") / "features"), scene_records(600))


@pytest.fixture(scope="module")
def scene_model(scene_store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("scene") / "model"
    main([scene_store, str(model), *describe_flags(EPOCHS), "--lr", "0.003"])
    return model


def test_held_out_scenes_are_described_word_by_word(scene_model):
    test = read_json(scene_model / "metrics.json")["test"]
    assert test["exact_match"] >= 0.95
    metrics = test["baselines"]["metrics"]
    assert metrics["model"]["cider"] > metrics["nearest_neighbour"]["cider"] - 1e-9
    assert metrics["nearest_neighbour"]["cider"] > metrics["most_frequent"]["cider"]
    assert test["copies"]["rows"] > 0
    assert set(test["per_subset"]) == {"image+text"}


def test_each_modality_is_needed(scene_model):
    model, records = load_model(str(scene_model)), scene_records(600, seed=5)
    targets = records.metadata["caption"]
    accuracy = {}
    for names in (("image", "text"), ("image",), ("text",)):
        predictions = model.predict({name: records.features[name] for name in names})
        texts = model.task.to_columns(predictions.scores, np.empty(0), predictions.scorable)
        matches = zip(texts["prediction"].to_pylist(), targets, strict=True)
        accuracy[names] = np.mean([text == target for text, target in matches])
    assert accuracy["image", "text"] >= 0.95
    # Without the text, the style is a guess of two; without the picture, the shapes one of 36.
    assert 0.3 <= accuracy[("image",)] <= 0.7
    assert accuracy[("text",)] <= 0.15


def test_evaluate_agrees_with_the_metrics_of_training(capsys, scene_model, scene_store):
    for split in ("val", "test"):
        assert_evaluate_agrees(capsys, scene_model, scene_store, split)
    everything = run_evaluate(capsys, scene_model, scene_store, "--split", "all")
    assert everything["rows"] == 600
    assert "baselines" not in everything


def test_perplexity_is_that_of_the_losses_of_the_rows(scene_model):
    table = pq.read_table(scene_model / "predictions.parquet")
    test = read_json(scene_model / "metrics.json")["test"]
    rows = table.filter(np.array(table["split"].to_pylist()) == "test")
    assert test["perplexity"] == pytest.approx(np.exp(test["loss"]))
    losses = np.array(rows["loss"].to_pylist())
    assert losses.min() <= test["loss"] <= losses.max()
    assert rows["log_probability"].null_count == 0
    assert rows["prediction"].to_pylist() != [""] * len(rows)


@pytest.mark.slow
def test_tokens_of_pictures_are_attended_to(tmp_path):
    records = scene_records(600, tokens=True)
    # Record i keeps 1 + i % 2 tokens: only every second record has both shapes.
    store = write_store(str(tmp_path / "features"), records)
    model = tmp_path / "model"
    main([store, str(model), *describe_flags(EPOCHS), "--lr", "0.003", "--fusion", "resampler"])
    table = pq.read_table(model / "predictions.parquet").to_pylist()
    both = [row for row in table if int(row["__key__"][4:]) % 2]
    one = [row for row in table if not int(row["__key__"][4:]) % 2]
    assert np.mean([row["prediction"] == row["target"] for row in both]) >= 0.9
    assert np.mean([row["prediction"] == row["target"] for row in one]) <= 0.6


def test_the_decoding_options_reach_the_texts(scene_model):
    model, records = load_model(str(scene_model)), scene_records(20, seed=7)
    texts = {}
    for name, options in {
        "greedy": DecodingOptions(),
        "beam": DecodingOptions(decoding="beam"),
        "hot": DecodingOptions(decoding="sample", sampling_temperature=5.0),
        "short": DecodingOptions(max_tokens=2),
    }.items():
        model.decode_with(options)
        scores = model.predict(records.features).scores
        texts[name] = model.task.to_texts(scores)
    assert texts["greedy"] == texts["beam"]
    assert texts["hot"] != texts["greedy"]
    pairs = zip(texts["greedy"], texts["short"], strict=True)
    assert all(long.startswith(cut) and long != cut for long, cut in pairs)


def test_evaluate_takes_the_decoding_options(capsys, scene_model, scene_store):
    greedy = run_evaluate(capsys, scene_model, scene_store)
    short = run_evaluate(capsys, scene_model, scene_store, "--max-tokens", "2")
    assert short["loss"] == greedy["loss"]
    assert short["cider"] < greedy["cider"]
    assert mmfeat.evaluate(scene_model, scene_store, max_tokens=2)["cider"] == short["cider"]


def test_features_on_disk_give_the_same_weights(tmp_path, scene_store):
    for access in ("memory", "blocks"):
        main([scene_store, str(tmp_path / access), *describe_flags(1), "--access", access])
    assert read_weights(tmp_path / "memory") == read_weights(tmp_path / "blocks")


def test_missing_modalities_are_trained_and_evaluated(tmp_path):
    store = write_store(str(tmp_path / "features"), scene_records(200, missing=0.3))
    main([store, str(tmp_path / "model"), *describe_flags(1)])
    metrics = read_json(tmp_path / "model" / "metrics.json")
    subsets = metrics["test"]["per_subset"]
    assert {"image+text", "image only", "text only"} >= set(subsets) > {"image+text"}
    assert sum(subset["rows"] for subset in subsets.values()) == metrics["test"]["rows"]
    assert metrics["left_out"]["no modality"] > 0


def test_the_same_options_give_the_same_bytes(tmp_path, scene_store):
    for name in ("one", "two"):
        main([scene_store, str(tmp_path / name), *describe_flags(1)])
    for file in ("model.safetensors", "tokenizer.json", "config.json", "predictions.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.slow
def test_random_kills_do_not_change_the_result(
    scene_store: str, tmp_path: Path, mmfeat_process: Callable[..., Popen[bytes]]
) -> None:
    flags = describe_flags(8)
    main([scene_store, str(tmp_path / "whole"), *flags])
    killed, chance = tmp_path / "killed", random.Random(3)
    kills = 0
    for number in range(3):
        process = mmfeat_process("train", scene_store, killed, *flags)
        wait_for(process, lambda n=number: time.sleep(0.03) or epochs_of(killed) > n + 1)
        time.sleep(chance.uniform(0, 0.2))
        kills += kill(process)
    assert kills, "every run ended before it was killed"
    main([scene_store, str(killed), *flags])
    for name in ("model.safetensors", "tokenizer.json", "config.json", "predictions.parquet"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def epochs_of(folder: Path) -> int:
    path = folder / "log.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (["--fusion", "late"], "needs a fusion of vectors or tokens"),
        (["--stratify"], "--stratify needs classes or labels"),
        (["--auxiliary", "0.1"], "takes no --auxiliary"),
        (["--quality", "fast"], "are options of the search"),
        (["--metric", "accuracy"], "--metric of the task 'describe' must be one of"),
        (["--decoder-width", "100"], "must be a multiple of 32"),
        (["--vocabulary", "100"], "--vocabulary must be from 256"),
        (["--text-tokens", "0"], "--text-tokens must be at least 1"),
        (["--label-smoothing", "1"], r"--label-smoothing must be in \[0, 1\)"),
        (["--decoder", "gpt2"], "--decoder must be empty or hf:PATH"),
    ],
)
def test_impossible_options_are_refused(tmp_path, scene_store, flags, rule):
    with pytest.raises(MmfeatError, match=rule):
        main([scene_store, str(tmp_path / "model"), *describe_flags(1), *flags])


def test_other_tasks_take_no_decoder(tmp_path, scene_store):
    flags = ["--target", "caption", "--decoder-layers", "2"]
    with pytest.raises(MmfeatError, match="need the task describe"):
        main([scene_store, str(tmp_path / "model"), *flags])


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([1.5] * 40, "must hold texts, or lists of texts"),
        ([[1, 2]] * 40, "must hold texts, or lists of texts"),
        ([None, "", "  "] * 13 + [None], "there must be rows to train on"),
    ],
)
def test_other_targets_are_refused(tmp_path, values, rule):
    records = scene_records(40)
    records.metadata["caption"] = values
    store = write_store(str(tmp_path / "features"), records)
    with pytest.raises(MmfeatError, match=rule):
        main([store, str(tmp_path / "model"), *describe_flags(1)])


def test_lists_are_several_references(tmp_path, capsys):
    records = scene_records(100)
    first = records.metadata["caption"]
    records.metadata["caption"] = [[text, "a scene"] for text in first]
    store, model = write_store(str(tmp_path / "features"), records), tmp_path / "model"
    main([store, str(model), *describe_flags(1)])
    table = pq.read_table(model / "predictions.parquet")
    assert table["target"].to_pylist()[0][1] == "a scene"
    assert_evaluate_agrees(capsys, model, store, "test")


def test_a_damaged_tokenizer_is_refused(tmp_path, scene_store):
    model = tmp_path / "model"
    main([scene_store, str(model), *describe_flags(1)])
    path = model / "tokenizer.json"
    intact = path.read_bytes()
    for damaged in (b"", intact[:-1], intact + b" ", intact.replace(b"BPE", b"bpe")):
        path.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=r"tokenizer\.json must have the"):
            load_model(str(model))
    path.unlink()
    with pytest.raises(DamagedFileError, match=r"tokenizer\.json must have the"):
        load_model(str(model))


def test_config_json_has_everything_that_the_weights_depend_on(tmp_path, scene_store):
    hashes = set()
    for number, flags in enumerate(
        ([], ["--label-smoothing", "0"], ["--vocabulary", "256"], ["--decoder-prefix", "3"])
    ):
        model = tmp_path / str(number)
        main([scene_store, str(model), *describe_flags(1, flags)])
        hashes.add(json.loads((model / "manifest.json").read_text())["config_hash"])
        assert read_weights(model)
    assert len(hashes) == 4


def test_cider_chooses_the_epoch_if_asked(tmp_path, capsys):
    store = write_store(str(tmp_path / "features"), scene_records(150))
    model = tmp_path / "model"
    main([store, str(model), *describe_flags(6), "--lr", "0.003", "--metric", "cider"])
    log = [json.loads(line) for line in (model / "log.jsonl").open()]
    best = max(log, key=lambda entry: (entry["val_cider"], -round(entry["val_loss"], 3)))
    metrics = read_json(model / "metrics.json")
    assert metrics["best_epoch"] == best["epoch"]
    assert metrics["validation"]["cider"] == pytest.approx(best["val_cider"])
    assert_evaluate_agrees(capsys, model, store, "test")
