"""What a module costs: operations a record, and parameters."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def flops_per_record(module: nn.Module, *inputs: Any, records: int) -> float:
    """Floating-point operations of a forward for one record, in eval mode.

    A multiply-add counts as two operations. Matrix products, convolutions and attention are
    counted, as `torch.utils.flop_counter` knows them; what works element by element
    (normalisation, activations, gates, products of features) is left out, as is `nn.Bilinear`.
    Two modules are compared by it, it does not foretell seconds.

    Args:
        module: any module.
        inputs: what its forward takes, of a batch.
        records: how many records the batch has; one is enough.
    """
    was_training = module.training
    module.eval()
    counter = FlopCounterMode(display=False)
    try:
        # Inference mode and the fused layers of a transformer hide products, and the counter
        # stumbles over parameters without gradients among a layer's inputs.
        with _no_fused_layers(), torch.inference_mode(False), torch.enable_grad(), counter:
            module(*inputs)
    finally:
        module.train(was_training)
    return counter.get_total_flops() / records


def parameters(module: nn.Module) -> int:
    """Numbers the module learned, each shared one once."""
    return sum(parameter.numel() for parameter in module.parameters())


@contextmanager
def _no_fused_layers() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
