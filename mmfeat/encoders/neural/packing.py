"""bfloat16 weights in the memory layout of oneDNN, for faster inference on CPUs.

torch converts weights to that layout in each call. For a small batch this takes longer than the
multiplication itself.
"""

from typing import Any

import torch
from torch import Tensor, nn

_LAYOUT_ROWS = 2048
"""Number of input rows the layout is chosen for. It works for any number."""


class PackedLinear(nn.Linear):
    """A linear layer with a second copy of its weights in oneDNN's layout."""

    packed: Tensor

    def forward(self, input: Tensor) -> Tensor:
        if _is_plain_call(input):
            return super().forward(input)
        return _packed_linear(input, self.packed, self.bias)


class PackedAttention(nn.MultiheadAttention):
    """Self-attention with weights in oneDNN's layout.

    Calls it does not support, such as cross-attention, run the code of torch.
    """

    packed: Tensor
    packed_out: Tensor

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *arguments: Any, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Return the attended values, and None for the attention weights."""
        mask = options.get("attn_mask")
        is_self = query is key and key is value and query.ndim == 3
        is_plain = not arguments and options.keys() <= {"need_weights", "attn_mask"}
        unsupported = options.get("need_weights", True) or _is_plain_call(query)
        if not is_self or not is_plain or unsupported or (mask is not None and mask.ndim != 2):
            return super().forward(query, key, value, *arguments, **options)
        if mask is not None and mask.dtype == torch.bool:
            mask = ~mask  # True = hidden in this module, but visible in the function below
        rows, length, width = query.shape
        joint = _packed_linear(query, self.packed, self.in_proj_bias)
        heads = joint.view(rows, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        states = nn.functional.scaled_dot_product_attention(
            heads[0], heads[1], heads[2], attn_mask=mask
        )
        states = states.transpose(1, 2).reshape(rows, length, width)
        return _packed_linear(states, self.packed_out, self.out_proj.bias), None


def _is_plain_call(input: Tensor) -> bool:
    """Return whether the packed weights are of no use: the compiler of torch lays out its own."""
    return not input.numel() or input.dtype != torch.bfloat16 or torch.compiler.is_compiling()


def packing_supported() -> bool:
    """Return True if this CPU and this version of torch support packed bfloat16 weights."""
    if not torch.backends.mkldnn.is_available():
        return False
    operations = torch.ops.mkldnn
    names = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")
    if not all(hasattr(operations, name) for name in names):
        return False
    return bool(operations._is_mkldnn_bf16_supported())


def pack_weights(module: nn.Module) -> None:
    """Pack the bfloat16 weights of all plain layers in a module, in place.

    The original weights stay, for models that read them: together they need as much memory as
    float32. Does nothing if the CPU lacks bfloat16 instructions.
    """
    if packing_supported():
        _pack_children(module)


def _pack_children(module: nn.Module) -> None:
    for child in module.children():
        if type(child) is nn.Linear and _is_packable(child.weight):
            child.packed = _pack(child.weight)
            child.__class__ = PackedLinear
        elif type(child) is nn.MultiheadAttention and _is_plain_attention(child):
            child.packed = _pack(child.in_proj_weight)
            child.packed_out = _pack(child.out_proj.weight)
            child.__class__ = PackedAttention
        else:
            _pack_children(child)


def _is_plain_attention(attention: nn.MultiheadAttention) -> bool:
    has_extra_rows = attention.bias_k is not None or attention.add_zero_attn
    is_joint = attention.in_proj_weight is not None and attention.batch_first
    return is_joint and not has_extra_rows and _is_packable(attention.in_proj_weight)


def _is_packable(weight: Tensor) -> bool:
    return weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and weight.numel() > 0


def _pack(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _LAYOUT_ROWS)
    return packed


def _packed_linear(states: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(states, packed, bias, "none", [], "")
    return result
