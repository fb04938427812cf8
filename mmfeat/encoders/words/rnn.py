"""The scheme `rnn:`: a GRU or LSTM over embedded words.

    DIR/config.json         {"kind": "gru", "embedding": 100, "hidden": 128, "layers": 1,
                             "bidirectional": true, "pooling": "last"}
    DIR/vocabulary.txt      one word per line; `<unk>` for unknown words
    DIR/model.safetensors   embedding.weight, and rnn.* as in torch.nn.GRU and torch.nn.LSTM

`pooling` is the `last` state of each direction, or the `mean` or `max` over the words. `save`
writes such a directory. GRU: Cho et al. 2014 (arXiv:1406.1078). LSTM: Hochreiter & Schmidhuber
1997.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import safetensors.torch
import torch
from msgspec import Meta
from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.neural.loading import hash_weights, loading_errors, package_versions
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.encoders.neural.text_encoder import TextEncoder, TextInputs
from mmfeat.encoders.settings import EncoderOptions, Settings, check_modality
from mmfeat.encoders.words.vocabulary import read_vocabulary
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.storage import check_value, files

KINDS = {"gru": nn.GRU, "lstm": nn.LSTM}
POOLINGS = ("last", "mean", "max")


_Length = Annotated[int, Meta(ge=1, le=1 << 16)]


class RecurrentConfig(TypedDict):
    """What config.json must have."""

    kind: Literal["gru", "lstm"]
    embedding: _Length
    hidden: _Length
    layers: NotRequired[Annotated[int, Meta(ge=1, le=64)]]
    bidirectional: NotRequired[bool]
    pooling: Literal["last", "mean", "max"]


class RecurrentModel(nn.Module):
    """Embeds words, runs a recurrent network, and pools its states.

    Args:
        words: size of the vocabulary.
        config: content of config.json.
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
        """Encode texts.

        Args:
            ids: word ids, shape [batch, words].
            mask: shape [batch, words], 1 = word.

        Returns:
            Shape [batch, dim].
        """
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
        is_word = mask[:, : states.shape[1]].unsqueeze(-1).bool()
        if self.pooling == "max":
            return states.masked_fill(~is_word, torch.finfo(states.dtype).min).amax(dim=1)
        return states.masked_fill(~is_word, 0).sum(dim=1) / is_word.sum(dim=1)


class RecurrentEncoder(TextEncoder):
    """One vector per text. A step over few texts has little work, hence more tokens."""

    float32_tokens = 2048


def load(name: str, modality: str, options: EncoderOptions, settings: Settings) -> Encoder:
    """Load `rnn:DIR`.

    Raises:
        MmfeatError: a file is missing, or the files do not fit together.
    """
    title = f"rnn:{name}"
    check_modality(title, ["text"], modality)
    path = files.join(name, "config.json")
    config = files.read_json(path)
    try:
        check_value(config, RecurrentConfig, path)
    except DamagedFileError as error:
        raise MmfeatError(
            f"{title} needs a config.json with kind ({', '.join(KINDS)}), embedding, hidden and "
            f"pooling ({', '.join(POOLINGS)})",
            got=config,
        ) from error
    vocabulary = read_vocabulary(files.join(name, "vocabulary.txt"))
    with loading_errors(title):
        with files.open_input(files.join(name, "model.safetensors")) as file:
            weights = safetensors.torch.load(file.read())
        with torch.device("meta"):  # compares the shapes before memory is allocated for them
            RecurrentModel(len(vocabulary), config).load_state_dict(weights, assign=True)
        model = RecurrentModel(len(vocabulary), config)
        model.load_state_dict(weights)
    identity = {
        "scheme": "rnn",
        "name": "rnn",
        "weights": hash_weights(model),
        "vocabulary": vocabulary.sha256(),
        "config": config,
        "precision": settings.precision,
        "versions": package_versions(),
    }
    runtime = Runtime(model, settings)
    return RecurrentEncoder(TextInputs(vocabulary.word_ids), runtime, identity)


def save(folder: str, model: RecurrentModel, config: dict[str, Any], words: Sequence[str]) -> None:
    """Write the directory that `rnn:DIR` reads.

    Args:
        folder: the directory.
        model: the network.
        config: the configuration of the network.
        words: the vocabulary.
    """
    files.write_json(files.join(folder, "config.json"), config)
    with files.create(files.join(folder, "vocabulary.txt")) as output:
        output.write("\n".join(words).encode() + b"\n")
    with files.create(files.join(folder, "model.safetensors")) as output:
        output.write(safetensors.torch.save(model.state_dict()))
