"""The built-in audio encoder: statistics of the log-mel spectrogram.

The mel scale (Stevens, Volkmann & Newman, 1937) in the form of O'Shaughnessy, 1987, "Speech
Communication". MFCC after Davis & Mermelstein, 1980, "Comparison of Parametric Representations for
Monosyllabic Word Recognition in Continuously Spoken Sentences". Slopes over time after Furui, 1986,
"Speaker-Independent Isolated Word Recognition Using Dynamic Features of Speech Spectrum". Oriented
gradients of the spectrogram as an image (see `gradients`). Covariances between coefficients at
several time lags keep the order of sounds, wherever they are in the recording.

Audio is not resampled: windows have the same length in seconds, and bands the same width in Hz, at
any sample rate.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.builtin.gradients import (
    normalize_contrast,
    oriented_strength,
    pad_edges,
    scale_to_unit,
    triangular_windows,
)
from mmfeat.errors import RecordError
from mmfeat.media import open_audio, read_mono

VERSION = 1
"""Increase with any change to the values of `encode`."""

MAX_SECONDS = 120
"""Audio after this is not read."""

RATES = (1_000, 192_000)
"""Bounds of the sample rate. Headers may claim any rate, and the memory needed grows with it."""

WINDOW, HOP = 0.025, 0.010
BANDS = 40
LOWEST, HIGHEST = 60.0, 7_600.0

RANGE = 60.0
"""Decibels below the loudest value of the recording that count as silence."""

TRIM = 25.0
"""A recording is trimmed to the part within this many decibels of its loudest window."""

MARGIN = 3
"""Windows kept on both sides of that part."""

COEFFICIENTS = 20
SEGMENTS = 10
"""Number of overlapping parts of the recording that coefficients are pooled over."""

DIRECTIONS = 8
GRADIENT_STEPS = 48
"""Time steps of the spectrogram for gradients."""
GRADIENT_CELLS = (6, 12)
"""Cells in time and pitch that gradients are pooled to."""

COVARIANCES = 13
"""Number of coefficients with covariances."""
LAGS = (0, 4, 8)
"""Time lags of the covariances, in hops."""

_CHUNK_WINDOWS = 512


class LogMelStatistics(Encoder):
    """Timbre and its course over time, for audio of any format, rate, length and channels.

    Loudness is ignored, channels are averaged, and the length is one value. Each block of the
    vector has length 1 or less, so that none dominates.
    """

    modality = "audio"
    uses_one_core = True

    def __init__(self) -> None:
        self.dim = (
            SEGMENTS * (COEFFICIENTS - 1)
            + 2 * BANDS
            + COEFFICIENTS
            + DIRECTIONS * math.prod(GRADIENT_CELLS)
            + sum(len(_pairs(lag)[0]) for lag in LAGS)
            + 1
        )

    def identity(self) -> dict[str, Any]:
        import soundfile

        return {
            "name": "builtin:audio",
            "version": VERSION,
            "max_seconds": MAX_SECONDS,
            "rates": list(RATES),
            "window": WINDOW,
            "hop": HOP,
            "bands": BANDS,
            "hertz": [LOWEST, HIGHEST],
            "range": RANGE,
            "trim": TRIM,
            "margin": MARGIN,
            "coefficients": COEFFICIENTS,
            "segments": SEGMENTS,
            "directions": DIRECTIONS,
            "gradient_steps": GRADIENT_STEPS,
            "gradient_cells": list(GRADIENT_CELLS),
            "covariances": COVARIANCES,
            "lags": list(LAGS),
            # The decoders of lossy formats are part of libsndfile.
            "libsndfile": ".".join(soundfile.__libsndfile_version__.split(".")[:2]),
        }

    def decode(self, data: bytes) -> np.ndarray:
        """Convert an audio file to its log-mel spectrogram, without silence at both ends.

        Returns:
            From 0 (silence) to 1 (the loudest value), float32, shape (windows, BANDS).

        Raises:
            RecordError: `undecodable`, `empty` for no frames, or `too_large`.
        """
        with open_audio(data) as file:
            rate = min(max(file.samplerate, RATES[0]), RATES[1])
            samples = read_mono(file, MAX_SECONDS * rate, repair=True)
            if not len(samples):
                raise RecordError("empty", "no frames")
        return _log_mel(samples, rate)

    def encode(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """Encode spectrograms: float32, shape (len(batch), dim)."""
        features = np.zeros((len(batch), self.dim), np.float32)
        for row, spectrogram in zip(features, batch, strict=True):
            np.concatenate(_blocks(spectrogram), out=row)
        return features


def _log_mel(samples: np.ndarray, rate: int) -> np.ndarray:
    """Compute the spectrogram that `LogMelStatistics.decode` returns."""
    samples = samples - samples.mean(dtype=np.float64).astype(np.float32)
    peak = np.abs(samples).max()
    size = round(WINDOW * rate)
    windows = 1 + max(0, math.ceil((len(samples) / rate - WINDOW) / HOP))
    if peak < 1e-9:
        return np.zeros((windows, BANDS), np.float32)
    starts = np.round(np.arange(windows) * (HOP * rate)).astype(np.int64)
    samples = np.pad(samples / peak, (0, max(0, int(starts[-1]) + size - len(samples))))
    views = np.lib.stride_tricks.sliding_window_view(samples, size)
    filters, taper, fft_length = _mel_filters(rate)
    power = np.empty((windows, BANDS), np.float32)
    for start in range(0, windows, _CHUNK_WINDOWS):
        chunk = slice(start, start + _CHUNK_WINDOWS)
        spectrum = np.fft.rfft(views[starts[chunk]] * taper, fft_length)
        power[chunk] = (spectrum.real**2 + spectrum.imag**2) @ filters
    loudness = power.sum(axis=1)
    if loudness.max() <= 0:  # at very low rates, all energy may lie between the bands
        return np.zeros((windows, BANDS), np.float32)
    loud = np.flatnonzero(loudness > loudness.max() * 10 ** (-TRIM / 10))
    power = power[max(loud[0] - MARGIN, 0) : loud[-1] + 1 + MARGIN] / power.max()
    decibels = 10 * np.log10(np.maximum(power, 10 ** (-RANGE / 10)))
    return (decibels / RANGE + 1).astype(np.float32)


@lru_cache(8)
def _mel_filters(rate: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return triangular mel filters, shape (bins, BANDS), a Hann window, and the FFT length.

    Bins are at most 16 Hz wide, a third of the narrowest band, so the rate has little effect.
    """
    size = round(WINDOW * rate)
    fft_length = 1 << math.ceil(math.log2(max(rate / 16, size)))
    edges = np.linspace(_to_mel(np.array(LOWEST)), _to_mel(np.array(HIGHEST)), BANDS + 2)
    mels = _to_mel(np.arange(fft_length // 2 + 1) * (rate / fft_length))[:, None]
    rise = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rise, fall)).astype(np.float32)
    return filters, np.hanning(size + 2)[1:-1].astype(np.float32), fft_length


