"""The scheme `rnn:`: a recurrent encoder of texts, a GRU or LSTM over embedded words.

    DIR/config.json         {"kind": "gru", "embedding": 100, "hidden": 128, "layers": 1,
                             "bidirectional": true, "pooling": "last"}
    DIR/vocabulary.txt      one word a line; `<unk>` for words that are not there
    DIR/model.safetensors   embedding.weight, and rnn.* as torch.nn.GRU and LSTM name theirs

GRU after Cho et al. 2014 (arXiv:1406.1078), LSTM after Hochreiter & Schmidhuber 1997. `pooling` is
the `last` state of each direction, or the `mean` or `max` over the words. `save` writes such a
directory.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.loading import one_line
from mmfeat.encoders.options import Options
from mmfeat.encoders.preprocessing import padded, text_of
from mmfeat.encoders.runtime import Runtime, versions, weights_digest
from mmfeat.encoders.settings import Settings
from mmfeat.encoders.words import read_vocabulary
from mmfeat.errors import MmfeatError
from mmfeat.store import files

KINDS = {"gru": nn.GRU, "lstm": nn.LSTM}
POOLINGS = ("last", "mean", "max")


class RecurrentText(nn.Module):
    """Embeds words, runs the network over them, and pools its states.

    Args:
        words: length of the vocabulary.
        config: as config.json holds it.
    """

    def __init__(self, words: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.pooling = config["pooling"]
        self.embedding = nn.Embedding(words, config["embedding"])
        self.rnn = KINDS[config["kind"]](
            config["embedding"],
            config["hidden"],
            num_layers=config.get("layers", 1),
            bidirectional=config.get("bidirectional", False),
            batch_first=True,
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Shapes [batch, words] twice, the mask 1 where a word is → [batch, dim]."""
        lengths = mask.sum(dim=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(ids), lengths, batch_first=True, enforce_sorted=False
        )
        packed, state = self.rnn(packed)
        if self.pooling == "last":
            last = state[0] if isinstance(state, tuple) else state
            directions = 2 if self.rnn.bidirectional else 1
            return last[-directions:].transpose(0, 1).flatten(1)
        states, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
        there = mask[:, : states.shape[1]].unsqueeze(-1).bool()
        if self.pooling == "max":
            return states.masked_fill(~there, torch.finfo(states.dtype).min).amax(dim=1)
        return states.masked_fill(~there, 0).sum(dim=1) / there.sum(dim=1)


def load(name: str, modality: str, options: Options, settings: Settings) -> Encoder:
    """`rnn:DIR`.

    Raises:
        MmfeatError: a file is missing, or they do not go together.
    """
    title = f"rnn:{name}"
    if modality != "text":
        raise MmfeatError(f"{title} encodes text", got=modality)
    config = files.read_json(files.join(name, "config.json"))
    fits = (
        isinstance(config, dict)
        and config.get("kind") in KINDS
        and config.get("pooling") in POOLINGS
        and {"embedding", "hidden"} <= config.keys()
    )
    if not fits:
        raise MmfeatError(
            f"{title} needs a config.json with kind ({', '.join(KINDS)}), embedding, hidden and "
            f"pooling ({', '.join(POOLINGS)})",
            got=config,
        )
    return RecurrentEncoder(title, name, config, settings)


class RecurrentEncoder(Encoder):
    """The vector that a recurrent network has of a text.

    Args:
        title: `rnn:DIR`, for messages.
        folder: of its files.
        config: its config.json.
        settings: how it runs.
    """

    modality = "text"
    batch_size = 256
    budget = 16_384

    def __init__(self, title: str, folder: str, config: dict[str, Any], settings: Settings) -> None:
        self._vocabulary = read_vocabulary(files.join(folder, "vocabulary.txt"))
        with one_line(title):
            model = RecurrentText(len(self._vocabulary), config)
            with files.open_input(files.join(folder, "model.safetensors")) as file:
                model.load_state_dict(safetensors.torch.load(file.read()))
        directions = 2 if model.rnn.bidirectional else 1
        self.dim = config["hidden"] * directions
        self._identity = {
            "scheme": "rnn",
            "name": "rnn",
            "weights": weights_digest(model),
            "vocabulary": self._vocabulary.digest(),
            "config": config,
            "precision": settings.precision,
            "versions": versions(),
        }
        self._runtime = Runtime(model, settings)
        self.on_gpu = self._runtime.devices[0].type != "cpu"

    def identity(self) -> dict[str, Any]:
        return self._identity

    def decode(self, data: bytes) -> list[int]:
        """Numbers of the text's words."""
        return self._vocabulary.numbers(text_of(data))

    def length(self, item: Any) -> int:
        return len(item)

    def encode(self, batch: Sequence[list[int]]) -> np.ndarray:
        ids, mask = padded(batch)
        return self._runtime.run({"ids": ids, "mask": mask}).numpy()


def save(folder: str, model: RecurrentText, config: dict[str, Any], words: Sequence[str]) -> None:
    """Write what `rnn:DIR` reads.

    Args:
        folder: the directory.
        model: the network.
        config: what it was made of.
        words: its vocabulary.
    """
    files.write_json(files.join(folder, "config.json"), config)
    with files.create(files.join(folder, "vocabulary.txt")) as output:
        output.write("\n".join(words).encode() + b"\n")
    with files.create(files.join(folder, "model.safetensors")) as output:
        output.write(safetensors.torch.save(model.state_dict()))
