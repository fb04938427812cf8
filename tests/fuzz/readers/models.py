"""Models and the files of encoders. Digests fit, as a stranger's would."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np

from mmfeat.storage import files
from mmfeat.store import MANIFEST_FILE, record_file
from tests.fuzz.mutations import mutate_bytes, mutate_json
from tests.fuzz.target import Target


def model_manifest(folder: Path) -> Target:
    """The manifest of a model: its config, and what it says of the weights."""
    from mmfeat.models.saved_model import load_model
    from tests.mmfeat.models.test_saved_model import save_model

    save_model(str(folder))
    path = files.join(str(folder), MANIFEST_FILE)

    def read(data: bytes) -> None:
        try:
            files.write_json(path, json.loads(data))
        except (ValueError, RecursionError):
            Path(path).write_bytes(data)
        load_model(str(folder))

    return Target(read, [Path(path).read_bytes()], [b"../x", b"gmu", b"concat"], mutate_json)


def model_weights(folder: Path) -> Target:
    """The weights of a model, and its predictions."""
    from mmfeat.models.saved_model import WEIGHTS, load_model
    from tests.mmfeat.models.test_saved_model import COLUMNS, save_model

    save_model(str(folder))
    path = files.join(str(folder), WEIGHTS)
    manifest_path = files.join(str(folder), MANIFEST_FILE)
    features = {column.name: np.ones((2, column.dim), "f2") for column in COLUMNS}

    def read(data: bytes) -> None:
        Path(path).write_bytes(data)
        manifest = files.read_json(manifest_path)
        manifest["files"][WEIGHTS] = record_file(path)
        files.write_json(manifest_path, manifest)
        predictions = load_model(str(folder)).predict(features)
        assert np.isfinite(predictions.scores[predictions.scorable]).all()
        if predictions.weights is not None:
            assert np.isfinite(predictions.weights[predictions.scorable]).all()

    def mutate(random: Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
        """Mutate bytes, or the JSON of the header."""
        data = random.choice(seeds)
        (size,) = struct.unpack("<Q", data[:8].ljust(8, b"\0"))
        if random.randrange(2) or size > len(data):
            return mutate_bytes(random, seeds, tokens)
        header = mutate_json(random, [data[8 : 8 + size]])
        return struct.pack("<Q", len(header)) + header + data[8 + size :]

    tokens = [
        b'"dtype":"F16"',
        b'"shape":[99999999999]',
        b"data_offsets",
        b"__metadata__",
        b"\x00\x7f",
    ]
    return Target(read, [Path(path).read_bytes()], tokens, mutate)


def vocabulary(folder: Path) -> Target:
    """The words of a recurrent network."""
    from mmfeat.encoders.words.vocabulary import read_vocabulary

    path = folder / "vocabulary.txt"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_vocabulary(str(path)).word_ids("the red words <unk>")

    seeds = ["<unk>\nthe\nred\nwords\né\n".encode()]
    return Target(read, seeds, [b"\n", b"\r\n", b"\0", b"\xff"])


def word_vectors(folder: Path) -> Target:
    """A file of word vectors."""
    from mmfeat.encoders.settings import EncoderOptions, Settings
    from mmfeat.encoders.words.embedding import load

    path = folder / "vectors.txt"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        load(str(path), "text", EncoderOptions("", {}), Settings())

    seeds = [b"3 2\nred 0.5 1\nthe 1 -1e-3\nwords 0 0\n", b"red 1 2\nblue 3 4\n"]
    return Target(
        read, seeds, [b"nan", b"inf", b"1e999", b" ", b"\n", b"\xff", b"9999999999 300\n"]
    )


def recurrent_config(folder: Path) -> Target:
    """The config.json of a recurrent network."""
    from mmfeat.encoders.settings import EncoderOptions, Settings
    from mmfeat.encoders.words.rnn import RecurrentModel, load, save

    config = {"kind": "gru", "embedding": 4, "hidden": 4, "pooling": "mean"}
    words = ["<unk>", "the", "red"]
    save(str(folder), RecurrentModel(len(words), config), config, words)
    path = folder / "config.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        load(str(folder), "text", EncoderOptions("", {}), Settings())

    return Target(read, [json.dumps(config).encode()], [b"lstm", b"max", b"-1"], mutate_json)
