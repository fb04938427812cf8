"""Oriented gradients of images and spectrograms, pooled over cells.

After Dalal & Triggs, 2005, "Histograms of Oriented Gradients for Human Detection", with smooth
direction tuning instead of hard bins (Tola et al., 2010, "DAISY").
"""

import numpy as np


def oriented_strength(dx: np.ndarray, dy: np.ndarray, directions: int) -> np.ndarray:
    """Return the strength of a gradient in each direction.

    A direction responds as cos**6, with half height at 27 degrees: twelve cover the circle.

    Args:
        dx: gradient along one axis, shape (rows, columns).
        dy: gradient along the other axis, likewise.
        directions: number of directions around the circle.

    Returns:
        Shape (directions, rows, columns).
    """
    strength = np.sqrt(dx * dx + dy * dy)
    dx, dy = dx / (strength + 1e-6), dy / (strength + 1e-6)
    angles = (2 * np.pi / directions * np.arange(directions, dtype=np.float32))[:, None, None]
    cosine = np.cos(angles) * dx
    cosine += np.sin(angles) * dy
    np.maximum(cosine, 0, out=cosine)
    # Products are ten times faster than numpy's power of floats.
    cosine *= cosine
    response = cosine * cosine
    response *= cosine
    response *= strength
    return response


def normalize_contrast(cells: np.ndarray, floor: float) -> np.ndarray:
    """Divide each cell by the root mean square of the 3 x 3 cells around it.

    Args:
        cells: shape (directions, rows, columns).
        floor: added to the divisor, so that noise in flat cells is not amplified.

    Returns:
        Values in [0, 1], same shape.
    """
    _, rows, columns = cells.shape
    energy = pad_edges((cells * cells).sum(axis=0))
    mean = sum(energy[y : y + rows, x : x + columns] for y in range(3) for x in range(3)) / 9
    return np.minimum(cells / np.sqrt(mean + floor**2), 1)


def pad_edges(planes: np.ndarray) -> np.ndarray:
    """Repeat the outer rows and columns of planes once, five times as fast as `np.pad`.

    Args:
        planes: shape (…, rows, columns).

    Returns:
        Shape (…, rows + 2, columns + 2).
    """
    *outer, rows, columns = planes.shape
    padded = np.empty((*outer, rows + 2, columns + 2), planes.dtype)
    padded[..., 1:-1, 1:-1] = planes
    padded[..., 0, 1:-1], padded[..., -1, 1:-1] = planes[..., 0, :], planes[..., -1, :]
    padded[..., 0], padded[..., -1] = padded[..., 1], padded[..., -2]
    return padded


def triangular_windows(steps: int, cells: int, floor: float = 0.0) -> np.ndarray:
    """Return overlapping triangular windows, shape (cells, steps), each of sum 1.

    Content that moves by a few steps moves gradually from one cell to the next. Windows are at
    least one step wide: with fewer steps than cells, neighbouring cells share a step.
    """
    width = steps / cells
    centres = (np.arange(cells) + 0.5) * width
    distance = np.abs(np.arange(steps) + 0.5 - centres[:, None]) / max(width, 1)
    weights = np.maximum(floor, 1 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def scale_to_unit(block: np.ndarray) -> np.ndarray:
    """Return the block, flat and of length 1. A block that is almost zero stays small."""
    flat = block.ravel()
    return flat / np.sqrt(np.square(flat).sum() + 1e-4)
