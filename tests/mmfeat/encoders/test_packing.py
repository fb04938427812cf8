"""Weights laid out once give what torch's own layers give."""

import copy

import pytest
import torch
from torch import nn

from mmfeat.encoders import packing
from mmfeat.encoders.packing import PackedAttention, PackedLinear, pack
from mmfeat.encoders.runtime import Runtime, weights_digest
from mmfeat.encoders.settings import Settings

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() or not packing._supported(),
    reason="this CPU has no instructions for bfloat16",
)


class Block(nn.Module):
    """An attention and a linear layer, as towers have them."""

    def __init__(self, bias=True):
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True, bias=bias)
        self.rest = nn.Sequential(nn.Linear(32, 48, bias=bias), nn.GELU(), nn.Linear(48, 8))

    def forward(self, x, **options):
        return self.rest(self.attention(x, x, x, need_weights=False, **options)[0])


def _pair(**options):
    torch.manual_seed(0)
    plain = Block(**options).eval().requires_grad_(False).bfloat16()
    packed = copy.deepcopy(plain)
    pack(packed)
    assert type(packed.attention) is PackedAttention
    assert [type(layer) for layer in packed.rest] == [PackedLinear, nn.GELU, PackedLinear]
    return plain, packed


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3, 5, 32), (1, 1, 32), (40, 7, 32)])
def test_the_values_are_those_of_torch(bias, shape):
    plain, packed = _pair(bias=bias)
    x = torch.randn(shape).bfloat16()
    length = shape[1]
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    added = torch.zeros(length, length).masked_fill(future, float("-inf")).bfloat16()
    with torch.inference_mode():
        for options in ({}, {"attn_mask": future}, {"attn_mask": added}):
            torch.testing.assert_close(
                packed(x, **options), plain(x, **options), atol=0.02, rtol=0.02
            )


def test_what_is_not_packed_goes_the_usual_way():
    plain, packed = _pair()
    x, other = torch.randn(2, 3, 32).bfloat16(), torch.randn(2, 6, 32).bfloat16()
    hidden = torch.tensor([[False, False, True], [False, True, True]])
    with torch.inference_mode():
        for arguments, options in (
            ((x, other, other), {"need_weights": False}),
            ((x, x, x), {}),
            ((x, x, x), {"need_weights": False, "key_padding_mask": hidden}),
        ):
            found = packed.attention(*arguments, **options)
            wanted = plain.attention(*arguments, **options)
            torch.testing.assert_close(found[0], wanted[0], atol=0.02, rtol=0.02)
            assert (found[1] is None) == (wanted[1] is None)
        assert packed.rest(x[:0]).shape == (0, 3, 8)


def test_weights_and_their_digest_stay():
    plain, packed = _pair()
    assert weights_digest(packed) == weights_digest(plain)
    assert packed.rest[0].weight.dtype == torch.bfloat16


def test_float32_is_left_alone():
    model = Block()
    pack(model)
    assert type(model.attention) is nn.MultiheadAttention
    assert type(model.rest[0]) is nn.Linear


def test_a_record_s_feature_does_not_depend_on_its_batch():
    runtime = Runtime(Block(), Settings("cpu", "bfloat16"))
    x = torch.randn(9, 5, 32)
    together = runtime.run({"x": x})
    alone = torch.cat([runtime.run({"x": x[i : i + 1]}) for i in range(9)])
    torch.testing.assert_close(alone, together, atol=0.02, rtol=0.02)
    assert type(runtime._modules[0].rest[0]) is PackedLinear
