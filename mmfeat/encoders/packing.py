"""Weights of bfloat16 laid out once for a CPU, where torch would do so in each call.

oneDNN multiplies by weights in a layout of its own. torch brings them there at each call, which
costs a small batch more than the multiplication itself.
"""

from typing import Any

import torch
from torch import Tensor, nn

_ROWS = 2048
"""Rows of input that the layout is chosen for; it serves any number."""


class PackedLinear(nn.Linear):
    """A linear layer with a second copy of its weights, as oneDNN wants them."""

    packed: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """The layer's values."""
        if not input.numel() or input.dtype != torch.bfloat16:
            return super().forward(input)
        return _linear(input, self.packed, self.bias)


class PackedAttention(nn.MultiheadAttention):
    """Attention of inputs to themselves, with weights as oneDNN wants them.

    Whatever else it is asked for goes the usual way.
    """

    packed: Tensor
    packed_out: Tensor

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *arguments: Any, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        """The attended values, and None where no weights are asked for."""
        mask = options.get("attn_mask")
        itself = query is key and key is value and query.ndim == 3 and query.numel() > 0
        plain = not arguments and options.keys() <= {"need_weights", "attn_mask"}
        wanted = options.get("need_weights", True) or query.dtype != torch.bfloat16
        if not itself or not plain or wanted or (mask is not None and mask.ndim != 2):
            return super().forward(query, key, value, *arguments, **options)
        if mask is not None and mask.dtype == torch.bool:
            mask = ~mask  # here True stands for what is left out, below for what is seen
        rows, length, width = query.shape
        joint = _linear(query, self.packed, self.in_proj_bias)
        heads = joint.view(rows, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        states = nn.functional.scaled_dot_product_attention(
            heads[0], heads[1], heads[2], attn_mask=mask
        )
        states = states.transpose(1, 2).reshape(rows, length, width)
        return _linear(states, self.packed_out, self.out_proj.bias), None


def pack(module: nn.Module) -> None:
    """Lay out the weights of all layers below a module, in place.

    The weights as they were stay, for models that read them; both together take as much memory as
    float32 does. Only plain layers of bfloat16 are touched, and only where the CPU has its
    instructions.
    """
    if not torch.backends.mkldnn.is_available() or not _supported():
        return
    _pack_below(module)


def _pack_below(module: nn.Module) -> None:
    for child in module.children():
        if type(child) is nn.Linear and _packable(child.weight):
            child.packed = _laid_out(child.weight)
            child.__class__ = PackedLinear
        elif type(child) is nn.MultiheadAttention and _is_plain(child):
            child.packed = _laid_out(child.in_proj_weight)
            child.packed_out = _laid_out(child.out_proj.weight)
            child.__class__ = PackedAttention
        else:
            _pack_below(child)


def _is_plain(attention: nn.MultiheadAttention) -> bool:
    added = attention.bias_k is not None or attention.add_zero_attn
    known = attention.in_proj_weight is not None and attention.batch_first
    return known and not added and _packable(attention.in_proj_weight)


def _packable(weight: Tensor) -> bool:
    return weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and weight.numel() > 0


def _laid_out(weight: Tensor) -> Tensor:
    made: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)
    return made


def _linear(states: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(states, packed, bias, "none", [], "")
    return made


def _supported() -> bool:
    """Whether this CPU and this version of torch have what is needed; the names are torch's own."""
    operations = torch.ops.mkldnn
    names = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")
    if not all(hasattr(operations, name) for name in names):
        return False
    return bool(operations._is_mkldnn_bf16_supported())
