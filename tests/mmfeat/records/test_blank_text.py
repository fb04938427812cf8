from collections.abc import Callable

import pytest

from mmfeat.encoders.builtin.text import MAX_CHARS, TextNgrams
from mmfeat.encoders.neural.text_encoder import decode_text
from mmfeat.errors import RecordError
from mmfeat.records import BytesRef, Record, is_blank
from mmfeat.sharding.config import ShardConfig
from mmfeat.sharding.sample_reader import read_samples

BLANK = {
    "spaces": " \n\t\r\u3000\xa0\u2028",
    "control characters": "\x00\x07\x1b",
    "format characters": "\u200b\u200d\u2060\xad\u202e",
    "byte order mark": "\ufeff",
    "variation selectors": "\ufe0f\U000e0100",
    "tags": "\U000e0041",
    "fillers": "\u3164\u115f\uffa0\u2800",
    "very many": "\x01" * (MAX_CHARS + 9),
}
VISIBLE = {
    "letter": "a",
    "punctuation": ".",
    "mark": "\u0301",
    "emoji": "\U0001f600",
    "an unassigned character": "\U0001fae9\U00050000",
    "private use": "\ue000",
    "after a control character": "\x00\u200b a",
    "after very many control characters": "\x01" * (MAX_CHARS + 9) + "a",
    "after a byte order mark": "\ufeffa",
}


def finds_empty(read: Callable[[bytes], object], text: str) -> bool:
    try:
        read(text.encode())
    except RecordError as error:
        return error.reason == "empty"
    return False


def shard(content: bytes) -> None:
    record = Record(0, "k", {"text": BytesRef(content, "k.txt")})
    [sample] = read_samples([record], ShardConfig("in", "out"), ("text",), (), 1)
    if sample.problems:
        raise RecordError(*sample.problems["text"])


@pytest.mark.parametrize("name", [*BLANK, *VISIBLE])
def test_all_stages_agree_which_texts_are_empty(name: str) -> None:
    text = BLANK.get(name) or VISIBLE[name]
    assert is_blank(text) == (name in BLANK)
    encoder = TextNgrams()
    for read in (shard, decode_text, encoder.decode):
        assert finds_empty(read, text) == (name in BLANK)
    if name in VISIBLE:
        assert encoder.encode([encoder.decode(text.encode())]).any()


def test_an_empty_text_is_blank() -> None:
    assert is_blank("")
