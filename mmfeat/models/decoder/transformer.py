"""A small causal transformer with a prefix, cross-attention and a key-value cache.

Layers are pre-norm (Xiong et al. 2020, arXiv:2002.04745); the output is tied to the embedding
(Press and Wolf 2017, arXiv:1608.05859).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from mmfeat.models.architecture import DecoderLayers

KeyValue = tuple[Tensor, Tensor]
"""Keys and values, shape [batch, heads, positions, width / heads] each."""

_STD = 0.02


@dataclass
class Context:
    """What a text is generated from.

    Attributes:
        prefix: shape [batch, prefix, width].
        memory: tokens to attend to, shape [batch, tokens, width]; None = no cross-attention.
        mask: bool, shape [batch, tokens]: which tokens are present.
    """

    prefix: Tensor
    memory: Tensor | None = None
    mask: Tensor | None = None

    def repeat(self, times: int) -> "Context":
        """Return each row several times in a row."""

        def repeated(values: Tensor | None) -> Tensor | None:
            return None if values is None else values.repeat_interleave(times, dim=0)

        prefix = repeated(self.prefix)
        assert prefix is not None
        return Context(prefix, repeated(self.memory), repeated(self.mask))


class DecoderState:
    """The key-value cache of a batch while its texts grow.

    Args:
        past: keys and values of each layer, with room for all positions.
        memory: keys and values of each layer's cross-attention.
        mask: bool, shape [batch, 1, 1, tokens].
    """

    def __init__(
        self, past: list[KeyValue], memory: list[KeyValue | None], mask: Tensor | None
    ) -> None:
        self.past, self.memory, self.mask = past, memory, mask
        self.length = 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> KeyValue:
        """Store keys and values of new positions, and return those of all positions so far."""
        end = self.length + keys.shape[2]
        for cache, new in zip(self.past[layer], (keys, values), strict=True):
            cache[:, :, self.length : end] = new
        past_keys, past_values = self.past[layer]
        return past_keys[:, :, :end], past_values[:, :, :end]

    def select(self, rows: Tensor) -> None:
        """Keep some rows, in a new order: int64, shape [batch]. Rows of one record share memory."""
        self.past = [(k.index_select(0, rows), v.index_select(0, rows)) for k, v in self.past]


class Transformer(nn.Module):
    """Logits of the next token, given a prefix, the tokens so far, and tokens of the features.

    Args:
        layers: numbers and sizes of the layers.
        dropout: fraction of the activations set to 0 in training.
        crosses: whether layers attend to the tokens of the features.
    """

    def __init__(self, layers: DecoderLayers, dropout: float, crosses: bool) -> None:
        super().__init__()
        width = layers.width
        self.prefix = layers.prefix
        self.embedding = nn.Embedding(layers.vocabulary, width)
        self.positions = nn.Parameter(torch.empty(layers.prefix + layers.max_length, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(width, layers.heads, dropout, crosses) for _ in range(layers.layers)
        )
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight, std=_STD)
        nn.init.normal_(self.positions, std=_STD)
        for block in self.blocks:
            assert isinstance(block, Block)
            block.scale_outputs(1 / math.sqrt(2 * layers.layers))

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Return the logits of the token after each position.

        Args:
            tokens: int64, shape [batch, length]; the first one starts the text.
            context: the features.

        Returns:
            Shape [batch, length, vocabulary].
        """
        x = torch.cat([context.prefix, self.embedding(tokens)], dim=1)
        x = self.dropout(x + self.positions[: x.shape[1]])
        mask = None if context.mask is None else context.mask[:, None, None, :]
        for block in self.blocks:
            assert isinstance(block, Block)
            x = block(x, block.memory_kv(context.memory), mask)
        return self._logits(x[:, self.prefix :])

    def start(self, context: Context) -> DecoderState:
        """Return the state before the first token: the prefix is in the cache."""
        batch, width = len(context.prefix), context.prefix.shape[2]
        blocks = [block for block in self.blocks if isinstance(block, Block)]
        shape = (batch, blocks[0].heads, len(self.positions), width // blocks[0].heads)
        past = [(context.prefix.new_empty(shape), context.prefix.new_empty(shape)) for _ in blocks]
        memory = [block.memory_kv(context.memory) for block in blocks]
        mask = None if context.mask is None else context.mask[:, None, None, :]
        state = DecoderState(past, memory, mask)
        self._run(context.prefix, state)
        return state

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """Return the logits after one more token per row.

        Args:
            tokens: int64, shape [batch].
            state: the state; it moves on by one position.

        Returns:
            Shape [batch, vocabulary].
        """
        return self._logits(self._run(self.embedding(tokens)[:, None], state)[:, -1])

    def _run(self, x: Tensor, state: DecoderState) -> Tensor:
        count = x.shape[1]
        x = x + self.positions[state.length : state.length + count]
        for number, block in enumerate(self.blocks):
            x = block(x, state.memory[number], state.mask, state, number)
        state.length += count
        return x

    def _logits(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.norm(x), self.embedding.weight)


class Block(nn.Module):
    """Self-attention, cross-attention if there are tokens of features, and a dense layer."""

    def __init__(self, width: int, heads: int, dropout: float, crosses: bool) -> None:
        super().__init__()
        self.heads, self._chance = heads, dropout
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.cross: CrossAttention | None = CrossAttention(width, heads) if crosses else None
        self.dense_norm = nn.LayerNorm(width)
        self.dense = nn.Linear(width, 4 * width)
        self.dense_out = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def scale_outputs(self, factor: float) -> None:
        """Scale the initial weights of the layers that add to the residual stream."""
        with torch.no_grad():
            self.out.weight.mul_(factor)
            self.dense_out.weight.mul_(factor)

    def memory_kv(self, memory: Tensor | None) -> KeyValue | None:
        """Return keys and values of the cross-attention; None without."""
        return None if self.cross is None or memory is None else self.cross.keys_values(memory)

    def forward(
        self,
        x: Tensor,
        memory: KeyValue | None,
        mask: Tensor | None,
        state: DecoderState | None = None,
        layer: int = 0,
    ) -> Tensor:
        """Compute the layer, shape [batch, positions, width] to the same.

        Args:
            x: new positions; without a state, all of them.
            memory: keys and values of the cross-attention.
            mask: which of them are present: bool, shape [batch, 1, 1, tokens].
            state: the cache of the positions before.
            layer: number of the layer in the cache.
        """
        query, key, value = split_heads(self.qkv(self.norm(x)), self.heads, 3)
        if state is not None:
            key, value = state.append(layer, key, value)
        attended = scaled_dot_product_attention(
            query,
            key,
            value,
            dropout_p=self._chance if self.training else 0.0,
            is_causal=x.shape[1] > 1,
        )
        x = x + self.dropout(self.out(join_heads(attended)))
        if self.cross is not None and memory is not None:
            x = x + self.dropout(self.cross(x, memory, mask))
        dense = nn.functional.gelu(self.dense(self.dense_norm(x)), approximate="tanh")
        return x + self.dropout(self.dense_out(dense))


class CrossAttention(nn.Module):
    """Attend to tokens of the features (Xu et al. 2015, arXiv:1502.03044, in the form of
    Vaswani et al. 2017, arXiv:1706.03762)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, memory: Tensor) -> KeyValue:
        """Return keys and values of tokens, shape [batch, tokens, width]."""
        key, value = split_heads(self.key_value(memory), self.heads, 2)
        return key, value

    def forward(self, x: Tensor, memory: KeyValue, mask: Tensor | None) -> Tensor:
        """Attend; shapes as in `Block.forward`."""
        (query,) = split_heads(self.query(self.norm(x)), self.heads, 1)
        out: Tensor = self.out(
            join_heads(scaled_dot_product_attention(query, *memory, attn_mask=mask))
        )
        return out


def split_heads(x: Tensor, heads: int, parts: int) -> list[Tensor]:
    """Return parts of shape [batch, heads, positions, width / heads].

    Args:
        x: shape [batch, positions, parts · width].
        heads, parts: their numbers.
    """
    split = x.unflatten(2, (parts, heads, -1)).permute(2, 0, 3, 1, 4)
    return list(split)


def join_heads(x: Tensor) -> Tensor:
    """Return shape [batch, positions, width]; the inverse of `split_heads` for one part."""
    return x.transpose(1, 2).flatten(2)
