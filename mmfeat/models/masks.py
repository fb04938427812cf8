"""Presence masks: which modalities and tokens a record has."""

import torch
from torch import Tensor


def as_tokens(h: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return vectors and their presence as sequences; a pooled vector is a sequence of one.

    Args:
        h: shape [batch, d] or [batch, tokens, d].
        present: bool, shape [batch] or [batch, tokens].

    Returns:
        Shapes [batch, tokens, d] and [batch, tokens].
    """
    return (h.unsqueeze(1), present.unsqueeze(1)) if present.dim() == 1 else (h, present)


def masked_mean(h: Tensor, mask: Tensor) -> Tensor:
    """Average the present tokens; a row without tokens gets its first vector.

    Args:
        h: shape [batch, tokens, d].
        mask: bool, shape [batch, tokens].

    Returns:
        Shape [batch, d].
    """
    present = mask.unsqueeze(2)
    mean = torch.where(present, h, 0).sum(dim=1) / present.sum(dim=1).clamp(min=1)
    return torch.where(mask.any(dim=1, keepdim=True), mean, h[:, 0])


def modality_mask(columns: list[str], present: dict[str, Tensor]) -> Tensor:
    """Return which modalities each row has: bool, shape [batch, modalities]."""
    masks = [present[column] for column in columns]
    return torch.stack([mask if mask.dim() == 1 else mask.any(dim=1) for mask in masks], dim=1)


def drop_modalities(mask: Tensor, chance: float) -> Tensor:
    """Apply modality dropout: hide each present modality with `chance`, but never a whole row.

    Args:
        mask: bool, shape [batch, modalities].
        chance: probability of hiding a modality.
    """
    kept = mask & (torch.rand(mask.shape, device=mask.device) >= chance)
    return torch.where(kept.any(dim=1, keepdim=True), kept, mask)


def hide_modalities(
    columns: list[str], present: dict[str, Tensor], chance: float
) -> dict[str, Tensor]:
    """Return the presence of vectors and tokens after modality dropout (`drop_modalities`)."""
    mask = drop_modalities(modality_mask(columns, present), chance)
    return {
        column: present[column] & (mask[:, m] if present[column].dim() == 1 else mask[:, m, None])
        for m, column in enumerate(columns)
    }
