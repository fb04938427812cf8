"""A frozen audio encoder that needs no download: what a log-mel spectrogram looks like.

Loudness over time in bands as wide as the ear's: the mel scale of Stevens, Volkmann & Newman, 1937,
in the form of O'Shaughnessy, 1987, "Speech Communication". Its cosine transform, MFCC, after Davis
& Mermelstein, 1980, "Comparison of Parametric Representations for Monosyllabic Word Recognition in
Continuously Spoken Sentences"; slopes over time after Furui, 1986, "Speaker-Independent Isolated
Word Recognition Using Dynamic Features of Speech Spectrum". The spectrogram is also looked at as a
picture, by oriented gradients (Dalal & Triggs, 2005). Covariances between coefficients, now and a
little later, keep the order of sounds wherever in the recording they stand.

No sound is resampled: windows are as long in seconds and bands as wide in Hz at any sample rate.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from mmfeat.encoders.base import Encoder
from mmfeat.errors import RecordError
from mmfeat.media.audio import open_audio

VERSION = 1
"""Goes up with any change of a value that `encode` returns."""

MAX_SECONDS = 120
"""Sound beyond this is not read."""

RATES = (1_000, 192_000)
"""A sound of fewer or more frames a second is read as if it had this many: the rate is a number in
a header that nobody checks, and memory would follow from it."""

WINDOW, HOP = 0.025, 0.010
BANDS = 40
LOWEST, HIGHEST = 60.0, 7_600.0

RANGE = 60.0
"""Decibels below the loudest value of the recording that count as nothing."""

TRIM = 25.0
"""A recording begins and ends where it comes within so many decibels of its loudest moment."""

MARGIN = 3
"""Windows kept on both sides of that."""

COEFFICIENTS = 20
SEGMENTS = 10
"""Coefficients are pooled over so many overlapping parts of the recording."""

DIRECTIONS = 8
GRADIENT_STEPS = 48
"""Gradients are taken of the recording brought to so many steps in time, …"""
GRADIENT_CELLS = (6, 12)
"""… and pooled to so many cells in time and in pitch."""

COVARIANCES = 13
LAGS = (0, 4, 8)
"""Covariances are those of the first so many coefficients with themselves so many hops later."""

_BLOCK = 64 * 1024
_CHUNK = 512


class LogMelStatistics(Encoder):
    """Timbre, course and change of a sound of any format, rate, length and number of channels.

    Loudness does not matter, nor the channels, which are mixed; the length is one number. Each
    block of the vector has length 1 or less, so none drowns the others.
    """

    modality = "audio"

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
            # Lossy formats are decoded by what libsndfile brings along, and move with it.
            "libsndfile": ".".join(soundfile.__libsndfile_version__.split(".")[:2]),
        }

    def decode(self, data: bytes) -> np.ndarray:
        """A sound file as its log-mel spectrogram, without the quiet at both ends.

        Returns:
            0 (nothing) to 1 (the loudest), float32, shape (windows, BANDS).

        Raises:
            RecordError: `undecodable`, `empty` where there are no frames, or `too_large`.
        """
        return _log_mel(*_read_mono(data))

    def encode(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """Sounds as float32, shape (len(batch), dim)."""
        features = np.zeros((len(batch), self.dim), np.float32)
        for row, spectrogram in zip(features, batch, strict=True):
            np.concatenate(_blocks(spectrogram), out=row)
        return features


def _read_mono(data: bytes) -> tuple[np.ndarray, int]:
    """The mean of the channels, float32, shape (frames,), and the rate, within bounds."""
    with open_audio(data) as file:
        rate = min(max(file.samplerate, RATES[0]), RATES[1])
        block = np.empty((_BLOCK, file.channels), np.float32)
        mono, left = [], MAX_SECONDS * rate
        while left and file.frames:
            read = file.buffer_read_into(block[: min(left, _BLOCK)], dtype="float32")
            if not read:
                break
            # Floats may be anything. Those beyond these bounds are no sound.
            part = np.nan_to_num(block[:read], nan=0, posinf=0, neginf=0).clip(-1e9, 1e9)
            mono.append(part.mean(axis=1))
            left -= read
        if not mono:
            raise RecordError("empty", "no frames")
        return np.concatenate(mono), rate


def _log_mel(sound: np.ndarray, rate: int) -> np.ndarray:
    """See `LogMelStatistics.decode`."""
    sound = sound - sound.mean(dtype=np.float64).astype(np.float32)
    peak = np.abs(sound).max()
    size = round(WINDOW * rate)
    windows = 1 + max(0, math.ceil((len(sound) / rate - WINDOW) / HOP))
    if peak < 1e-9:
        return np.zeros((windows, BANDS), np.float32)
    starts = np.round(np.arange(windows) * (HOP * rate)).astype(np.int64)
    sound = np.pad(sound / peak, (0, max(0, int(starts[-1]) + size - len(sound))))
    views = np.lib.stride_tricks.sliding_window_view(sound, size)
    filters, shape, padded = _filters(rate)
    power = np.empty((windows, BANDS), np.float32)
    for start in range(0, windows, _CHUNK):
        spectrum = np.fft.rfft(views[starts[start : start + _CHUNK]] * shape, padded)
        power[start : start + _CHUNK] = (spectrum.real**2 + spectrum.imag**2) @ filters
    loudness = power.sum(axis=1)
    if loudness.max() <= 0:  # all of it between the bands of a very low rate
        return np.zeros((windows, BANDS), np.float32)
    heard = np.flatnonzero(loudness > loudness.max() * 10 ** (-TRIM / 10))
    power = power[max(heard[0] - MARGIN, 0) : heard[-1] + 1 + MARGIN] / power.max()
    decibels = 10 * np.log10(np.maximum(power, 10 ** (-RANGE / 10)))
    return (decibels / RANGE + 1).astype(np.float32)


@lru_cache(8)
def _filters(rate: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Triangles on the mel scale, shape (bins, BANDS); a Hann window; the transform's length.

    Bins lie at most 16 Hz apart, a third of the narrowest band, so that the rate shows little.
    """
    size = round(WINDOW * rate)
    padded = 1 << math.ceil(math.log2(max(rate / 16, size)))
    edges = np.linspace(_mel(np.array(LOWEST)), _mel(np.array(HIGHEST)), BANDS + 2)
    mels = _mel(np.arange(padded // 2 + 1) * (rate / padded))[:, None]
    rise = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rise, fall)).astype(np.float32)
    return filters, np.hanning(size + 2)[1:-1].astype(np.float32), padded


