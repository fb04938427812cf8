"""Hash the rows of a feature array to find equal vectors."""

import numpy as np


def row_hashes(features: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of each row's vector; 0 for an absent vector.

    Args:
        features: float16 or float32, shape (rows, dim).
        present: bool, shape (rows,).
    """
    words = np.ascontiguousarray(features).view(np.uint16)
    factors = np.random.default_rng(0).integers(1, 2**63, words.shape[1], np.uint64) * 2 + 1
    hashes = np.zeros(len(words), np.uint64)
    for number, factor in enumerate(factors):
        hashes += words[:, number].astype(np.uint64) * factor
    return np.where(present, hashes, 0)
