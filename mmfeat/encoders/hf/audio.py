"""Sounds through an audio model of transformers: CLAP, wav2vec2 and its kin, Whisper's encoder.

Of two kinds: models of waves read a sound as it is and as long as it is; models of spectrograms see
a window of fixed length, filled up where a sound is shorter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmfeat.encoders.hf.base import HfEncoder, projection, tower
from mmfeat.encoders.hf.checkpoint import Checkpoint
from mmfeat.encoders.options import Options
from mmfeat.encoders.preprocessing import mean_pooled
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError
from mmfeat.media.audio import load_audio

WAVE_SECONDS = 60
"""What is read of a sound by a model that has no bound of its own."""


@dataclass(frozen=True)
class Sound:
    """A sound made ready.

    Attributes:
        values: float32, samples, or a spectrogram.
        samples: how long the sound was, at the model's sampling rate.
    """

    values: np.ndarray
    samples: int


class HfAudio(HfEncoder):
    """A sound's vector, or those of its frames.

    Outputs: `projected`; `pooled`, the model's pooled state or else the mean over the frames that
    hold sound; `tokens`, those frames' rows of the last hidden state, neighbours averaged where
    there are more than `max_tokens`.
    """

    modality = "audio"
    batch_size = 16

    def __init__(self, checkpoint: Checkpoint, options: Options, settings: Settings) -> None:
        super().__init__(checkpoint, options, settings)
        self._extractor = checkpoint.part("AutoFeatureExtractor")
        self._config = checkpoint.model.config
        self.rate = int(self._extractor.sampling_rate)
        self.waves = checkpoint.model.main_input_name == "input_values" and hasattr(
            self._config, "conv_stride"
        )
        self.seconds = WAVE_SECONDS if self.waves else _window(checkpoint.title, self._extractor)
        self.budget = 8 * self.seconds * self.rate
        # Where a whole channel is normalised over time, padding would change a sound's feature.
        self._masked = getattr(self._config, "feat_extract_norm", "group") == "layer"
        self.dim = self.measure(self.prepared(np.zeros(self.rate, np.float32)))
        self._identity = self.facts(
            settings,
            preprocessing=self._extractor.to_dict() | {"seconds": self.seconds},
        )

    def identity(self) -> dict[str, Any]:
        return self._identity

    def decode(self, data: bytes) -> Sound:
        """The beginning of a sound, as the model reads it.

        Raises:
            RecordError: no sound, an empty one, or one that is too large.
        """
        return self.prepared(load_audio(data, self.rate, self.seconds))

    def prepared(self, samples: np.ndarray) -> Sound:
        """Samples at the model's sampling rate as its input."""
        if not self.waves:
            features = self._extractor(samples, sampling_rate=self.rate, return_tensors="np")
            values = np.asarray(features["input_features"][0], np.float32)
            return Sound(values, len(samples))
        if getattr(self._extractor, "do_normalize", False):
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        short = self._least() - len(samples)
        return Sound(np.pad(samples, (0, max(0, short))).astype(np.float32), len(samples))

    def length(self, item: Sound) -> int:
        """Samples."""
        return item.samples

    def encode(self, batch: Sequence[Sound]) -> np.ndarray | list[np.ndarray]:
        if not self.waves:
            rows = self._rows({"input_features": _stacked(batch)}, batch)
        elif self._masked:
            rows = self._rows(_padded(batch), batch)
        else:
            rows = [np.empty(0)] * len(batch)
            for size in {len(item.values) for item in batch}:
                places = [i for i, item in enumerate(batch) if len(item.values) == size]
                alike = [batch[i] for i in places]
                found = self._rows({"input_values": _stacked(alike)}, alike)
                for place, row in zip(places, found, strict=True):
                    rows[place] = row
        return rows if self.max_tokens else np.stack(rows)

    def _rows(self, inputs: dict[str, Tensor], batch: Sequence[Sound]) -> list[np.ndarray]:
        """Each sound's feature."""
        states = self.runtime.run(inputs)
        if states.ndim == 2:
            return list(states.numpy())
        frames = [self._frames(item, states.shape[1]) for item in batch]
        if not self.max_tokens:
            mask = torch.arange(states.shape[1]) < torch.tensor(frames).unsqueeze(1)
            return list(mean_pooled(states, mask).numpy())
        return [
            _shortened(row[:real], self.max_tokens)
            for row, real in zip(states, frames, strict=True)
        ]

    def forward(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        if getattr(self._config, "model_type", "") == "clap":
            # What asks for a longer sound's four views; a sound is never longer than the window.
            count = len(inputs["input_features"])
            longer = torch.zeros(count, 1, dtype=torch.bool, device=inputs["input_features"].device)
            inputs = inputs | {"is_longer": longer}
        if self.output == "projected":
            return projection(model, "audio", **inputs)
        found = tower(model, "audio")(**inputs)
        pooled = getattr(found, "pooler_output", None)
        if self.output == "pooled" and pooled is not None:
            return pooled.flatten(1)
        states = found.last_hidden_state
        # CLAP has a grid of frequencies and times.
        return states.flatten(2).mT if states.ndim == 4 else states

    def _frames(self, sound: Sound, most: int) -> int:
        """How many of the model's frames hold sound."""
        if self.waves:
            return min(self._after_convolutions(len(sound.values)), most)
        if getattr(self._extractor, "padding", "") == "repeatpad":
            return most
        return min(max(1, -(-most * sound.samples // (self.seconds * self.rate))), most)

    def _after_convolutions(self, samples: int) -> int:
        for kernel, stride in zip(self._config.conv_kernel, self._config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def _least(self) -> int:
        """Samples that give one frame."""
        samples = 1
        for kernel, stride in zip(
            self._config.conv_kernel[::-1], self._config.conv_stride[::-1], strict=True
        ):
            samples = (samples - 1) * stride + kernel
        return samples


def _window(title: str, extractor: Any) -> int:
    """Seconds that a model of spectrograms sees.

    Raises:
        MmfeatError: a model that has no window.
    """
    for name in ("chunk_length", "max_length_s"):
        if seconds := getattr(extractor, name, None):
            return int(seconds)
    raise MmfeatError(
        f"{title}: the sounds of such a model cannot be made ready", got=type(extractor).__name__
    )


def _stacked(batch: Sequence[Sound]) -> Tensor:
    return torch.from_numpy(np.stack([item.values for item in batch]))


def _padded(batch: Sequence[Sound]) -> dict[str, Tensor]:
    """Samples of shape [batch, longest], and a mask of the same shape, 1 = a sample."""
    longest = max(len(item.values) for item in batch)
    values = np.zeros((len(batch), longest), np.float32)
    mask = np.zeros((len(batch), longest), np.int64)
    for row, item in enumerate(batch):
        values[row, : len(item.values)] = item.values
        mask[row, : len(item.values)] = 1
    return {"input_values": torch.from_numpy(values), "attention_mask": torch.from_numpy(mask)}


def _shortened(rows: Tensor, most: int) -> np.ndarray:
    """Averages of neighbours, at most so many: shape (tokens, dim)."""
    if len(rows) > most:
        rows = nn.functional.adaptive_avg_pool1d(rows.mT.unsqueeze(0), most)[0].mT
    return rows.contiguous().numpy()
