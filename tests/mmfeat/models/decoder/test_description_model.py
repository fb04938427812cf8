"""The model of the task describe: features to texts."""

import numpy as np
import pytest
import torch

from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import Architecture, DecoderLayers
from mmfeat.models.build import build_model
from mmfeat.models.decoder.decoding_options import DecodingOptions
from mmfeat.models.decoder.description_model import DescriptionModel
from mmfeat.models.decoder.packing import EXTRA_OUTPUTS, LENGTH, LOG_PROBABILITY, unpack_tokens
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.inference import run_model

DECODER = DecoderLayers(layers=2, width=16, heads=2, prefix=3, vocabulary=20, max_length=6)
ROWS = 7


def make_model(fusion: str = "gmu", tokens: bool = True, **changes: object) -> DescriptionModel:
    torch.manual_seed(0)
    options: dict = {
        "dims": {"image": 5, "text": 4},
        "tokens": {"text": 3} if tokens else {},
        "hidden": 8,
        "modality_dropout": 0.0,
        **changes,
    }
    outputs = DECODER.max_length + EXTRA_OUTPUTS
    model = build_model(Architecture(outputs=outputs, fusion=fusion, decoder=DECODER, **options))
    assert isinstance(model, DescriptionModel)
    with torch.no_grad():  # texts that depend on the features
        model.decoder.embedding.weight.mul_(30)
        model.decoder.positions.mul_(30)
    return model.eval()


def make_inputs(tokens: bool = True):
    random = np.random.default_rng(0)
    shape = (ROWS, 3, 4) if tokens else (ROWS, 4)
    features = {
        "image": random.normal(size=(ROWS, 5)).astype(np.float32) * 3,
        "text": random.normal(size=shape).astype(np.float32) * 3,
    }
    present = {"image": np.ones(ROWS, bool), "text": np.ones(shape[:-1], bool)}
    present["image"][1] = False
    present["text"][2] = False
    return features, present


@pytest.mark.parametrize("fusion", sorted(set(FUSIONS) - {"single"}))
@pytest.mark.parametrize("tokens", [True, False])
def test_every_fusion_gives_texts(fusion, tokens):
    if FUSIONS[fusion].takes_tokens and not tokens:
        pytest.skip("the fusion reads tokens")
    model = make_model(fusion, tokens)
    logits = run_model(model, *make_inputs(tokens)).logits
    assert logits.shape == (ROWS, 6 + EXTRA_OUTPUTS)
    assert np.isfinite(logits).all()
    texts = unpack_tokens(logits)
    assert [len(text) for text in texts] == logits[:, LENGTH].tolist()
    assert all(3 <= token < 20 for text in texts for token in text)
    assert len(set(logits[:, LOG_PROBABILITY].tolist())) > ROWS / 2


@pytest.mark.parametrize("decoding", ["greedy", "beam", "sample"])
def test_a_record_gets_the_same_text_in_any_batch(decoding):
    model = make_model()
    model.decoding = DecodingOptions(decoding=decoding, beams=3, sampling_temperature=3.0)
    features, present = make_inputs()
    whole = run_model(model, features, present).logits
    order = np.array([4, 0, 2])
    part = run_model(
        model, {c: v[order] for c, v in features.items()}, {c: v[order] for c, v in present.items()}
    ).logits
    np.testing.assert_array_equal(part, whole[order])


def test_values_of_absent_modalities_and_tokens_are_ignored():
    model, (features, present) = make_model(), make_inputs()
    before = run_model(model, features, present).logits
    features["image"][1] = np.nan
    features["text"][2] = np.nan
    np.testing.assert_array_equal(run_model(model, features, present).logits, before)


def test_the_cross_attention_tells_tokens_apart_that_have_the_same_mean():
    model, (features, present) = make_model("sum"), make_inputs()
    tokens = torch.full((ROWS, 6), 5)
    tensors = {c: torch.from_numpy(v) for c, v in features.items()}
    masks = {c: torch.from_numpy(v) for c, v in present.items()}
    with torch.inference_mode():
        before = model.next_token_logits(tensors, masks, tokens)
        mean = tensors["text"].mean(dim=1, keepdim=True)
        pooled = {**tensors, "text": mean.expand_as(tensors["text"])}
        after = model.next_token_logits(pooled, masks, tokens)
    assert not torch.allclose(before[0], after[0], atol=1e-3)


def test_all_weights_get_a_gradient():
    model = make_model().train()
    features, present = make_inputs()
    logits = model.next_token_logits(
        {c: torch.from_numpy(v) for c, v in features.items()},
        {c: torch.from_numpy(v) for c, v in present.items()},
        torch.full((ROWS, 6), 5),
    )
    logits.log_softmax(dim=2)[:, :, 5].sum().backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert without == []


def test_modality_dropout_hides_modalities_in_training_only():
    model = make_model(modality_dropout=0.5, dropout=0.0)
    features, present = make_inputs()
    inputs = (
        {c: torch.from_numpy(v) for c, v in features.items()},
        {c: torch.from_numpy(v) for c, v in present.items()},
        torch.full((ROWS, 6), 5),
    )
    with torch.inference_mode():
        torch.testing.assert_close(
            model.next_token_logits(*inputs), model.next_token_logits(*inputs)
        )
        model.train()
        assert not torch.allclose(
            model.next_token_logits(*inputs), model.eval().next_token_logits(*inputs)
        )


@pytest.mark.parametrize("fusion", ["late", "late_stacked", "logistic", "ridge"])
def test_models_without_a_fusion_take_no_decoder(fusion):
    with pytest.raises(MmfeatError, match="reads fused features"):
        make_model(fusion)


@pytest.mark.parametrize(
    "changes", [{"width": 15}, {"layers": 0}, {"vocabulary": 2}, {"eos": 20}, {"prefix": -1}]
)
def test_impossible_layers_are_refused(changes):
    values = {"layers": 2, "width": 16, "heads": 2, "prefix": 3, "vocabulary": 20, "max_length": 6}
    with pytest.raises(MmfeatError, match="decoder must be"):
        DecoderLayers(**values | changes)
