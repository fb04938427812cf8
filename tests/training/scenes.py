"""Scenes: two coloured shapes; the picture has the shapes, the text feature the style to write."""

from collections.abc import Sequence

import numpy as np

from tests.training.stores import Records

COLOURS = ("red", "green", "blue")
SHAPES = ("circle", "square")
KINDS = len(COLOURS) * len(SHAPES)
NOISE = 0.05


def shape_name(number: int) -> str:
    return f"{COLOURS[number // len(SHAPES)]} {SHAPES[number % len(SHAPES)]}"


def caption(left: int, right: int, style: int) -> str:
    if style:
        return f"{shape_name(right)} - {shape_name(left)} to its left!"
    return f"a {shape_name(left)} left of a {shape_name(right)}"


def scene_records(
    count: int = 400, seed: int = 0, tokens: bool = False, missing: float = 0.0
) -> Records:
    """Return scenes with random shapes and styles.

    Args:
        count: number of records.
        seed: seed of the scenes.
        tokens: whether the picture is two tokens, one per shape, instead of one vector.
        missing: fraction of the records that lack a modality, for each of both.
    """
    random = np.random.default_rng(seed)
    left, right = random.integers(KINDS, size=(2, count))
    style = random.integers(2, size=count)
    place = np.random.default_rng(1).normal(size=(2, KINDS, 16))
    shapes = np.stack([place[0][left], place[1][right]], axis=1)
    pictures = shapes if tokens else shapes.reshape(count, -1)
    styles = np.random.default_rng(2).normal(size=(2, 8))[style]
    return Records(
        features={
            "image": noisy(pictures, random),
            "text": noisy(styles, random),
        },
        metadata={"caption": [caption(*values) for values in zip(left, right, style, strict=True)]},
        present={name: random.random(count) >= missing for name in ("image", "text")},
    )


def noisy(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return (values + NOISE * random.normal(size=values.shape)).astype(np.float16)


def describe_flags(epochs: int = 2, extra: Sequence[str] = ()) -> list[str]:
    """Return the flags of a small decoder."""
    return [
        *("--task", "describe", "--target", "caption", "--hidden", "128", "--epochs", str(epochs)),
        *("--decoder-layers", "2", "--decoder-width", "64", "--decoder-prefix", "2"),
        *("--dropout", "0.1", *extra),
    ]
