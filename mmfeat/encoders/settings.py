"""Settings of encoders: those of the whole command, and the options of one `--encoder`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mmfeat.errors import MmfeatError, did_you_mean

Compile = Literal["auto", "on", "off"]
Decode = Literal["auto", "cpu", "gpu"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Settings:
    """Settings that all encoders of a command share.

    Attributes:
        device: `auto`, `cpu`, `cuda`, or `cuda:0,1`.
        precision: data type of weights and activations. Autotuning resolves `auto` before any
            feature is computed.
        reduced_decoding: decode a JPEG at a fraction of its size if that is still at least the
            size the encoder needs.
        threads: batches that a CPU encodes at the same time, each on one core. 0 = one batch on
            all cores.
        decode: where to decode JPEGs: `cpu`, or `gpu` if it can read them. Autotuning resolves
            `auto`.
        compile: whether to compile the forward pass; for `Encoder.compiled`, not for loading.
        trust_remote_code: allow code from a checkpoint to run.
    """

    device: str = "auto"
    precision: Precision = "float32"
    reduced_decoding: bool = True
    threads: int = 0
    decode: Decode = "cpu"
    compile: Compile = "off"
    trust_remote_code: bool = False


class EncoderOptions:
    """Reader of the options after the `?` of an encoder's name.

    Call `reject_unknown` after the last option is read.

    Args:
        encoder: name of the encoder, for error messages.
        values: option → value, as text.
    """

    def __init__(self, encoder: str, values: Mapping[str, str]) -> None:
        self._encoder = encoder
        self._unread = dict(values)
        self._known: list[str] = []

    def get_text(self, name: str, default: str, choices: Sequence[str] = ()) -> str:
        """Return an option's value. If `choices` are given, it must be one of them."""
        self._known.append(name)
        value = self._unread.pop(name, default)
        if choices and value not in choices:
            raise MmfeatError(
                f"{self._encoder}: {name} must be one of {', '.join(choices)}", got=value
            )
        return value

    def get_int(self, name: str, default: int, low: int, high: int) -> int:
        """Return an option's value as an integer from `low` to `high`."""
        text = self.get_text(name, str(default))
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise MmfeatError(
                f"{self._encoder}: {name} must be a number from {low} to {high}", got=text
            )
        return int(text)

    def get_flag(self, name: str, *, default: bool = False) -> bool:
        """Return an option's value, 0 or 1, as a bool."""
        return self.get_text(name, "1" if default else "0", ("0", "1")) == "1"

    def get_output(self, choices: Sequence[str], limit: int = 1 << 16) -> tuple[str, int]:
        """Read `output` and, for the output `tokens`, `max_tokens`.

        Args:
            choices: outputs of the model. The first is the default.
            limit: upper bound of `max_tokens`.

        Returns:
            The output, and the maximum number of tokens: 0 for one vector per record.
        """
        output = self.get_text("output", choices[0], choices)
        return output, self.get_int("max_tokens", 64, 1, limit) if output == "tokens" else 0

    def reject_unknown(self) -> None:
        """Raise an error if an option was given but never read."""
        for name in self._unread:
            cure = f"{did_you_mean(name, self._known)} Options: {', '.join(self._known) or 'none'}"
            raise MmfeatError(f"{self._encoder} has no such option", got=name, cure=cure.strip())


def check_modality(title: str, encoded: Sequence[str], modality: str) -> None:
    """Check that an encoder encodes the modality of its column.

    Args:
        title: the encoder as the user wrote it.
        encoded: the modalities that it encodes.
        modality: the modality of the slot that the column reads.

    Raises:
        MmfeatError: it encodes others.
    """
    if modality not in encoded:
        raise MmfeatError(
            f"{title} encodes {' and '.join(encoded)}",
            got=modality,
            cure=f"Choose an encoder of {modality} for this column, or let the column read "
            f"{encoded[0]}: --encoder COLUMN:{encoded[0]}={title}",
        )
