"""Tiny checkpoints with random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
VISION = SIZES | {"image_size": 32, "patch_size": 8}
WORDS = "a the cat dog runs and blue red apple on table".split()


def _write(path: Path, model: Any, *processors: Any) -> None:
    """Save a model with larger weights than the initial ones, so that features differ."""
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 1:
                value.normal_(0, 0.15)
    for part in (model, *processors):
        part.save_pretrained(path)


def _tokenizer(kind: str, **options: Any) -> Any:
    """Return a tokenizer of words, with the special tokens of a kind of model."""
    special = {
        "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
        "clip": ("<pad>", "<unk>", "<start>", "<end>"),
        "siglip": ("<unk>", "<pad>", "</s>"),
    }[kind]
    words = [*WORDS, *special] if kind == "clip" else [*special, *WORDS]
    vocabulary = {word: number for number, word in enumerate(words)}
    unknown = next(word for word in special if "unk" in word.lower())
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=unknown))
    backend.normalizer = tokenizers.normalizers.Lowercase()
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    template = "$A </s>" if kind == "siglip" else f"{special[2]} $A {special[3]}"
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single=template, special_tokens=[(word, vocabulary[word]) for word in special]
    )
    pad = next(word for word in special if "pad" in word.lower())
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token=unknown, pad_token=pad, **options
    )


def save_bert(path: Path) -> None:
    config = transformers.BertConfig(vocab_size=30, max_position_embeddings=24, **SIZES)
    _write(path, transformers.BertModel(config), _tokenizer("bert", model_max_length=24))


def save_roberta(path: Path) -> None:
    config = transformers.RobertaConfig(
        vocab_size=30, max_position_embeddings=20, pad_token_id=0, **SIZES
    )
    _write(path, transformers.RobertaForMaskedLM(config), _tokenizer("bert"))


def save_clip(path: Path) -> None:
    text = SIZES | {"vocab_size": 15, "max_position_embeddings": 77}
    text |= {"bos_token_id": 13, "eos_token_id": 14, "pad_token_id": 11}
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    words = _tokenizer("clip", model_max_length=77)
    _write(path, transformers.CLIPModel(config), processor, words)


def save_siglip(path: Path) -> None:
    text = SIZES | {"vocab_size": 30, "max_position_embeddings": 64, "projection_size": 32}
    config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
    processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    words = _tokenizer("siglip", model_max_length=64)
    _write(path, transformers.SiglipModel(config), processor, words)


def save_vit(path: Path) -> None:
    """Save a classifier, which has no pooler."""
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**VISION))
    _write(path, model, processor)


def save_dino(path: Path) -> None:
    config = transformers.Dinov2Config(**SIZES, image_size=32, patch_size=8)
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 37}, crop_size={"height": 32, "width": 32}
    )
    _write(path, transformers.Dinov2Model(config), processor)


def save_resnet(path: Path) -> None:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875)
    _write(path, transformers.ResNetModel(config), processor)


def save_clap(path: Path, **audio: Any) -> None:
    sizes = {
        "num_mel_bins": 64, "spec_size": 256, "patch_size": 4, "patch_stride": [4, 4],
        "patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [1, 2],
        "num_hidden_layers": 2, "hidden_size": 16,
    }  # fmt: skip
    text = SIZES | {"vocab_size": 30, "max_position_embeddings": 20, "pad_token_id": 0}
    config = transformers.ClapConfig(
        audio_config=sizes | audio, text_config=text, projection_dim=16
    )
    truncation = "fusion" if audio else "rand_trunc"
    extractor = transformers.ClapFeatureExtractor(truncation=truncation)
    words = _tokenizer("bert", model_max_length=18)
    _write(path, transformers.ClapModel(config), extractor, words)


def save_clap_fused(path: Path) -> None:
    save_clap(path, enable_fusion=True)


def _save_waveform_model(path: Path, model: Any, config: Any, norm: str) -> None:
    sizes = SIZES | {
        "conv_dim": [16, 16], "conv_kernel": [10, 8], "conv_stride": [5, 4],
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    layer = norm == "layer"
    extractor = transformers.Wav2Vec2FeatureExtractor(
        do_normalize=True, return_attention_mask=layer
    )
    waveform_model = model(config(feat_extract_norm=norm, do_stable_layer_norm=layer, **sizes))
    _write(path, waveform_model, extractor)


def save_wav2vec2(path: Path) -> None:
    _save_waveform_model(path, transformers.Wav2Vec2Model, transformers.Wav2Vec2Config, "layer")


def save_hubert(path: Path) -> None:
    _save_waveform_model(path, transformers.HubertModel, transformers.HubertConfig, "group")


def save_whisper(path: Path) -> None:
    config = transformers.WhisperConfig(
        vocab_size=30, num_mel_bins=8, d_model=16, max_source_positions=100,
        encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    extractor = transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=2)
    _write(path, transformers.WhisperModel(config), extractor)


MAKERS = {
    name.removeprefix("save_"): make
    for name, make in list(globals().items())
    if name.startswith("save_")
}


def projection(result: Any) -> torch.Tensor:
    """Return the projected features. transformers 5 wraps them in a model output."""
    return result if isinstance(result, torch.Tensor) else result.pooler_output
