"""Decoding: choose the tokens of a text from the logits of a decoder, with a key-value cache."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from mmfeat.models.decoder.decoding_options import DecodingOptions
from mmfeat.models.decoder.transformer import Context


class Decoder(Protocol):
    """A decoder with a cache, such as `Transformer`."""

    def start(self, context: Context) -> Any:
        """Return the state before the first token."""

    def step(self, tokens: Tensor, state: Any) -> Tensor:
        """Return the logits after one more token: [batch] to [batch, vocabulary]."""


class SpecialTokens(NamedTuple):
    """Token behind the end of a text, before its start, and at its end."""

    pad: int
    bos: int
    eos: int


class Generated(NamedTuple):
    """Texts of a batch.

    Attributes:
        tokens: int64, shape [batch, max_length]; `pad` behind the end. The end token is left out.
        lengths: number of tokens, int64, shape [batch].
        log_probability: mean log-probability of the tokens and of the end token, shape [batch].
    """

    tokens: Tensor
    lengths: Tensor
    log_probability: Tensor


def generate(
    decoder: Decoder,
    context: Context,
    special: SpecialTokens,
    options: DecodingOptions,
    max_length: int,
    row_seeds: Sequence[int] = (),
) -> Generated:
    """Generate a text for each row of a batch, in eval mode.

    Args:
        decoder: the decoder.
        context: the features.
        special: the special tokens.
        options: how to choose the tokens.
        max_length: maximum number of tokens that the decoder has positions for.
        row_seeds: seed of each row for `sample`; makes its text independent of the batch.
    """
    limit = min(options.max_tokens or max_length, max_length)
    if options.decoding == "beam" and options.beams > 1:
        tokens, scores = _beam_search(decoder, context, special, options, limit)
    else:
        tokens, scores = _choose_each(decoder, context, special, options, limit, row_seeds)
    is_end = (tokens == special.eos) | (tokens == special.pad)
    lengths = torch.where(is_end.any(dim=1), is_end.int().argmax(dim=1), tokens.shape[1])
    scored = lengths + (lengths < tokens.shape[1])
    kept = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
    padded = tokens.new_full((len(tokens), max_length), special.pad)
    padded[:, : tokens.shape[1]] = torch.where(kept, tokens, special.pad)
    return Generated(padded, lengths, scores / scored.clamp(min=1))


def _choose_each(
    decoder: Decoder,
    context: Context,
    special: SpecialTokens,
    options: DecodingOptions,
    limit: int,
    row_seeds: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Choose the most likely token, or draw one, at each step.

    Returns:
        tokens, shape [batch, steps], and the sum of their log-probabilities, shape [batch].
    """
    device = context.prefix.device
    batch = len(context.prefix)
    draws = _draw_uniform(options.sampling_seed, row_seeds, limit).to(device)
    state = decoder.start(context)
    token = torch.full((batch,), special.bos, device=device)
    scores = torch.zeros(batch, device=device)
    is_finished = torch.zeros(batch, dtype=torch.bool, device=device)
    chosen: list[Tensor] = []
    for number in range(limit):
        logits = _restrict(decoder.step(token, state), special, number < options.min_tokens)
        if options.decoding == "sample":
            token = _draw(logits / options.sampling_temperature, draws[:, number])
        else:
            token = logits.argmax(dim=1)
        score = logits.log_softmax(dim=1).gather(1, token[:, None])[:, 0]
        token = torch.where(is_finished, special.pad, token)
        scores += torch.where(is_finished, 0, score)
        chosen.append(token)
        is_finished |= token == special.eos
        if bool(is_finished.all()):
            break
    return torch.stack(chosen, dim=1), scores


def _restrict(logits: Tensor, special: SpecialTokens, is_short: bool) -> Tensor:
    """Return float32 logits without the tokens that no text has, and without an early end."""
    logits = logits.float()
    for token in {special.pad, special.bos} - {special.eos}:
        logits[:, token] = -torch.inf
    if is_short:
        logits[:, special.eos] = -torch.inf
    return logits


def _draw_uniform(seed: int, row_seeds: Sequence[int], limit: int) -> Tensor:
    """Return numbers from 0 to 1 for each row and step, shape [rows, limit].

    They depend on the seed and on the row's own seed only.
    """
    rows = [np.random.Philox(key=[seed, row_seed]) for row_seed in row_seeds]
    values = [np.random.Generator(row).random(limit) for row in rows]
    return torch.from_numpy(np.array(values).reshape(len(rows), limit))


def _draw(logits: Tensor, draws: Tensor) -> Tensor:
    """Return a token per row: the inverse of the cumulative distribution at `draws`."""
    cumulative = logits.double().softmax(dim=1).cumsum(dim=1)
    target = draws[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[1] - 1)


def _beam_search(
    decoder: Decoder,
    context: Context,
    special: SpecialTokens,
    options: DecodingOptions,
    limit: int,
) -> tuple[Tensor, Tensor]:
    """Keep the candidates with the best mean log-probability; finished ones stay as they are.

    Returns:
        As `_choose_each`, of the best candidate of each row.
    """
    device, beams = context.prefix.device, options.beams
    batch = len(context.prefix)
    state = decoder.start(context.repeat(beams))
    first_row = torch.arange(batch, device=device)[:, None] * beams
    tokens = torch.full((batch * beams, 0), special.pad, device=device)
    last = torch.full((batch * beams,), special.bos, device=device)
    # All candidates are equal at first: only one of them may go on.
    scores = torch.full((batch, beams), -torch.inf, device=device)
    scores[:, 0] = 0
    lengths = torch.zeros(batch, beams, device=device)
    is_finished = torch.zeros(batch, beams, dtype=torch.bool, device=device)
    for number in range(limit):
        logits = _restrict(decoder.step(last, state), special, number < options.min_tokens)
        steps = logits.log_softmax(dim=1).view(batch, beams, -1)
        vocabulary = steps.shape[2]
        only_pad = torch.full_like(steps, -torch.inf)
        only_pad[:, :, special.pad] = 0
        steps = torch.where(is_finished[:, :, None], only_pad, steps)
        sums = scores[:, :, None] + steps
        new_lengths = lengths + ~is_finished
        ranked = (sums / new_lengths[:, :, None].clamp(min=1)).flatten(1)
        best = ranked.topk(beams, dim=1).indices
        beam, token = best // vocabulary, best % vocabulary
        scores = sums.flatten(1).gather(1, best)
        lengths = new_lengths.gather(1, beam)
        is_finished = is_finished.gather(1, beam) | (token == special.eos)
        rows, last = (first_row + beam).flatten(), token.flatten()
        tokens = torch.cat([tokens[rows], last[:, None]], dim=1)
        if bool(is_finished.all()):
            break
        state.select(rows)
    winner = (scores / lengths.clamp(min=1)).argmax(dim=1)
    rows = first_row[:, 0] + winner
    return tokens[rows], scores.flatten()[rows]
