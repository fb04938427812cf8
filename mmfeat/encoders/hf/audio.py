"""Encoders of sounds by transformers: CLAP, wav2vec2 and similar, and the encoder of Whisper.

Waveform models read a sound of any length. Spectrogram models read a window of fixed length, with
shorter sounds padded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmfeat.encoders.hf.checkpoint import Checkpoint, find_tower, project
from mmfeat.encoders.neural.base import NeuralEncoder
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.encoders.neural.text_encoder import mean_pool
from mmfeat.encoders.settings import EncoderOptions, Settings
from mmfeat.errors import MmfeatError
from mmfeat.media import load_audio

WAVEFORM_SECONDS = 60
"""Maximum duration that waveform models read."""


@dataclass(frozen=True)
class AudioInput:
    """A sound in the form that a model reads.

    Attributes:
        values: float32: samples, or a spectrogram.
        samples: length of the sound, at the sample rate of the model.
    """

    values: np.ndarray
    samples: int


class HfAudio(NeuralEncoder):
    """One vector per sound, or one per frame.

    Outputs: `projected`; `pooled`, the pooled state of the model, or the mean over the frames that
    contain sound; `tokens`, those frames of the last hidden state, with neighbours averaged if
    there are more than `max_tokens`.
    """

    modality = "audio"
    batch_size = 16

    def __init__(self, checkpoint: Checkpoint, options: EncoderOptions, settings: Settings) -> None:
        self.output, self.max_tokens = options.get_output(checkpoint.outputs)
        self._runtime = Runtime(checkpoint.model, settings, self._forward)
        self.on_gpu = self._runtime.on_gpu
        self.parallel_batches = self._runtime.parallel_batches
        self._extractor = checkpoint.load_processor("AutoFeatureExtractor")
        self._config = checkpoint.model.config
        self.rate = int(self._extractor.sampling_rate)
        self._reads_waveform = checkpoint.model.main_input_name == "input_values" and hasattr(
            self._config, "conv_stride"
        )
        self.seconds = (
            WAVEFORM_SECONDS
            if self._reads_waveform
            else _window_seconds(checkpoint.title, self._extractor)
        )
        self.budget = 8 * self.seconds * self.rate
        # Group norm runs over time, so padding would change the feature of a sound.
        self._can_pad = getattr(self._config, "feat_extract_norm", "group") == "layer"
        silence = self._prepare(np.zeros(self.rate, np.float32))
        self.dim = int(self.encode([silence])[0].shape[-1])
        preprocessing = self._extractor.to_dict() | {"seconds": self.seconds}
        self._identity = checkpoint.identity(
            "audio", self.output, self.max_tokens, settings, preprocessing=preprocessing
        )

    def decode(self, data: bytes) -> AudioInput:
        """Decode the start of a sound to the input of the model.

        Raises:
            RecordError: `undecodable`, `empty`, or `too_large`.
        """
        return self._prepare(load_audio(data, self.rate, self.seconds))

    def _prepare(self, samples: np.ndarray) -> AudioInput:
        """Convert samples at the sample rate of the model to its input."""
        if not self._reads_waveform:
            features = self._extractor(samples, sampling_rate=self.rate, return_tensors="np")
            values = np.asarray(features["input_features"][0], np.float32)
            return AudioInput(values, len(samples))
        if getattr(self._extractor, "do_normalize", False):
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        missing = self._min_samples() - len(samples)
        return AudioInput(np.pad(samples, (0, max(0, missing))).astype(np.float32), len(samples))

    def length(self, item: AudioInput) -> int:
        """Return the number of samples."""
        return item.samples

    def encode(self, batch: Sequence[AudioInput]) -> np.ndarray | list[np.ndarray]:
        if not self._reads_waveform:
            rows = self._encode_rows({"input_features": _stack(batch)}, batch)
        elif self._can_pad:
            rows = self._encode_rows(_pad(batch), batch)
        else:
            rows = [np.empty(0)] * len(batch)
            for size in {len(item.values) for item in batch}:
                indices = [i for i, item in enumerate(batch) if len(item.values) == size]
                same_size = [batch[i] for i in indices]
                features = self._encode_rows({"input_values": _stack(same_size)}, same_size)
                for index, row in zip(indices, features, strict=True):
                    rows[index] = row
        return rows if self.max_tokens else np.stack(rows)

    def _encode_rows(
        self, inputs: dict[str, Tensor], batch: Sequence[AudioInput]
    ) -> list[np.ndarray]:
        """Return the feature of each sound."""
        states = self._runtime.run(inputs)
        if states.ndim == 2:
            return list(states.numpy())
        frames = [self._count_frames(item, states.shape[1]) for item in batch]
        if not self.max_tokens:
            mask = torch.arange(states.shape[1]) < torch.tensor(frames).unsqueeze(1)
            return list(mean_pool(states, mask).numpy())
        return [
            _limit_frames(row[:count], self.max_tokens)
            for row, count in zip(states, frames, strict=True)
        ]

    def _forward(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        if getattr(self._config, "model_type", "") == "clap":
            # CLAP splits sounds longer than its window. Sounds are cut to the window here.
            features = inputs["input_features"]
            is_longer = torch.zeros(len(features), 1, dtype=torch.bool, device=features.device)
            inputs = inputs | {"is_longer": is_longer}
        if self.output == "projected":
            return project(model, "audio", **inputs)
        result = find_tower(model, "audio")(**inputs)
        pooled = getattr(result, "pooler_output", None)
        if self.output == "pooled" and pooled is not None:
            return pooled.flatten(1)
        states = result.last_hidden_state
        # CLAP returns a grid of frequencies and times.
        return states.flatten(2).mT if states.ndim == 4 else states

    def _count_frames(self, item: AudioInput, max_frames: int) -> int:
        """Return the number of model frames that contain sound."""
        if self._reads_waveform:
            return min(self._convolved_length(len(item.values)), max_frames)
        if getattr(self._extractor, "padding", "") == "repeatpad":
            return max_frames
        window = self.seconds * self.rate
        return min(max(1, -(-max_frames * item.samples // window)), max_frames)

    def _convolved_length(self, samples: int) -> int:
        for kernel, stride in zip(self._config.conv_kernel, self._config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def _min_samples(self) -> int:
        """Return the number of samples of one frame."""
        samples = 1
        for kernel, stride in zip(
            self._config.conv_kernel[::-1], self._config.conv_stride[::-1], strict=True
        ):
            samples = (samples - 1) * stride + kernel
        return samples


def _window_seconds(title: str, extractor: Any) -> int:
    """Return the window of a spectrogram model in seconds.

    Raises:
        MmfeatError: the feature extractor has no window.
    """
    for name in ("chunk_length", "max_length_s"):
        if seconds := getattr(extractor, name, None):
            return int(seconds)
    raise MmfeatError(
        f"{title} must have a feature extractor with chunk_length or max_length_s",
        got=type(extractor).__name__,
    )


def _stack(batch: Sequence[AudioInput]) -> Tensor:
    return torch.from_numpy(np.stack([item.values for item in batch]))


def _pad(batch: Sequence[AudioInput]) -> dict[str, Tensor]:
    """Return samples of shape [batch, longest], and a mask of the same shape, 1 = sample."""
    longest = max(len(item.values) for item in batch)
    values = np.zeros((len(batch), longest), np.float32)
    mask = np.zeros((len(batch), longest), np.int64)
    for row, item in enumerate(batch):
        values[row, : len(item.values)] = item.values
        mask[row, : len(item.values)] = 1
    return {"input_values": torch.from_numpy(values), "attention_mask": torch.from_numpy(mask)}


def _limit_frames(rows: Tensor, max_tokens: int) -> np.ndarray:
    """Average neighbours until there are at most `max_tokens`: shape (tokens, dim)."""
    if len(rows) > max_tokens:
        rows = nn.functional.adaptive_avg_pool1d(rows.mT.unsqueeze(0), max_tokens)[0].mT
    return rows.contiguous().numpy()
