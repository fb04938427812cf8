import pytest
import torch
from torch import nn

from training.compare.flops import count_parameters, flops_per_record


def test_linear_layer_costs_two_operations_per_weight():
    layer = nn.Linear(30, 7)
    for records in (1, 8):
        assert flops_per_record(layer, torch.zeros(records, 30), records=records) == 2 * 30 * 7
    assert count_parameters(layer) == 30 * 7 + 7


def test_batched_products_and_layers_without_bias_are_counted():
    class Products(nn.Module):
        def forward(self, a, b):
            return torch.bmm(a, b), torch.einsum("bij,bjk->bik", a, b), a[0] @ b[0]

    count = flops_per_record(Products(), torch.zeros(2, 3, 4), torch.zeros(2, 4, 5), records=2)
    assert count == 2 * 60 + 2 * 60 + 60
    no_bias = nn.Linear(30, 7, bias=False)
    assert flops_per_record(no_bias, torch.zeros(1, 30), records=1) == 2 * 30 * 7


def test_elementwise_work_is_not_counted():
    layers = nn.Sequential(nn.LayerNorm(30), nn.Tanh(), nn.Dropout())
    assert flops_per_record(layers, torch.zeros(1, 30), records=1) == 0


def test_transformer_layer_is_counted_and_left_unchanged():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).requires_grad_(False)
    before = torch.backends.mha.get_fastpath_enabled()
    for training in (True, False):
        layer.train(training)
        count = flops_per_record(layer, torch.zeros(1, 5, 16), records=1)
        products = 5 * (16 * 48 + 16 * 16 + 2 * 16 * 32) + 2 * 5 * 5 * 16
        assert count == 2 * products
        assert layer.training is training
    assert torch.backends.mha.get_fastpath_enabled() is before


def test_shared_parameter_counts_once():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert count_parameters(nn.Sequential(first, second)) == 9 + 3 + 3


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradient_mode_and_parameter_inputs_do_not_matter(mode):
    class Queries(nn.Module):
        def __init__(self):
            super().__init__()
            self.queries = nn.Parameter(torch.zeros(2, 16))
            self.layer = nn.Linear(16, 3)

        def forward(self, x):
            return self.layer(self.queries.expand(len(x), -1, -1)), nn.Identity()(self.queries)

    module, inputs = Queries(), torch.zeros(4, 1)
    with mode():
        assert flops_per_record(module, inputs, records=4) == 2 * 2 * 16 * 3


def test_attention_is_counted():
    class Attention(nn.Module):
        def forward(self, q):
            return nn.functional.scaled_dot_product_attention(q, q, q)

    count = flops_per_record(Attention(), torch.zeros(1, 2, 5, 8), records=1)
    assert count == 2 * 2 * (2 * 5 * 5 * 8)
