"""Generated features of two modalities: an interaction, a selector, and one of noise."""

import numpy as np

Features = dict[str, np.ndarray]


def make_xor(rows: int = 1000, seed: int = 0) -> tuple[Features, list[str]]:
    """Return features whose label is whether two signs agree; one modality tells nothing."""
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (2, rows)) * 2 - 1
    features = {}
    for name, dim, sign in zip(("image", "text"), (64, 48), signs, strict=True):
        direction = rng.normal(size=dim)
        features[name] = sign[:, None] * direction + rng.normal(0, 1, (rows, dim))
    return _to_half(features), ["same" if a == b else "other" for a, b in signs.T]


def make_selector(rows: int = 1000, seed: int = 0) -> tuple[Features, list[str]]:
    """Return features of which the image tells which modality has the label."""
    rng = np.random.default_rng(seed)
    label, other = rng.integers(0, 4, (2, rows))
    in_image = rng.integers(0, 2, rows)
    means, flag = rng.normal(size=(2, 4, 48)), rng.normal(size=48)
    image = means[0][np.where(in_image, label, other)] + (2 * in_image - 1)[:, None] * flag
    text = means[1][np.where(in_image, other, label)]
    features = {
        "image": image + rng.normal(0, 0.7, image.shape),
        "text": text + rng.normal(0, 0.7, text.shape),
    }
    return _to_half(features), [f"class {number}" for number in label]


def make_noise(rows: int = 1000, seed: int = 0) -> tuple[Features, list[str]]:
    """Return features of which the text is noise."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, rows)
    image = rng.normal(size=(4, 48))[label] + rng.normal(0, 2.5, (rows, 48))
    features = {"image": image, "text": rng.normal(size=(rows, 96))}
    return _to_half(features), [f"class {number}" for number in label]


def _to_half(features: Features) -> Features:
    return {name: values.astype(np.float16) for name, values in features.items()}
