"""A checkpoint of transformers: its weights, none of them pickled, and none of them made up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from torch import Tensor, nn

from mmfeat.encoders.loading import one_line
from mmfeat.encoders.options import require
from mmfeat.encoders.runtime import weights_digest
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError
from mmfeat.store.directory import digest

PROJECTIONS = {
    "image": "get_image_features",
    "text": "get_text_features",
    "audio": "get_audio_features",
}
"""What models of two towers call the way into their common space."""

TOWERS = {
    "image": ("vision_", "visual_"),
    "text": ("text_",),
    "audio": ("audio_",),
}
"""How the names of a tower's parts begin."""

_INPUTS = {
    "pixel_values": "image",
    "input_ids": "text",
    "input_values": "audio",
    "input_features": "audio",
}
"""What other models call their input."""

_UNTELLING = ("transformers_version", "dtype", "torch_dtype")


@dataclass(frozen=True)
class Checkpoint:
    """A model with its weights, cut down to what one modality needs.

    Attributes:
        title: `hf:NAME`, for messages.
        model: in the type its weights are stored in.
        projected: whether it has a space in common with another modality.
        facts: its share of an encoder's identity: two copies of a checkpoint have the same.
    """

    title: str
    model: Any
    projected: bool
    facts: dict[str, Any]
    _transformers: ModuleType
    _source: str
    _arguments: dict[str, Any]

    @classmethod
    def open(cls, name: str, modality: str, settings: Settings) -> Self:
        """Load the weights, from safetensors only.

        Raises:
            MmfeatError: no such checkpoint, weights missing, or not of this modality.
        """
        transformers = require("transformers", "hf")
        source, revision = _split(name)
        title = f"hf:{name}"
        arguments: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code}
        origin: dict[str, Any] = {}
        if not Path(source).is_dir():
            with one_line(title):
                arguments["revision"] = _commit(transformers, source, revision)
            origin = {"name": source, "revision": arguments["revision"]}
        dtype = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
        with quiet(transformers), one_line(title):
            model, report = transformers.AutoModel.from_pretrained(
                source,
                use_safetensors=True,
                output_loading_info=True,
                **{dtype: "auto"},
                **arguments,
            )
        _check_modality(title, model, modality)
        made_up = _made_up(title, model, report)
        projected = hasattr(model, PROJECTIONS[modality])
        if projected:
            _drop_other_towers(model, modality)
        elif getattr(model.config, "is_encoder_decoder", False):
            model = model.get_encoder()
        _settle_made_up(title, model, made_up)
        facts = {
            "scheme": "hf",
            **origin,
            "weights": weights_digest(model),
            "config": digest(_telling(model.config.to_dict())),
        }
        return cls(title, model, projected, facts, transformers, source, arguments)

    def part(self, kind: str) -> Any:
        """The checkpoint's tokenizer, image processor or feature extractor.

        Args:
            kind: a class of transformers: `AutoTokenizer`.
        """
        with quiet(self._transformers):
            found = getattr(self._transformers, kind)
            return found.from_pretrained(self._source, **self._arguments)


@contextmanager
def quiet(transformers: ModuleType) -> Iterator[None]:
    """No bars and no reports of weights that are left aside: what matters is raised."""
    log = transformers.utils.logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()


def _split(name: str) -> tuple[str, str]:
    """Name and revision; a directory may have an @ in its path.

    Raises:
        MmfeatError: what can only be a directory is none.
    """
    if Path(name).is_dir():
        return name, ""
    source, _, revision = name.partition("@")
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise MmfeatError("hf: must name a checkpoint on the hub or a directory", got=name)
    return source, revision


def _commit(transformers: ModuleType, source: str, revision: str) -> str:
    """The commit a revision stands for: all parts of a checkpoint are to be of the same one."""
    file = transformers.utils.cached_file(source, "config.json", revision=revision or "main")
    parts = Path(file).parts  # …/models--OWNER--NAME/snapshots/COMMIT/config.json
    return parts[parts.index("snapshots") + 1]


def _check_modality(title: str, model: Any, modality: str) -> None:
    reads = [name for name, method in PROJECTIONS.items() if hasattr(model, method)]
    reads = reads or [_INPUTS.get(model.main_input_name, model.main_input_name)]
    if modality not in reads:
        raise MmfeatError(f"{title} encodes {' and '.join(reads)}", got=modality)


def _telling(config: Any) -> Any:
    """What of a config.json may change values: not where it lies, or who wrote it."""
    if not isinstance(config, dict):
        return config if isinstance(config, bool | int | float | str | None) else str(config)
    return {
        str(name): _telling(value)
        for name, value in config.items()
        if not str(name).startswith("_") and name not in _UNTELLING
    }


def _drop_other_towers(model: nn.Module, modality: str) -> None:
    others = tuple(p for name, prefixes in TOWERS.items() if name != modality for p in prefixes)
    for name, _ in list(model.named_children()):
        if name.startswith(others):
            delattr(model, name)


def _made_up(title: str, model: Any, report: dict[str, Any]) -> dict[str, Tensor]:
    """Weights that the checkpoint lacks, by name; the library has filled them at random."""
    if report.get("mismatched_keys"):
        raise MmfeatError(f"{title} has weights of another shape than its config.json says")
    values = model.state_dict(keep_vars=True)
    # Before transformers 5 they are named as in a model with a head: vit.pooler.dense.weight.
    names = [name.removeprefix(f"{model.base_model_prefix}.") for name in report["missing_keys"]]
    for name in names:
        if name not in values:
            raise MmfeatError(f"{title} lacks weights of the model", got=name)
    return {name: values[name] for name in names}


def _settle_made_up(title: str, model: Any, made_up: dict[str, Tensor]) -> None:
    """See to it that nothing random reaches a feature.

    Checkpoints of classifiers lack a pooler, which is taken away; the mask of wav2vec2 is used in
    training only.
    """
    if any(name.startswith("pooler.") for name in made_up):
        model.pooler = None
    used = {id(value) for value in model.state_dict(keep_vars=True).values()}
    for name, value in made_up.items():
        if "masked_spec_embed" in name:
            value.data.zero_()
        elif id(value) in used:
            raise MmfeatError(f"{title} lacks weights of the model", got=name)
