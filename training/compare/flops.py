"""Count the operations per record and the parameters of a module."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def flops_per_record(module: nn.Module, *inputs: Any, records: int) -> float:
    """Count the floating-point operations of a forward pass for one record, in eval mode.

    A multiply-add counts as two operations. Matrix products, convolutions and attention are
    counted, as in `torch.utils.flop_counter`. Elementwise work (normalization, activations, gates,
    products of features) and `nn.Bilinear` are not. Use the count to compare modules, not to
    predict seconds.

    Args:
        module: any module.
        inputs: arguments of its forward pass, for one batch.
        records: records in the batch; one is enough.
    """
    was_training = module.training
    module.eval()
    counter = FlopCounterMode(display=False)
    try:
        # Inference mode and the fused layers of a transformer hide products. The counter fails on
        # parameters without gradients among the inputs of a layer.
        with _no_fused_layers(), torch.inference_mode(False), torch.enable_grad(), counter:
            module(*inputs)
    finally:
        module.train(was_training)
    return counter.get_total_flops() / records


def count_parameters(module: nn.Module) -> int:
    """Count the learned numbers of a module; shared parameters count once."""
    return sum(parameter.numel() for parameter in module.parameters())


@contextmanager
def _no_fused_layers() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
