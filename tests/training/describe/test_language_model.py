"""A frozen language model of transformers as decoder, tiny and with random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.models.decoder.decoding_options import DecodingOptions
from mmfeat.models.decoder.language_model import build_language_model
from mmfeat.models.decoder.packing import LOG_PROBABILITY
from mmfeat.models.saved_model import load_model
from tests.training.runs import assert_evaluate_agrees, read_json
from tests.training.scenes import scene_records
from tests.training.stores import write_store
from training.train import main

transformers = pytest.importorskip("transformers", reason="needs the extra hf")
tokenizers = pytest.importorskip("tokenizers", reason="needs the extra describe")

END = "<|end|>"


def write_language_model(folder: Path, kind: str = "gpt2", positions: int = 64) -> str:
    """Save a tiny model and its tokenizer, and return the value of --decoder."""
    folder.mkdir(parents=True)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[END],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(scene_records(50).metadata["caption"], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    shared = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    shared["initializer_range"] = 0.2  # so that the prefix has an influence
    if kind == "gpt2":
        config = transformers.GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=positions, **shared
        )
    else:
        config = transformers.LlamaConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=positions,
            **shared,
        )
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return f"hf:{folder}"


@pytest.fixture(scope="module")
def scene_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_store(str(tmp_path_factory.mktemp("scene") / "features"), scene_records(150))


def flags(decoder: str, *more: str) -> list[str]:
    small = ["--task", "describe", "--target", "caption", "--hidden", "16", "--epochs", "3"]
    return [*small, "--decoder", decoder, "--lr", "0.01", *more]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def trained(request, scene_store, tmp_path_factory) -> tuple[Path, Path]:
    """The language model and the model that reads features with it."""
    folder = tmp_path_factory.mktemp("lm")
    decoder = write_language_model(folder / "lm", request.param)
    main([scene_store, str(folder / "model"), *flags(decoder)])
    return folder / "lm", folder / "model"


def test_the_language_model_stays_as_it_is_and_the_prefix_learns(trained):
    folder, path = trained
    original = transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()
    model = load_model(str(path)).module
    for name, value in model.decoder.language_model.state_dict().items():
        assert torch.equal(value, original[name]), name
    losses = [json.loads(line)["val_loss"] for line in (path / "log.jsonl").open()]
    assert losses[-1] < losses[0] - 0.1
    learned = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert 0 < learned < sum(weight.numel() for weight in model.parameters())


def test_evaluate_and_the_report_work(capsys, trained, scene_store):
    assert_evaluate_agrees(capsys, trained[1], scene_store, "test")
    assert "Best texts" in (trained[1] / "report.html").read_text("utf-8")


@pytest.mark.parametrize("decoding", ["greedy", "beam"])
def test_a_cache_gives_the_log_probabilities_without(trained, decoding):
    model = load_model(str(trained[1]))
    model.decode_with(DecodingOptions(decoding=decoding, beams=3, max_tokens=5, min_tokens=0))
    features = scene_records(4, seed=3).features
    rows = model.predict(features).scores
    inputs = {c: torch.from_numpy(features[c]).float() for c in model.column_names}
    present = {c: torch.ones(4, dtype=torch.bool) for c in model.column_names}
    tokens = torch.from_numpy(rows[:, :5]).long()
    with torch.inference_mode():
        steps = model.module.next_token_logits(inputs, present, tokens).log_softmax(dim=2)
    for row in range(4):
        length = int(rows[row, -4])
        text = [*tokens[row, :length].tolist(), 0][:5]
        values = [float(steps[row, position, token]) for position, token in enumerate(text)]
        assert rows[row, LOG_PROBABILITY] == pytest.approx(np.mean(values), abs=1e-4)


def test_the_model_needs_nothing_but_its_folder(trained, tmp_path):
    config = read_json(trained[1] / "config.json")["config"]
    assert str(trained[0]) not in json.dumps(config)
    assert config["decoder"]["language_model"]["model_type"] in ("gpt2", "llama")
    model = load_model(str(trained[1]))
    model.decode_with(DecodingOptions(decoding="sample", sampling_seed=3))
    assert np.isfinite(model.predict(scene_records(3).features).scores).all()


def test_the_same_options_give_the_same_bytes(trained, scene_store, tmp_path):
    main([scene_store, str(tmp_path / "again"), *flags(f"hf:{trained[0]}")])
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (trained[1] / name).read_bytes()


def test_folders_without_a_language_model_are_refused(scene_store, tmp_path):
    decoder = write_language_model(tmp_path / "lm")
    cases = {
        "hf:/no/such/folder": "must be a local folder",
        "hf:gpt2": "must be a local folder",
    }
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "gpt2"}')
    cases[f"hf:{tmp_path / 'empty'}"] = "cannot be loaded"
    for value, rule in cases.items():
        with pytest.raises(MmfeatError, match=rule):
            main([scene_store, str(tmp_path / "model"), *flags(value)])
    (tmp_path / "lm" / "tokenizer.json").unlink()
    with pytest.raises(MmfeatError, match=r"must have a tokenizer\.json"):
        main([scene_store, str(tmp_path / "model"), *flags(decoder)])


def test_texts_longer_than_the_positions_are_refused(scene_store, tmp_path):
    decoder = write_language_model(tmp_path / "lm", positions=16)
    with pytest.raises(MmfeatError, match="has 16 positions"):
        main([scene_store, str(tmp_path / "model"), *flags(decoder)])


@pytest.mark.parametrize(
    "changes",
    [
        {"auto_map": {"AutoModelForCausalLM": "evil.Model"}},
        {"quantization_config": {"quant_method": "evil"}},
        {"n_layer": 10**9},
        {"n_embd": 10**12},
        {"model_type": "no_such_model"},
        {"model_type": "vit"},
        {"n_head": 7},
    ],
)
def test_hostile_configurations_build_nothing(changes):
    config = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=300).to_dict()
    with pytest.raises(DamagedFileError, match="must be a causal one of transformers"):
        build_language_model({**config, **changes})
