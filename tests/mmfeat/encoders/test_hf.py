"""`hf:` on tiny models of random weights, saved as checkpoints are."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image, ImageDraw

from mmfeat.encoders import EncoderSpec, Settings, fingerprint
from mmfeat.encoders.base import Encoder
from mmfeat.errors import MmfeatError, RecordError

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
VISION = SIZES | {"image_size": 32, "patch_size": 8}
TEXTS = ["a cat", "the dog runs and runs " * 5, "blue", "a red apple on the table"]
WORDS = "a the cat dog runs and blue red apple on table".split()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the directory of a checkpoint, made when first asked for."""
    folder = tmp_path_factory.mktemp("hf")

    def directory(name: str) -> Path:
        path = folder / name
        if not path.exists():
            torch.manual_seed(7)
            MAKERS[name](path)
        return path

    return directory


def save(path: Path, model: Any, *parts: Any) -> None:
    """Weights are made larger than at the start of a training, so that inputs make a difference."""
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 1:
                value.normal_(0, 0.15)
    for part in (model, *parts):
        part.save_pretrained(path)


def tokenizer(kind: str, **options: Any) -> Any:
    """Words as tokens; the special ones stand where the kind of model expects them."""
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
    form = "$A </s>" if kind == "siglip" else f"{special[2]} $A {special[3]}"
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single=form, special_tokens=[(word, vocabulary[word]) for word in special]
    )
    pad = next(word for word in special if "pad" in word.lower())
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token=unknown, pad_token=pad, **options
    )


def save_bert(path: Path) -> None:
    config = transformers.BertConfig(vocab_size=30, max_position_embeddings=24, **SIZES)
    save(path, transformers.BertModel(config), tokenizer("bert", model_max_length=24))


def save_roberta(path: Path) -> None:
    config = transformers.RobertaConfig(
        vocab_size=30, max_position_embeddings=20, pad_token_id=0, **SIZES
    )
    save(path, transformers.RobertaForMaskedLM(config), tokenizer("bert"))


def save_clip(path: Path) -> None:
    text = SIZES | {"vocab_size": 15, "max_position_embeddings": 77}
    text |= {"bos_token_id": 13, "eos_token_id": 14, "pad_token_id": 11}
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    words = tokenizer("clip", model_max_length=77)
    save(path, transformers.CLIPModel(config), processor, words)


def save_siglip(path: Path) -> None:
    text = SIZES | {"vocab_size": 30, "max_position_embeddings": 64, "projection_size": 32}
    config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
    processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    words = tokenizer("siglip", model_max_length=64)
    save(path, transformers.SiglipModel(config), processor, words)


def save_vit(path: Path) -> None:
    """A classifier: it has no pooler."""
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**VISION))
    save(path, model, processor)


def save_dino(path: Path) -> None:
    config = transformers.Dinov2Config(**SIZES, image_size=32, patch_size=8)
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 37}, crop_size={"height": 32, "width": 32}
    )
    save(path, transformers.Dinov2Model(config), processor)


def save_resnet(path: Path) -> None:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875)
    save(path, transformers.ResNetModel(config), processor)


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
    form = "fusion" if audio else "rand_trunc"
    extractor = transformers.ClapFeatureExtractor(truncation=form)
    words = tokenizer("bert", model_max_length=18)
    save(path, transformers.ClapModel(config), extractor, words)


def save_clap_fused(path: Path) -> None:
    save_clap(path, enable_fusion=True)


