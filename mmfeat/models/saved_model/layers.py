"""Layers in the documents of a model: config.json, or `chosen` in the manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from mmfeat.features import Column
from mmfeat.models.architecture import (
    ENSEMBLE,
    MAX_MEMBERS,
    MAX_SUPPORT,
    Architecture,
    DecoderLayers,
)

_OWN_FIELDS = ("fusion", "combination", "hidden", "dropout", "modality_dropout")
_DECODER_FIELDS = tuple(DecoderLayers.__dataclass_fields__)


class DecoderConfig(TypedDict):
    """Fields of `DecoderLayers`, bounded so that a hostile document builds nothing endless."""

    layers: Annotated[int, Meta(ge=1, le=256)]
    width: Annotated[int, Meta(ge=1, le=1 << 16)]
    heads: Annotated[int, Meta(ge=1, le=1 << 10)]
    prefix: Annotated[int, Meta(ge=1, le=1 << 10)]
    vocabulary: Annotated[int, Meta(ge=1, le=1 << 20)]
    max_length: Annotated[int, Meta(ge=1, le=1 << 12)]
    pad: int
    bos: int
    eos: int
    language_model: NotRequired[dict[str, Any] | None]


class Layers(TypedDict):
    """Fields of the architecture; the columns and the task determine the others."""

    fusion: str
    combination: str
    hidden: Annotated[int, Meta(ge=1, le=1 << 20)]
    dropout: float
    modality_dropout: float
    conditioning: NotRequired[dict[str, str]]
    support: NotRequired[Annotated[int, Meta(ge=0, le=MAX_SUPPORT)]]


class MemberLayers(Layers):
    """Layers of a member of an ensemble, and the names of its columns."""

    columns: Annotated[list[str], Meta(min_length=1, max_length=256)]


class ModelLayers(Layers):
    """Layers of a model, and the description of its columns."""

    columns: Annotated[list[Column], Meta(min_length=1, max_length=256)]
    members: NotRequired[Annotated[list[MemberLayers], Meta(max_length=MAX_MEMBERS)]]
    decoder: NotRequired[DecoderConfig | None]


_MEMBER_FIELDS = MemberLayers.__required_keys__ | MemberLayers.__optional_keys__


def input_shapes(columns: Sequence[Column]) -> dict[str, Any]:
    """Return the arguments of an `Architecture` that depend on the columns."""
    return {
        "dims": {column.name: column.dim for column in columns},
        "tokens": {column.name: column.max_tokens for column in columns if column.max_tokens},
    }


def model_config(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a model from its manifest, with the layers it has."""
    return {**manifest["config"], **manifest.get("chosen", {})}


def architecture_from_config(
    config: Mapping[str, Any], columns: Sequence[Column], outputs: int
) -> Architecture:
    """Return the architecture of a `ModelLayers`.

    Args:
        config: the document, of the type `ModelLayers`.
        columns: its columns.
        outputs: length of the logits.

    Raises:
        MmfeatError: the layers are impossible, or a member reads a column that is not there.
    """
    members = tuple(
        architecture_from_config(
            # Other keys of the document are not checked.
            {name: member[name] for name in _MEMBER_FIELDS & member.keys()},
            [column for column in columns if column.name in member["columns"]],
            outputs,
        )
        for member in config.get("members", [])
    )
    layers = {name: config[name] for name in _OWN_FIELDS}
    decoder = config.get("decoder")
    return Architecture(
        **input_shapes(columns),
        outputs=outputs,
        **layers,
        conditioning=dict(config.get("conditioning", {})),
        support=config.get("support", 0),
        members=members if config["fusion"] == ENSEMBLE else (),
        decoder=DecoderLayers(**{n: v for n, v in decoder.items() if n in _DECODER_FIELDS})
        if decoder
        else None,
    )


def layers_to_config(architecture: Architecture) -> dict[str, Any]:
    """Return the fields of an architecture for config.json, without its columns.

    Fields that do not apply are left out. The inverse of `architecture_from_config`.
    """
    config = {name: getattr(architecture, name) for name in _OWN_FIELDS}
    if architecture.conditioning:
        config["conditioning"] = dict(architecture.conditioning)
    if architecture.decoder:
        config["decoder"] = asdict(architecture.decoder)
    if architecture.support:
        config["support"] = architecture.support
    if architecture.members:
        config["members"] = [
            {"columns": list(member.dims), **layers_to_config(member)}
            for member in architecture.members
        ]
    return config
