"""A language model as decoder: weights, tokens and configuration, from a local folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from mmfeat.encoders.neural.loading import (
    check_weight_files,
    hash_weights,
    import_optional,
    loading_errors,
)
from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import DecoderLayers
from mmfeat.models.decoder.text_codec import (
    MAX_TOKENIZER_BYTES,
    TOKENIZER,
    TextCodec,
    read_pretrained,
)

SCHEME = "hf:"

_LEFT_OUT = ("transformers_version", "dtype", "torch_dtype", "auto_map", "quantization_config")


@dataclass(frozen=True)
class PretrainedDecoder:
    """A causal language model.

    Attributes:
        config: its configuration, ready for JSON.
        weights: name → tensor, float32.
        sha256: digest of the weights.
        codec: its tokens.
        width: length of a token's vector.
        vocabulary: number of tokens that it has vectors of.
        positions: largest number of positions; None = unknown.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]
    sha256: str
    codec: TextCodec
    width: int
    vocabulary: int
    positions: int | None

    def layers(self, prefix: int, max_length: int) -> DecoderLayers:
        """Return the layers of a model with this decoder.

        Args:
            prefix: number of vectors before the text.
            max_length: maximum number of tokens of a text, with the end token.

        Raises:
            MmfeatError: the language model has fewer positions.
        """
        needed = prefix + max_length
        if self.positions is not None and needed > self.positions:
            raise MmfeatError(
                f"the language model of --decoder has {self.positions} positions",
                got=f"{prefix} of the prefix and {max_length} of a text",
                cure="Use a smaller --text-tokens or --decoder-prefix",
            )
        return DecoderLayers(
            layers=max(1, int(self.config.get("num_hidden_layers", 1) or 1)),
            width=self.width,
            heads=1,
            prefix=prefix,
            vocabulary=self.vocabulary,
            max_length=max_length,
            pad=self.codec.pad,
            bos=self.codec.bos,
            eos=self.codec.eos,
            language_model=self.config,
        )


def load_pretrained(decoder: str) -> PretrainedDecoder:
    """Load the language model of `--decoder hf:PATH`.

    Nothing is downloaded, no code of the folder is run, and no pickle is read.

    Raises:
        MmfeatError: there is no such folder, or it holds no causal language model with safetensors
            weights, a tokenizer.json and an end token.
    """
    path = decoder.removeprefix(SCHEME)
    if not Path(path, "config.json").is_file():
        raise MmfeatError(
            "--decoder hf:PATH must be a local folder with config.json and safetensors weights",
            got=decoder,
            cure="Write one with save_pretrained, or download it with huggingface-cli download",
        )
    transformers = import_optional("transformers", "transformers")
    check_weight_files(decoder, path)
    dtype = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    with _no_progress_bar(transformers), loading_errors(decoder):
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            path,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **{dtype: "float32"},
        )
    if lacking := report.get("missing_keys"):
        raise MmfeatError(f"{decoder} lacks weights of the model", got=sorted(lacking)[:3])
    values = json.loads(json.dumps(model.config.to_dict(), default=str))
    embedding = model.get_input_embeddings().weight
    return PretrainedDecoder(
        config={k: v for k, v in values.items() if k not in _LEFT_OUT and not k.startswith("_")},
        weights=dict(model.state_dict()),
        sha256=hash_weights(model),
        codec=_read_codec(decoder, path, model.config),
        width=embedding.shape[1],
        vocabulary=embedding.shape[0],
        positions=getattr(model.config, "max_position_embeddings", None),
    )


@contextmanager
def _no_progress_bar(transformers: ModuleType) -> Iterator[None]:
    log = transformers.utils.logging
    had_bar = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        yield
    finally:
        if had_bar:
            log.enable_progress_bar()


def _read_codec(decoder: str, path: str, config: Any) -> TextCodec:
    file = Path(path, TOKENIZER)
    if not file.is_file() or file.stat().st_size > MAX_TOKENIZER_BYTES:
        raise MmfeatError(
            f"{decoder} must have a {TOKENIZER} of at most {MAX_TOKENIZER_BYTES:,} bytes",
            got=file.stat().st_size if file.is_file() else None,
        )
    eos = config.eos_token_id
    eos = eos[0] if isinstance(eos, list) and eos else eos
    if not isinstance(eos, int):
        raise MmfeatError(f"{decoder} must have an end token, eos_token_id", got=eos)
    others = {"bos": config.bos_token_id, "pad": config.pad_token_id}
    special = {name: eos if token is None else int(token) for name, token in others.items()}
    return read_pretrained(file.read_bytes(), {**special, "eos": eos}, str(file))
