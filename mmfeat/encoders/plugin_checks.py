"""Check the encoders of other packages: errors in one line, attributes of the right types."""

from collections.abc import Callable
from typing import Any

from mmfeat.encoders.base import Encoder
from mmfeat.errors import MmfeatError
from mmfeat.records import MODALITIES
from mmfeat.store import json_digest


def one_line_errors(load: Callable[..., Encoder], title: str) -> Callable[..., Encoder]:
    """Return a plug-in's `load` whose errors are `MmfeatError`."""

    def checked(*arguments: Any) -> Encoder:
        try:
            encoder = load(*arguments)
        except MmfeatError:
            raise
        except Exception as error:
            raise MmfeatError(
                f"{title}: {type(error).__name__}: {error}",
                cure="Repair it; MMFEAT_LOG=debug shows the traceback",
            ) from error
        if not isinstance(encoder, Encoder):
            raise MmfeatError(
                f"{title} must return an mmfeat.encoders.Encoder", got=type(encoder).__name__
            )
        _check_attributes(encoder, title)
        return encoder

    return checked


def _check_attributes(encoder: Encoder, title: str) -> None:
    """Check what a plug-in's encoder says of itself.

    Raises:
        MmfeatError: an attribute is missing or has another type.
    """
    rules: dict[str, Callable[[Any], bool]] = {
        "modality": lambda value: value in MODALITIES,
        "dim": lambda value: isinstance(value, int) and value > 0,
        "max_tokens": lambda value: isinstance(value, int) and value >= 0,
    }
    for name, is_right in rules.items():
        value = getattr(encoder, name, None)
        if not is_right(value):
            raise MmfeatError(
                f"{title}: {type(encoder).__name__}.{name} must be as mmfeat.encoders.Encoder says",
                got=value,
            )
    identity = encoder.identity()
    try:
        json_digest(identity)
    except (TypeError, ValueError) as error:
        raise MmfeatError(
            f"{title}: {type(encoder).__name__}.identity must return values that JSON has",
            got=str(error),
        ) from error
