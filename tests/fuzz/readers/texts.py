"""Texts that users write: conditions and options."""

from pathlib import Path

from mmfeat.config.yaml_file import read_overrides, read_yaml_file
from mmfeat.records import Record, TextRef
from mmfeat.sharding import ShardConfig
from mmfeat.sharding.selection.condition import Condition
from tests.fuzz.target import Target

_RECORD = Record(
    0,
    "k1",
    {"text": TextRef("words")},
    {"width": 300, "label": "cat", "tags": ["a"], "price": "9.5"},
)


def condition(folder: Path) -> Target:
    """The expression of --where, and its value for a record."""

    def read(data: bytes) -> None:
        check = Condition(data.decode("utf-8", "surrogateescape"))
        check(_RECORD)
        check.check_names()

    seeds = [
        b"width >= 256 and label == 'cat'",
        b"'a' in tags or not len(text) > 3",
        b"round(float(price) * 2, 1) ** 2 % 7 // 2 < 1e3",
        b"lower(label) + str(width) != key if width else -1 in [1, 2]",
    ]
    tokens = [
        b"**", b"99999999999", b"*", b"(", b")", b"[", b"]", b"lambda:0", b" for x in ",
        b"__class__", b".", b"'", b"%s", b"{}", b".format", b"int", b"str(", b"round(",
        b",-10**9", b"<<", b"~",
        b"label", b"width", b"tags", b" if ", b" else ", b":=", b"\0", b"f'{", b"}'", b"await ",
    ]  # fmt: skip
    return Target(read, seeds, tokens)


def yaml_file(folder: Path) -> Target:
    """A file for --config."""
    path = folder / "run.yaml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_yaml_file(str(path), ShardConfig)

    return Target(read, [_YAML, b"{resize: 64, encode: webp}"], _YAML_TOKENS)


def override(folder: Path) -> Target:
    """A value for --set."""

    def read(data: bytes) -> None:
        read_overrides([data.decode("utf-8", "surrogateescape")], ShardConfig)

    return Target(
        read, [b"resize=64", b"image_column=[a, b]", b"max_reject_rate=1e-3"], _YAML_TOKENS
    )


_YAML = b"""input: in.csv
output: out
samples_per_shard: 100
image-column: [front, back=back]
max_reject_rate: 0.5
allow_outside: true
where: 'width > 3'
"""

_YAML_TOKENS = [
    b"&a ", b"*a", b"!!python/object:os.system ", b"!!binary ", b"!!timestamp ", b"<<: ", b"- ",
    b"? ", b": ", b"{", b"}", b"[", b"]", b"|\n", b"---\n", b"...\n", b"%YAML 9\n", b"0x",
    b"1_000", b".inf", b".nan", b"2020-99-99", b"\t", b"\0", b"\xff", b"null", b"~", b"1e999",
    b"'", b'"',
]  # fmt: skip