def _mel(hertz: np.ndarray) -> np.ndarray:
    return 2595 * np.log10(1 + hertz / 700)


def _blocks(spectrogram: np.ndarray) -> list[np.ndarray]:
    """The parts of one sound's vector, each flat."""
    steps = len(spectrogram)
    coefficients = spectrogram @ _cosines().T
    mean = spectrogram.mean(axis=0)
    return [
        _unit(_windows(steps, SEGMENTS) @ coefficients[:, 1:]),
        0.5 * _unit(mean - mean.mean()),
        0.5 * _unit(spectrogram.std(axis=0)),
        0.5 * _unit(_slopes(coefficients).std(axis=0)),
        _unit(np.sqrt(_gradient_cells(spectrogram))),
        *(0.6 * _unit(covariance) for covariance in _covariances(coefficients)),
        np.array([math.log(1 + steps) / 10]),
    ]


@lru_cache
def _cosines() -> np.ndarray:
    """The first rows of the orthogonal cosine transform, shape (COEFFICIENTS, BANDS)."""
    angles = np.pi / BANDS * (np.arange(BANDS) + 0.5) * np.arange(COEFFICIENTS)[:, None]
    return (np.cos(angles) * math.sqrt(2 / BANDS)).astype(np.float32)


def _slopes(coefficients: np.ndarray) -> np.ndarray:
    """Slope of the line through each five neighbours in time, shape as given."""
    padded = np.pad(coefficients, ((2, 2), (0, 0)), mode="edge")
    return (2 * (padded[4:] - padded[:-4]) + padded[3:-1] - padded[1:-3]) / 10


def _covariances(coefficients: np.ndarray) -> list[np.ndarray]:
    """Covariances of coefficients with those `lag` windows later, damped by a square root."""
    centred = coefficients[:, :COVARIANCES] - coefficients[:, :COVARIANCES].mean(axis=0)
    centred = centred / np.sqrt(np.square(centred).mean() + 1e-6)
    found = []
    for lag in LAGS:
        # A recording shorter than the lag leaves no windows to multiply, hence zeros.
        covariance = centred[: max(len(centred) - lag, 0)].T @ centred[lag:] / len(centred)
        pairs = covariance[_pairs(lag)]
        found.append(np.sign(pairs) * np.sqrt(np.abs(pairs)))
    return found


@lru_cache
def _pairs(lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in a matrix of covariances: without lag it is symmetric, and half of it is enough."""
    whole = np.ones((COVARIANCES, COVARIANCES), bool)
    rows, columns = np.nonzero(whole if lag else np.triu(whole))
    return rows, columns


def _gradient_cells(spectrogram: np.ndarray) -> np.ndarray:
    """Rises and falls in time and pitch, by direction and place, relative to their surroundings.

    Returns:
        Values in [0, 1], shape (DIRECTIONS, *GRADIENT_CELLS).
    """
    times, pitches = GRADIENT_CELLS
    picture = _windows(len(spectrogram), GRADIENT_STEPS) @ spectrogram
    padded = np.pad(picture, 1, mode="edge")
    later, higher = padded[2:, 1:-1] - padded[:-2, 1:-1], padded[1:-1, 2:] - padded[1:-1, :-2]
    strength = np.sqrt(later * later + higher * higher)
    later, higher = later / (strength + 1e-6), higher / (strength + 1e-6)
    angles = (2 * np.pi / DIRECTIONS * np.arange(DIRECTIONS, dtype=np.float32))[:, None, None]
    cosine = np.maximum(np.cos(angles) * later + np.sin(angles) * higher, 0)
    squared = cosine * cosine
    # The sixth power by hand: numpy's own float power is ten times slower.
    tuned = squared * squared * squared * strength
    pooled = _windows(GRADIENT_STEPS, times) @ tuned @ _windows(BANDS, pitches).T
    # Contrast of the 3 x 3 cells around; the floor keeps noise in flat cells from being blown up.
    around = np.pad((pooled * pooled).sum(axis=0), 1, mode="edge")
    mean = sum(around[t : t + times, p : p + pitches] for t in range(3) for p in range(3)) / 9
    return np.minimum(pooled / np.sqrt(mean + 0.02**2), 1)


def _windows(steps: int, cells: int) -> np.ndarray:
    """Overlapping triangular windows over time or pitch, shape (cells, steps), each of sum 1."""
    width = steps / cells
    centres = (np.arange(cells) + 0.5) * width
    # At least one step wide: with fewer steps than cells, neighbouring cells see the same step.
    distance = np.abs(np.arange(steps) + 0.5 - centres[:, None]) / max(width, 1)
    weights = np.maximum(1e-9, 1 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _unit(block: np.ndarray) -> np.ndarray:
    """The block, flat and of length 1; smaller where there is next to nothing in it."""
    flat = block.ravel()
    return flat / np.sqrt(np.square(flat).sum() + 1e-4)
