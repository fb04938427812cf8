"""Texts by `hf:` equal the checkpoint's tokenizer and model."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmfeat.errors import RecordError
from tests.mmfeat.encoders.checks import (
    assert_batch_independent,
    assert_features_differ,
    encode_all,
)
from tests.mmfeat.encoders.hf.checkpoints import projection, transformers

TEXTS = ["a cat", "the dog runs and runs " * 5, "blue", "a red apple on the table"]
MEMBERS = [text.encode() for text in TEXTS]


@pytest.mark.parametrize(
    "name",
    [
        "bert", "bert?pooling=cls", "bert?pooling=pooler", "bert?output=tokens&max_tokens=9",
        "roberta", "clip", "clip?output=pooled", "clip?output=tokens", "siglip",
        "siglip?output=tokens", "clap",
    ],
)  # fmt: skip
def test_features_do_not_depend_on_batch(load: Callable[..., Any], name: str) -> None:
    encoder = load(name, "text")
    features = assert_batch_independent(encoder, MEMBERS)
    assert_features_differ(*features[:2])
    if "tokens" in name:
        lengths = [len(encoder.decode(member)) for member in MEMBERS]
        assert [len(feature) for feature in features] == [
            min(n, encoder.max_tokens) for n in lengths
        ]


def test_outputs_equal_the_model(load: Callable[..., Any], models: Callable[[str], Path]) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(models("bert"))
    model = transformers.AutoModel.from_pretrained(models("bert")).eval()
    inputs = tokenizer(TEXTS[3], return_tensors="pt")
    with torch.no_grad():
        result = model(input_ids=inputs["input_ids"])
    expected = {
        "mean": result.last_hidden_state.mean(1),
        "cls": result.last_hidden_state[:, 0],
        "pooler": result.pooler_output,
    }
    for pooling, values in expected.items():
        encoder = load(f"bert?pooling={pooling}", "text")
        np.testing.assert_allclose(encode_all(encoder, MEMBERS)[3:], values, atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_text_towers_equal_full_padding(
    load: Callable[..., Any], models: Callable[[str], Path], name: str
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(models(name))
    model = transformers.AutoModel.from_pretrained(models(name)).eval()
    inputs = tokenizer(TEXTS, padding="max_length", truncation=True, return_tensors="pt")
    assert inputs["input_ids"].shape[1] == (77 if name == "clip" else 64)
    mask = {"attention_mask": inputs["attention_mask"]} if name == "clip" else {}
    with torch.no_grad():
        result = model.get_text_features(input_ids=inputs["input_ids"], **mask)
    expected = projection(result)
    np.testing.assert_allclose(encode_all(load(name, "text"), MEMBERS), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "clip", "siglip", "roberta"])
def test_tokenizer_is_thread_safe(
    load: Callable[..., Any], models: Callable[[str], Path], name: str
) -> None:
    encoder = load(name, "text")
    texts = [f"{text} {'dog ' * (number % 40)}" for number in range(200) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        items = list(pool.map(encoder.decode, [text.encode() for text in texts]))
    tokenizer = transformers.AutoTokenizer.from_pretrained(models(name))
    limit = encoder.limit
    assert limit == {"bert": 24, "clip": 77, "siglip": 64, "roberta": 19}[name]
    expected = [tokenizer(text, truncation=True, max_length=limit)["input_ids"] for text in texts]
    assert items == expected
    assert encoder.budget == 1024
    assert encoder.at_precision("bfloat16").budget == 2048
    assert encoder.length(items[0]) == (64 if name == "siglip" else len(items[0]))


def test_very_long_and_blank_texts(load: Callable[..., Any]) -> None:
    encoder = load("bert", "text")
    assert len(encoder.decode(b"cat " * 250_000)) == 24
    with pytest.raises(RecordError, match="no visible character"):
        encoder.decode(b" \n")