def _to_mel(hertz: np.ndarray) -> np.ndarray:
    return 2595 * np.log10(1 + hertz / 700)


def _blocks(spectrogram: np.ndarray) -> list[np.ndarray]:
    """Return the blocks of a recording's vector, each flat."""
    steps = len(spectrogram)
    coefficients = spectrogram @ _cosines().T
    mean = spectrogram.mean(axis=0)
    return [
        scale_to_unit(_windows(steps, SEGMENTS) @ coefficients[:, 1:]),
        0.5 * scale_to_unit(mean - mean.mean()),
        0.5 * scale_to_unit(spectrogram.std(axis=0)),
        0.5 * scale_to_unit(_slopes(coefficients).std(axis=0)),
        scale_to_unit(np.sqrt(_gradient_cells(spectrogram))),
        *(0.6 * scale_to_unit(covariance) for covariance in _covariances(coefficients)),
        np.array([math.log(1 + steps) / 10]),
    ]


def _windows(steps: int, cells: int) -> np.ndarray:
    return triangular_windows(steps, cells, floor=1e-9)


@lru_cache
def _cosines() -> np.ndarray:
    """Return the first rows of the orthogonal cosine transform, shape (COEFFICIENTS, BANDS)."""
    angles = np.pi / BANDS * (np.arange(BANDS) + 0.5) * np.arange(COEFFICIENTS)[:, None]
    return (np.cos(angles) * math.sqrt(2 / BANDS)).astype(np.float32)


def _slopes(coefficients: np.ndarray) -> np.ndarray:
    """Return the slope of a line through each five neighbours in time, same shape."""
    padded = np.pad(coefficients, ((2, 2), (0, 0)), mode="edge")
    return (2 * (padded[4:] - padded[:-4]) + padded[3:-1] - padded[1:-3]) / 10


def _covariances(coefficients: np.ndarray) -> list[np.ndarray]:
    """Return the covariances of coefficients at each lag, damped by a square root."""
    centred = coefficients[:, :COVARIANCES] - coefficients[:, :COVARIANCES].mean(axis=0)
    centred = centred / np.sqrt(np.square(centred).mean() + 1e-6)
    blocks = []
    for lag in LAGS:
        # A recording shorter than the lag has no pairs of windows, hence zeros.
        covariance = centred[: max(len(centred) - lag, 0)].T @ centred[lag:] / len(centred)
        values = covariance[_pairs(lag)]
        blocks.append(np.sign(values) * np.sqrt(np.abs(values)))
    return blocks


@lru_cache
def _pairs(lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the entries used of a covariance matrix. At lag 0 it is symmetric: half is enough."""
    matrix = np.ones((COVARIANCES, COVARIANCES), bool)
    rows, columns = np.nonzero(matrix if lag else np.triu(matrix))
    return rows, columns


def _gradient_cells(spectrogram: np.ndarray) -> np.ndarray:
    """Pool changes in time and pitch by direction and place, relative to neighbouring cells.

    Returns:
        Values in [0, 1], shape (DIRECTIONS, *GRADIENT_CELLS).
    """
    times, pitches = GRADIENT_CELLS
    image = _windows(len(spectrogram), GRADIENT_STEPS) @ spectrogram
    padded = pad_edges(image)
    in_time = padded[2:, 1:-1] - padded[:-2, 1:-1]
    in_pitch = padded[1:-1, 2:] - padded[1:-1, :-2]
    strength = oriented_strength(in_time, in_pitch, DIRECTIONS)
    pooled = _windows(GRADIENT_STEPS, times) @ strength @ _windows(BANDS, pitches).T
    return normalize_contrast(pooled, floor=0.02)
