"""Fixed inputs of the golden comparison: raw records in every form, and tiny encoders.

FOLDER/raw/      records.csv with pictures and sounds; some of its records are bad
FOLDER/forms/    the same records in all other forms
FOLDER/mended/   files that raw/ lacks at first
FOLDER/encoders/ checkpoints
"""

import csv
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import soundfile
import tokenizers
import torch
import transformers
from PIL import Image
from torch import nn

from tests.inputs import make_inputs

RECORDS = 120
COLOURS = {"red": (210, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 210)}
WORDS = "<unk> a the small big red green blue thing on table é".split()


def make_golden_inputs(folder: Path) -> None:
    """Write all of them."""
    torch.manual_seed(0)
    rows = _raw(folder)
    _write_csv(folder / "raw" / "records.csv", rows)
    plain = [{name: value for name, value in row.items() if name != "audio"} for row in rows]
    _write_csv(folder / "raw" / "plain.csv", plain)
    packed = gzip.compress((folder / "raw" / "plain.csv").read_bytes(), mtime=0)
    (folder / "raw" / "packed.csv.gz").write_bytes(packed)
    make_inputs(folder / "raw" / "plain.csv", folder / "forms")
    _foreign_tar(folder)
    _recurrent(folder / "encoders" / "rnn")
    _vectors(folder / "encoders" / "vectors.txt")
    _program(folder / "encoders" / "cnn.pt2")
    _bert(folder / "encoders" / "bert")


def _raw(folder: Path) -> list[dict[str, Any]]:
    """Records that a model can learn from, and every kind of bad one; their files are written."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(RECORDS):
        label = tuple(COLOURS)[number % 3]
        size = ("small", "big")[number // 3 % 2]
        row = {
            "file_name": f"p{number:03}.png",
            "audio": f"s{number:03}.wav" if number % 3 else "",
            "text": f"a {size} {label if number % 4 else 'é'} thing on the table, {number}",
            "label": label,
            "tags": ",".join([size] * (number % 7 > 0) + [label] * (number % 5 > 0)),
            "price": round(float(random.normal(10 * (size == "big"), 2)), 3),
            "owner": f"owner {number % 17}",
            "split": ("train", "train", "train", "train", "val", "test")[number // 3 % 6],
        }
        rows.append(row)
        side = 20 + number % 9
        noise = random.integers(-40, 40, (side, side + 4, 3))
        pixels = np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8)
        _save_picture(folder / "raw" / row["file_name"], pixels)
        if row["audio"]:
            tone = np.sin(np.arange(1600) * 0.02 * (1 + number % 3)).astype(np.float32)
            soundfile.write(folder / "raw" / row["audio"], tone + 0.01 * (number % 10), 8000)
    _spoil(folder, rows)
    return rows


def _spoil(folder: Path, rows: list[dict[str, Any]]) -> None:
    """All in the training split, so that each modality alone can be judged on the others."""
    (folder / "mended").mkdir(parents=True)
    for number in (7, 8, 55):
        name = rows[number]["file_name"]
        (folder / "raw" / name).rename(folder / "mended" / name)
    for number in (8, 9):
        rows[number]["text"] = "   "
    (folder / "raw" / rows[10]["file_name"]).write_bytes(b"no picture at all")
    (folder / "raw" / rows[10]["audio"]).write_bytes(b"")
    rows[11] |= {"file_name": "", "text": ""}
    rows[21]["file_name"] = "../outside.png"
    rows[22]["label"] = ""
    for number, name in ((23, "more/p024.png"), (25, "more/a.dotted name é.png")):
        _save_picture(folder / "raw" / name, np.full((16, 16, 3), number, np.uint8))
        rows[number]["file_name"] = name
    rows[26]["file_name"] = rows[27]["file_name"]


def _save_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _foreign_tar(folder: Path) -> None:
    """A tar that another program made: members that mmfeat carries, a link, a sample cut short."""
    with tarfile.open(folder / "forms" / "foreign.tar", "w") as tar:
        for number in range(20, 32):
            members = {
                "png": (folder / "raw" / f"p{number:03}.png").read_bytes(),
                "txt": f"the big thing {number}".encode(),
                "cls": str(number % 3).encode(),
                "json": json.dumps({"score": number / 7}).encode(),
            }
            for extension, data in members.items():
                member = tarfile.TarInfo(f"dir/{number}.{extension}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("dir/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)


def _recurrent(folder: Path) -> None:
    folder.mkdir(parents=True)
    config = {"kind": "gru", "embedding": 8, "hidden": 6, "layers": 1, "pooling": "mean"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocabulary.txt").write_text("\n".join(WORDS) + "\n")
    model = nn.ModuleDict({"embedding": nn.Embedding(len(WORDS), 8), "rnn": nn.GRU(8, 6)})
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")


def _vectors(path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(len(WORDS), 5)).round(4)
    lines = [f"{word} {' '.join(map(str, row))}" for word, row in zip(WORDS, values, strict=True)]
    path.write_text("\n".join(lines) + "\n")


class _Patches(nn.Module):
    """A small CNN: one vector a place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 8, stride=8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).flatten(2).transpose(1, 2)


def _program(path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=1024)
    pictures = (torch.zeros(2, 3, 16, 16),)
    program = torch.export.export(_Patches().eval(), pictures, dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    facts = {"modality": "image", "picture": {"size": 16, "resize": 16, "mean": [0.5, 0.4, 0.3]}}
    path.with_suffix(".json").write_text(json.dumps(facts))


def _bert(folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS[1:]]
    numbers = {word: number for number, word in enumerate(words)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", model_max_length=24
    )
    config = transformers.BertConfig(
        vocab_size=len(words),
        max_position_embeddings=24,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        initializer_range=0.2,
    )
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