def save_wave(path: Path, model: Any, config: Any, norm: str) -> None:
    sizes = SIZES | {
        "conv_dim": [16, 16], "conv_kernel": [10, 8], "conv_stride": [5, 4],
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    layer = norm == "layer"
    extractor = transformers.Wav2Vec2FeatureExtractor(
        do_normalize=True, return_attention_mask=layer
    )
    made = model(config(feat_extract_norm=norm, do_stable_layer_norm=layer, **sizes))
    save(path, made, extractor)


def save_wav2vec2(path: Path) -> None:
    save_wave(path, transformers.Wav2Vec2Model, transformers.Wav2Vec2Config, "layer")


def save_hubert(path: Path) -> None:
    save_wave(path, transformers.HubertModel, transformers.HubertConfig, "group")


def save_whisper(path: Path) -> None:
    config = transformers.WhisperConfig(
        vocab_size=30, num_mel_bins=8, d_model=16, max_source_positions=100,
        encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    extractor = transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=2)
    save(path, transformers.WhisperModel(config), extractor)


MAKERS = {
    name.removeprefix("save_"): make
    for name, make in list(globals().items())
    if name.startswith("save_")
}


@pytest.fixture
def load(models: Callable[[str], Path]) -> Callable[..., Any]:
    """Loads an encoder by the name of its checkpoint and options: `clip?output=pooled`."""

    def loaded(name: str, modality: str, **settings: Any) -> Encoder:
        name, _, query = name.partition("?")
        flag = f"column:{modality}=hf:{models(name)}" + (f"?{query}" if query else "")
        return EncoderSpec.parse(flag).load(Settings(device="cpu", **settings))

    return loaded


def drawing(size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((size[0] // 8, size[1] // 8, size[0] // 2, size[1] // 2), fill=(220, 30, 30))
    draw.rectangle((size[0] // 2, size[1] // 2, size[0] - 5, size[1] - 9), fill=(20, 40, 200))
    return image


def picture(size: tuple[int, int] = (90, 61)) -> bytes:
    file = io.BytesIO()
    drawing(size).save(file, "PNG")
    return file.getvalue()


def sound(seconds: float, pitch: float = 300, rate: int = 16_000, channels: int = 1) -> bytes:
    times = np.arange(int(seconds * rate)) / rate
    wave = 0.4 * np.sin(2 * np.pi * pitch * times * (1 + times)) + 0.1 * np.sin(9000 * times)
    file = io.BytesIO()
    soundfile.write(file, np.stack([wave] * channels, 1), rate, format="FLAC")
    return file.getvalue()


IMAGES = ["clip", "siglip", "dino", "vit", "resnet"]
SOUNDS = ["clap", "clap_fused", "wav2vec2", "hubert", "whisper"]
LENGTHS = (0.31, 1.7, 0.8, 0.8, 1.2)


def assert_alone_as_together(encoder: Encoder, files: list[bytes]) -> list[np.ndarray]:
    """A record's feature does not depend on its neighbours; records differ."""
    items = [encoder.decode(data) for data in files]
    together = list(encoder.encode(items))
    for item, feature in zip(items, together, strict=True):
        (alone,) = encoder.encode([item])
        assert feature.dtype == np.float32
        assert feature.shape[-1] == encoder.dim
        assert feature.ndim == (2 if encoder.max_tokens else 1)
        np.testing.assert_allclose(feature, alone, atol=1e-5)
    one, other = (np.atleast_2d(feature).mean(0) for feature in together[:2])
    assert np.abs(one - other).max() > 1e-4
    return together


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("query", ["", "?output=pooled", "?output=tokens&max_tokens=6"])
def test_a_picture_gets_its_feature(load: Callable[..., Any], name: str, query: str) -> None:
    encoder = load(name + query, "image")
    files = [picture(), picture((33, 70)), picture((40, 40))]
    features = assert_alone_as_together(encoder, files)
    if query.startswith("?output=tokens"):
        assert all(2 <= len(feature) <= 6 for feature in features)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("size", [(90, 61), (61, 90), (33, 70), (300, 201), (20, 19), (32, 39)])
def test_a_picture_is_prepared_as_the_checkpoint_says(
    load: Callable[..., Any], models: Callable[[str], Path], name: str, size: tuple[int, int]
) -> None:
    processor = transformers.AutoImageProcessor.from_pretrained(models(name))
    theirs = processor(images=drawing(size), return_tensors="pt")["pixel_values"]
    encoder = load(name, "image", reduced_decoding=False)
    ours = encoder.picture.batch([encoder.decode(picture(size))])
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs()
    assert difference.max() < 0.03
    assert difference.mean() < 0.005


def reference(models: Callable[[str], Path], name: str, encoder: Any, data: bytes) -> Any:
    model = transformers.AutoModel.from_pretrained(models(name)).eval()
    pixels = encoder.picture.batch([encoder.decode(data)])
    return model, pixels


def test_outputs_of_pictures_are_those_of_the_model(
    load: Callable[..., Any], models: Callable[[str], Path]
) -> None:
    encoder = load("clip", "image")
    model, pixels = reference(models, "clip", encoder, picture())
    item = encoder.decode(picture())
    with torch.no_grad():
        outputs = model.vision_model(pixel_values=pixels)
        projected = model.visual_projection(outputs.pooler_output)
    tokens = load("clip?output=tokens", "image").encode([item])[0]
    np.testing.assert_allclose(encoder.encode([item]), projected, atol=1e-5)
    pooled = load("clip?output=pooled", "image").encode([item])
    np.testing.assert_allclose(pooled, outputs.pooler_output, atol=1e-5)
    np.testing.assert_allclose(tokens, outputs.last_hidden_state[0], atol=1e-5)

    encoder = load("vit?output=pooled", "image")
    model, pixels = reference(models, "vit", encoder, picture())
    with torch.no_grad():
        states = model(pixel_values=pixels).last_hidden_state
    np.testing.assert_allclose(encoder.encode([encoder.decode(picture())]), states[:, 0], atol=1e-5)


def test_fewer_tokens_of_a_picture_still_show_all_of_it(load: Callable[..., Any]) -> None:
    item = load("vit", "image").decode(picture())
    whole = load("vit?output=tokens", "image").encode([item])[0]
    few = load("vit?output=tokens&max_tokens=5", "image").encode([item])[0]
    assert (whole.shape, few.shape) == ((17, 32), (5, 32))
    np.testing.assert_allclose(few[0], whole[0], atol=1e-5)
    np.testing.assert_allclose(few[1:].mean(0), whole[1:].mean(0), atol=1e-5)
    assert load("vit?output=tokens&max_tokens=1", "image").encode([item])[0].shape == (1, 32)
    assert load("resnet?output=tokens", "image").encode([item])[0].shape == (16, 16)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("do_resize", False),
        ("do_center_crop", False),
        ("do_pad", True),
        ("include_top", True),
        ("crop_size", {"height": 32, "width": 24}),
    ],
)
def test_a_preprocessor_that_does_more_is_refused_by_the_setting(
    models: Callable[[str], Path], tmp_path: Path, setting: str, value: Any
) -> None:
    path = Path(shutil.copytree(models("clip"), tmp_path / "clip"))
    file = path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {setting: value}))
    with pytest.raises(MmfeatError, match=setting):
        EncoderSpec.parse(f"image=hf:{path}").load()


def test_values_that_are_not_rescaled_are_kept_so(
    models: Callable[[str], Path], tmp_path: Path
) -> None:
    path = Path(shutil.copytree(models("vit"), tmp_path / "vit"))
    file = path / "preprocessor_config.json"
    change = {"do_rescale": False, "image_mean": [120.0] * 3, "image_std": [60.0] * 3}
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    encoder: Any = EncoderSpec.parse(f"image=hf:{path}").load(Settings(device="cpu"))
    processor = transformers.AutoImageProcessor.from_pretrained(path)
    theirs = processor(images=drawing((90, 61)), return_tensors="pt")["pixel_values"]
    ours = encoder.picture.batch([encoder.decode(picture((90, 61)))])
    assert (ours - theirs).abs().max() < 0.05


@pytest.mark.parametrize(
    "name",
    [
        "bert", "bert?pooling=cls", "bert?pooling=pooler", "bert?output=tokens&max_tokens=9",
        "roberta", "clip", "clip?output=pooled", "clip?output=tokens", "siglip",
        "siglip?output=tokens", "clap",
    ],
)  # fmt: skip
def test_a_text_gets_its_feature(load: Callable[..., Any], name: str) -> None:
    encoder = load(name, "text")
    features = assert_alone_as_together(encoder, [text.encode() for text in TEXTS])
    if "tokens" in name:
        lengths = [len(encoder.decode(text.encode())) for text in TEXTS]
        assert [len(f) for f in features] == [min(n, encoder.max_tokens) for n in lengths]


def test_outputs_of_texts_are_those_of_the_model(
    load: Callable[..., Any], models: Callable[[str], Path]
) -> None:
    words = transformers.AutoTokenizer.from_pretrained(models("bert"))
    model = transformers.AutoModel.from_pretrained(models("bert")).eval()
    inputs = words(TEXTS[3], return_tensors="pt")
    with torch.no_grad():
        found = model(input_ids=inputs["input_ids"])
    expected = {
        "mean": found.last_hidden_state.mean(1),
        "cls": found.last_hidden_state[:, 0],
        "pooler": found.pooler_output,
    }
    for pooling, values in expected.items():
        encoder = load(f"bert?pooling={pooling}", "text")
        items = [encoder.decode(text.encode()) for text in TEXTS]
        np.testing.assert_allclose(encoder.encode(items)[3:], values, atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_a_text_tower_gives_what_full_padding_gives(
    load: Callable[..., Any], models: Callable[[str], Path], name: str
) -> None:
    words = transformers.AutoTokenizer.from_pretrained(models(name))
    model = transformers.AutoModel.from_pretrained(models(name)).eval()
    inputs = words(TEXTS, padding="max_length", truncation=True, return_tensors="pt")
    assert inputs["input_ids"].shape[1] == (77 if name == "clip" else 64)
    mask = {"attention_mask": inputs["attention_mask"]} if name == "clip" else {}
    with torch.no_grad():
        found = model.get_text_features(input_ids=inputs["input_ids"], **mask)
    expected = found if isinstance(found, torch.Tensor) else found.pooler_output
    encoder = load(name, "text")
    features = encoder.encode([encoder.decode(text.encode()) for text in TEXTS])
    np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "clip", "siglip", "roberta"])
def test_texts_are_tokenised_as_by_the_tokenizer_in_many_threads(
    load: Callable[..., Any], models: Callable[[str], Path], name: str
) -> None:
    encoder = load(name, "text")
    texts = [f"{text} {'dog ' * (number % 40)}" for number in range(200) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        items = list(pool.map(encoder.decode, [text.encode() for text in texts]))
    words = transformers.AutoTokenizer.from_pretrained(models(name))
    limit = encoder.limit
    assert limit == {"bert": 24, "clip": 77, "siglip": 64, "roberta": 19}[name]
    expected = [words(text, truncation=True, max_length=limit)["input_ids"] for text in texts]
    assert items == expected
    assert encoder.length(items[0]) == (64 if name == "siglip" else len(items[0]))


def test_a_text_of_a_megabyte_or_of_nothing(load: Callable[..., Any]) -> None:
    encoder = load("bert", "text")
    assert len(encoder.decode(b"cat " * 250_000)) == 24
    with pytest.raises(RecordError, match="blank"):
        encoder.decode(b" \n")


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("query", ["?output=pooled", "?output=tokens&max_tokens=7"])
def test_a_sound_gets_its_feature(load: Callable[..., Any], name: str, query: str) -> None:
    encoder = load(name + query, "audio")
    files = [sound(length, 200 + 90 * number) for number, length in enumerate(LENGTHS)]
    assert_alone_as_together(encoder, files)


def test_outputs_of_sounds_are_those_of_the_model(
    load: Callable[..., Any], models: Callable[[str], Path]
) -> None:
    wave, _ = soundfile.read(io.BytesIO(sound(0.7)), dtype="float32")
    for name in ("wav2vec2", "hubert"):
        extractor = transformers.AutoFeatureExtractor.from_pretrained(models(name))
        model = transformers.AutoModel.from_pretrained(models(name)).eval()
        inputs = extractor(wave, sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            expected = model(inputs["input_values"]).last_hidden_state.mean(1)
        encoder = load(name, "audio")
        items = [encoder.decode(sound(0.7)), encoder.decode(sound(1.3))]
        np.testing.assert_allclose(encoder.encode(items)[:1], expected, atol=1e-5)

    extractor = transformers.AutoFeatureExtractor.from_pretrained(models("clap"))
    model = transformers.AutoModel.from_pretrained(models("clap")).eval()
    encoder = load("clap", "audio")
    item = encoder.decode(sound(0.7, rate=48_000))
    wave, _ = soundfile.read(io.BytesIO(sound(0.7, rate=48_000)), dtype="float32")
    inputs = extractor(wave, sampling_rate=48_000, return_tensors="pt")
    with torch.no_grad():
        found = model.get_audio_features(**inputs)
    expected = found if isinstance(found, torch.Tensor) else found.pooler_output
    np.testing.assert_allclose(encoder.encode([item]), expected, atol=1e-5)


def test_only_frames_that_hold_sound_are_averaged(load: Callable[..., Any]) -> None:
    tokens = load("whisper?output=tokens&max_tokens=1000", "audio")
    half = tokens.decode(sound(1))
    (rows,) = tokens.encode([half])
    assert rows.shape == (50, 16)  # of the 100 of two seconds
    pooled = load("whisper", "audio").encode([half])
    np.testing.assert_allclose(pooled[0], rows.mean(0), atol=1e-5)


@pytest.mark.parametrize(("name", "seconds"), [("clap", 10), ("whisper", 2), ("wav2vec2", 60)])
def test_a_long_sound_is_cut_and_a_short_one_suffices(
    load: Callable[..., Any], name: str, seconds: int
) -> None:
    encoder = load(name, "audio")
    start = sound(seconds + 2)
    item = encoder.decode(start)
    assert encoder.length(item) == seconds * encoder.rate
    again = encoder.decode(start)
    np.testing.assert_array_equal(item.values, again.values)
    tiny = encoder.decode(sound(0.0005))
    assert np.isfinite(encoder.encode([tiny])).all()


def test_channels_and_sampling_rates_hardly_matter(load: Callable[..., Any]) -> None:
    encoder = load("whisper", "audio")
    times = np.arange(44_100) / 44_100
    files = []
    for rate, channels in ((16_000, 1), (44_100, 2)):
        wave = np.sin(2 * np.pi * 440 * times[: rate if rate < 44_100 else None] * 44_100 / rate)
        file = io.BytesIO()
        soundfile.write(file, np.stack([wave] * channels, 1), rate, format="WAV")
        files.append(file.getvalue())
    one, other = encoder.encode([encoder.decode(data) for data in files])
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.99


@pytest.mark.parametrize("data", [b"", b"no sound", sound(0.1)[:60]])
def test_what_is_no_sound_is_a_bad_record(load: Callable[..., Any], data: bytes) -> None:
    with pytest.raises(RecordError):
        load("whisper", "audio").decode(data)


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("clip", "image"),
        ("bert", "text"),
        ("clip", "text"),
        ("clap", "audio"),
        ("whisper", "audio"),
        ("hubert", "audio"),
    ],
)
def test_a_copy_has_the_same_identity_and_other_weights_another(
    load: Callable[..., Any],
    models: Callable[[str], Path],
    tmp_path: Path,
    name: str,
    modality: str,
) -> None:
    identity = load(name, modality).identity()
    assert json.loads(json.dumps(identity)) == identity
    assert str(models(name)) not in json.dumps(identity)
    assert {"scheme", "weights", "output", "max_tokens", "precision", "versions"} <= set(identity)
    path = Path(shutil.copytree(models(name), tmp_path / "copy@1"))
    spec = EncoderSpec.parse(f"column:{modality}=hf:{path}")
    copy = spec.load(Settings(device="cpu"))
    assert fingerprint(copy.identity()) == fingerprint(identity)
    weights = path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    for place in range(8 + int.from_bytes(data[:8], "little"), len(data), 400):
        data[place] ^= 1
    weights.write_bytes(data)
    assert fingerprint(spec.load(Settings(device="cpu")).identity()) != fingerprint(identity)


def test_whatever_changes_values_changes_the_identity(load: Callable[..., Any]) -> None:
    encoders = [
        load("clip", "image"),
        load("clip", "text"),
        load("clip?output=pooled", "image"),
        load("clip?output=tokens", "image"),
        load("clip?output=tokens&max_tokens=9", "image"),
        load("clip", "image", reduced_decoding=False),
        load("clip", "image", precision="bfloat16"),
        load("bert?pooling=mean", "text"),
        load("bert?pooling=cls", "text"),
    ]
    assert len({fingerprint(encoder.identity()) for encoder in encoders}) == len(encoders)


def test_half_precision_stays_near(load: Callable[..., Any]) -> None:
    whole, half = (load("clip", "image", precision=p) for p in ("float32", "bfloat16"))
    one, other = (encoder.encode([encoder.decode(picture())])[0] for encoder in (whole, half))
    assert other.dtype == np.float32
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.99


@pytest.mark.parametrize(
    ("name", "modality", "message"),
    [
        ("bert", "image", "encodes text; got 'image'"),
        ("vit", "text", "encodes image; got 'text'"),
        ("whisper", "image", "encodes audio"),
        ("clip", "audio", "encodes image and text"),
        ("vit?output=projected", "image", "one of pooled, tokens; got 'projected'"),
        ("bert?pooling=max", "text", "one of mean, cls, pooler"),
        ("roberta?pooling=pooler", "text", "has no pooler"),
        ("clip?pooling=mean", "text", "no such option"),
        ("clip?max_tokens=5", "image", "no such option"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    load: Callable[..., Any], name: str, modality: str, message: str
) -> None:
    with pytest.raises(MmfeatError, match=message) as caught:
        load(name, modality)
    assert "\n" not in str(caught.value)


def broken(path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "cannot be loaded", (path / "model.safetensors").unlink
    yield "cannot be loaded", lambda: (path / "model.safetensors").write_bytes(b"\x09garbage")
    yield "cannot be loaded", (path / "config.json").unlink
    yield "preprocessor|cannot be loaded", (path / "preprocessor_config.json").unlink


@pytest.mark.parametrize("number", range(4))
def test_a_broken_checkpoint_is_told_in_one_line(
    models: Callable[[str], Path], tmp_path: Path, number: int
) -> None:
    path = Path(shutil.copytree(models("dino"), tmp_path / "broken"))
    message, damage = list(broken(path))[number]
    damage()
    with pytest.raises(MmfeatError, match=message) as caught:
        EncoderSpec.parse(f"image=hf:{path}").load()
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_not_read(models: Callable[[str], Path], tmp_path: Path) -> None:
    path = Path(shutil.copytree(models("dino"), tmp_path / "pickled"))
    model = transformers.AutoModel.from_pretrained(path)
    torch.save(model.state_dict(), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    with pytest.raises(MmfeatError, match="cannot be loaded"):
        EncoderSpec.parse(f"image=hf:{path}").load()


@pytest.mark.parametrize(
    ("name", "part"),
    [("dino", "mlp.fc1.weight"), ("vit", "attention"), ("clip", "vision_model.encoder")],
)
def test_weights_that_are_missing_are_not_made_up(
    models: Callable[[str], Path], tmp_path: Path, name: str, part: str
) -> None:
    from safetensors.torch import load_file, save_file

    path = Path(shutil.copytree(models(name), tmp_path / "holes"))
    weights = load_file(path / "model.safetensors")
    lost = next(name for name in weights if part in name)
    del weights[lost]
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(MmfeatError, match="lacks weights"):
        EncoderSpec.parse(f"image=hf:{path}").load()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, Path], str]:
    """Puts a checkpoint into the hub's cache, with no hub to ask; gives its commit."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub = transformers.utils.hub  # where transformers 4 keeps the folder
    monkeypatch.setattr(hub, "TRANSFORMERS_CACHE", str(tmp_path / "cache"), raising=False)

    def put(name: str, path: Path) -> str:
        folder = tmp_path / "cache" / f"models--{name.replace('/', '--')}"
        commit = "0123456789" * 4
        shutil.copytree(path, folder / "snapshots" / commit)
        (folder / "refs").mkdir()
        for reference in ("main", "v1"):
            (folder / "refs" / reference).write_text(commit)
        return commit

    return put


def test_a_name_on_the_hub_and_its_revision(
    models: Callable[[str], Path], hub: Callable[[str, Path], str]
) -> None:
    commit = hub("some/model", models("clip"))
    for revision in ("", "@v1", f"@{commit}"):
        spec = EncoderSpec.parse(f"image=hf:some/model{revision}")
        identity = spec.load(Settings(device="cpu")).identity()
        assert (identity["name"], identity["revision"]) == ("some/model", commit)
    for missing in ("some/model@v2", "some/other", "some/model@../x", "not a name"):
        with pytest.raises(MmfeatError, match="cannot be loaded") as caught:
            EncoderSpec.parse(f"image=hf:{missing}").load()
        assert "\n" not in str(caught.value)


def test_another_config_with_the_same_weights_is_another_encoder(
    load: Callable[..., Any], models: Callable[[str], Path], tmp_path: Path
) -> None:
    path = Path(shutil.copytree(models("vit"), tmp_path / "heads"))
    file = path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_attention_heads": 4}))
    other = EncoderSpec.parse(f"image=hf:{path}").load(Settings(device="cpu"))
    assert fingerprint(other.identity()) != fingerprint(load("vit", "image").identity())


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "a/b/c"])
def test_a_folder_that_is_not_there_is_told(name: str) -> None:
    with pytest.raises(MmfeatError, match="on the hub or a directory"):
        EncoderSpec.parse(f"image=hf:{name}").load()


def test_code_of_a_checkpoint_does_not_run_unasked(
    models: Callable[[str], Path], tmp_path: Path
) -> None:
    path = Path(shutil.copytree(models("dino"), tmp_path / "code"))
    file = path / "config.json"
    changed = {"model_type": "own", "auto_map": {"AutoConfig": "c.C", "AutoModel": "c.M"}}
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    (path / "c.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(MmfeatError, match="--trust-remote-code"):
        EncoderSpec.parse(f"image=hf:{path}").load()
    assert not (tmp_path / "ran").exists()
