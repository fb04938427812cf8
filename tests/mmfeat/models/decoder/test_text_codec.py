import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmfeat.errors import DamagedFileError
from mmfeat.models.decoder.text_codec import TextCodec, read_bpe, train_bpe

TEXTS = [
    "a red circle left of a blue square",
    "a blue square",
    "Röstkaffee, 250 g",
    "红烧肉 🍜",
] * 4
CODEC = train_bpe(TEXTS, 300)


@given(st.text(max_size=200))
def test_any_text_comes_back(text):
    (tokens,) = CODEC.encode([text])
    assert all(3 <= token < CODEC.size for token in tokens)
    assert CODEC.decode([tokens]) == [text]


def test_texts_cannot_contain_special_tokens():
    hostile = "<eos><pad><s></s>[PAD]<|endoftext|>\0"
    (tokens,) = CODEC.encode([hostile])
    assert not {CODEC.pad, CODEC.bos, CODEC.eos} & set(tokens)
    assert CODEC.decode([[CODEC.bos, *tokens, CODEC.eos, CODEC.pad]]) == [hostile]


def test_half_a_character_decodes_to_a_replacement():
    (tokens,) = train_bpe(["a"], 256).encode(["é"])
    assert train_bpe(["a"], 256).decode([tokens[:1]]) == ["\ufffd"]


def test_the_same_texts_give_the_same_file_and_merges_save_tokens():
    assert all(train_bpe(TEXTS, 300).document == CODEC.document for _ in range(5))
    assert 259 < CODEC.size <= 303
    (short,) = CODEC.encode(["a blue square"])
    assert len(short) < len("a blue square") / 2


def test_a_file_is_read_back():
    again = read_bpe(CODEC.document, "tokenizer.json")
    assert again.document == CODEC.document
    assert again.sha256 == CODEC.sha256
    assert again.encode(TEXTS) == CODEC.encode(TEXTS)


def changed(**changes: object) -> bytes:
    document = json.loads(CODEC.document)
    document["model"] |= changes
    return json.dumps(document).encode()


def vocabulary(codec: TextCodec = CODEC) -> dict[str, int]:
    return dict(json.loads(codec.document)["model"]["vocab"])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 100_000,
        b"{}",
        b'{"model": null}',
        changed(type="WordPiece"),
        changed(vocab={"a": 0}),
        changed(vocab=dict.fromkeys(vocabulary(), 0)),
        changed(vocab={name: -number for name, number in vocabulary().items()}),
        changed(vocab={name: number * 2**40 for name, number in vocabulary().items()}),
        changed(vocab=vocabulary() | {"<script>\u2028": len(vocabulary())}),
        changed(merges=[["a", "zzz"]]),
        changed(merges=[["a"]]),
        changed(merges=["a b"] * 70_000),
        changed(vocab={f"a{number}": number for number in range(70_000)}),
    ],
    ids=range(14),
)
def test_other_files_are_refused(data):
    with pytest.raises(DamagedFileError, match=r"tokenizer\.json must be a byte-level BPE"):
        read_bpe(data, "tokenizer.json")


def test_rules_of_other_tokenizers_take_no_part():
    document = json.loads(CODEC.document)
    document["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"}
    document["added_tokens"] = [
        {"id": 5, "content": "a", "special": True, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False}
    ]  # fmt: skip
    codec = read_bpe(json.dumps(document).encode(), "tokenizer.json")
    assert codec.document == CODEC.document
