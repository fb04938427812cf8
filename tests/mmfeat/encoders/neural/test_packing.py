"""Packed weights give the same values as the layers of torch."""

import copy

import pytest
import torch
from torch import nn

from mmfeat.encoders.neural.loading import hash_weights
from mmfeat.encoders.neural.packing import (
    PackedAttention,
    PackedLinear,
    pack_weights,
    packing_supported,
)
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.encoders.settings import Settings

pytestmark = pytest.mark.skipif(
    not packing_supported(), reason="this CPU has no instructions for bfloat16"
)


class Block(nn.Module):
    """Attention and linear layers, as in a transformer."""

    def __init__(self, bias=True):
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True, bias=bias)
        self.mlp = nn.Sequential(nn.Linear(32, 48, bias=bias), nn.GELU(), nn.Linear(48, 8))

    def forward(self, x, **options):
        return self.mlp(self.attention(x, x, x, need_weights=False, **options)[0])


def packed_pair(**options):
    torch.manual_seed(0)
    plain = Block(**options).eval().requires_grad_(False).bfloat16()
    packed = copy.deepcopy(plain)
    pack_weights(packed)
    return plain, packed


def assert_packed(model):
    assert type(model.attention) is PackedAttention
    assert [type(layer) for layer in model.mlp] == [PackedLinear, nn.GELU, PackedLinear]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3, 5, 32), (1, 1, 32), (40, 7, 32)])
def test_values_equal_torch(bias, shape):
    plain, packed = packed_pair(bias=bias)
    assert_packed(packed)
    x = torch.randn(shape).bfloat16()
    length = shape[1]
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    added = torch.zeros(length, length).masked_fill(future, float("-inf")).bfloat16()
    with torch.inference_mode():
        for options in ({}, {"attn_mask": future}, {"attn_mask": added}):
            torch.testing.assert_close(
                packed(x, **options), plain(x, **options), atol=0.02, rtol=0.02
            )


def test_unsupported_calls_run_the_code_of_torch():
    plain, packed = packed_pair()
    assert_packed(packed)
    x, other = torch.randn(2, 3, 32).bfloat16(), torch.randn(2, 6, 32).bfloat16()
    hidden = torch.tensor([[False, False, True], [False, True, True]])
    with torch.inference_mode():
        for arguments, options in (
            ((x, other, other), {"need_weights": False}),
            ((x, x, x), {}),
            ((x, x, x), {"need_weights": False, "key_padding_mask": hidden}),
        ):
            actual = packed.attention(*arguments, **options)
            expected = plain.attention(*arguments, **options)
            torch.testing.assert_close(actual[0], expected[0], atol=0.02, rtol=0.02)
            assert (actual[1] is None) == (expected[1] is None)
        assert packed.mlp(x[:0]).shape == (0, 3, 8)


def test_original_weights_and_their_hash_stay():
    plain, packed = packed_pair()
    assert_packed(packed)
    assert hash_weights(packed) == hash_weights(plain)
    assert packed.mlp[0].weight.dtype == torch.bfloat16


def test_float32_is_not_packed():
    model = Block()
    pack_weights(model)
    assert type(model.attention) is nn.MultiheadAttention
    assert type(model.mlp[0]) is nn.Linear


def test_features_do_not_depend_on_the_batch():
    runtime = Runtime(Block(), Settings("cpu", "bfloat16"))
    x = torch.randn(9, 5, 32)
    together = runtime.run({"x": x})
    alone = torch.cat([runtime.run({"x": x[i : i + 1]}) for i in range(9)])
    torch.testing.assert_close(alone, together, atol=0.02, rtol=0.02)
    assert_packed(runtime.module)
