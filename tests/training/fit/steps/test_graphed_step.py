"""Steps as CUDA graphs. On the CPU a toy capture plays the real one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from mmfeat.models.saved_model import input_shapes
from tests.training.stores import load
from training.data.batches import Batches
from training.data.dataset import Dataset
from training.fit.checkpoint import Checkpoint
from training.fit.device import CPU, ComputeConfig
from training.fit.fit_result import FitResult
from training.fit.loop import Training, fit_adamw, measure_bfloat16
from training.fit.steps import graphed_step, trainer
from training.fit.steps.graphed_step import WARM_UP, GraphedStep, can_be_captured
from training.recipe import MAX_GRADIENT_NORM, AdamWRecipe

RECIPE = AdamWRecipe(
    lr=3e-3, weight_decay=0.01, batch_size=33, epochs=4, patience=9, metric="accuracy", seed=0
)
GRAPHS = ComputeConfig(CPU, graphs=True)
CUDA = torch.device("cuda", 0)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let steps be captured on the CPU; one entry for each capture."""
    captured: list[str] = []

    def capture(function: Callable[[], Tensor], stream: Any) -> Callable[[], Tensor]:
        captured.append("capture")
        result = torch.zeros(())
        return lambda: result.copy_(function())

    monkeypatch.setattr(graphed_step, "CAPTURE", capture)
    monkeypatch.setattr(trainer, "MIN_STEPS", 0)
    return captured


def architecture_of(dataset: Dataset, **layers: Any) -> Architecture:
    shapes = input_shapes(dataset.features.columns)
    outputs = dataset.objective.task.outputs
    return Architecture(**shapes, outputs=outputs, **{"hidden": 16, **layers})


def fit(dataset: Dataset, compute: ComputeConfig, recipe: AdamWRecipe = RECIPE) -> FitResult:
    return fit_adamw(architecture_of(dataset), dataset, recipe, compute=compute)


def assert_equal_weights(first: nn.Module, second: nn.Module) -> None:
    others = second.state_dict()
    for name, weights in first.state_dict().items():
        assert torch.equal(weights.cpu(), others[name].cpu()), name


def plain_loop(dataset: Dataset, recipe: AdamWRecipe) -> nn.Module:
    """The training loop as a tutorial writes it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        batches = Batches(dataset, recipe.batch_size)
        model = build_model(architecture_of(dataset)).train()
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
        )
        step, steps = 0, recipe.epochs * len(batches)
        for _ in range(recipe.epochs):
            for batch in batches:
                logits = model(batch.features, batch.present)[0]
                optimizer.zero_grad()
                nn.functional.cross_entropy(logits, batch.targets).backward()
                nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
                optimizer.param_groups[0]["lr"] = recipe.lr * recipe.lr_factor(step, steps)
                optimizer.step()
                step += 1
    return model


@pytest.mark.parametrize("access", ["memory", "blocks"])
def test_the_cpu_takes_the_steps_of_a_plain_loop(gap_store: str, access: str) -> None:
    dataset = load(gap_store, access=access)
    training = Training(architecture_of(dataset), dataset, RECIPE)
    training.run()
    assert_equal_weights(training.model, plain_loop(dataset, RECIPE))


@pytest.mark.parametrize("access", ["memory", "blocks"])
def test_captured_steps_are_the_steps(gap_store: str, captures: list[str], access: str) -> None:
    dataset = load(gap_store, access=access)
    captured = fit(dataset, GRAPHS)
    assert len(captures) == 2  # batches differ by one row
    expected = fit(dataset, ComputeConfig())
    for entry, other in zip(captured.log, expected.log, strict=True):
        assert entry["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert entry["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)
    for name, weights in captured.module.state_dict().items():
        torch.testing.assert_close(weights, expected.module.state_dict()[name])


def test_row_numbers_are_the_input_of_resident_features(gap_store: str) -> None:
    for access, count in (("memory", 1), ("blocks", 5)):
        batches = Batches(load(gap_store, access=access), 33)
        assert {len(inputs) for inputs in batches.inputs()} == {count}


@pytest.mark.usefixtures("captures")
def test_a_resumed_checkpoint_keeps_the_bytes(
    gap_store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("training.fit.checkpoint.SAVE_INTERVAL", 0)
    dataset = load(gap_store)
    whole = fit(dataset, GRAPHS)
    layers = architecture_of(dataset)
    for epochs in (2, 3, None):
        slot = Checkpoint(str(tmp_path), {}).slot(0)
        training = Training(layers, dataset, RECIPE, compute=GRAPHS, slot=slot)
        result = training.run(epochs)
    assert_equal_weights(result.module, whole.module)


def test_steps_run_a_few_times_before_they_are_captured() -> None:
    calls: list[str] = []

    def capture(function: Callable[[], Tensor], stream: Any) -> Callable[[], Tensor]:
        calls.append("capture")
        return function

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphed_step, "CAPTURE", capture)
        step = GraphedStep(lambda x: x.sum(), CPU, lambda: calls.append("prepare"))
        for number in range(WARM_UP + 3):
            assert float(step(torch.full((4,), float(number)))) == 4 * number
            assert bool(calls) is (number >= WARM_UP)
        assert float(step(torch.ones(5))) == 5
    assert calls == ["prepare", "capture"]


def test_a_step_that_cannot_be_captured_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(function: Callable[[], Tensor], stream: Any) -> Callable[[], Tensor]:
        raise RuntimeError("operation not permitted\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(graphed_step, "CAPTURE", refuse)
    step = GraphedStep(lambda x: x.sum(), CPU)
    assert [float(step(torch.full((2,), float(n)))) for n in range(6)] == [
        2.0 * n for n in range(6)
    ]
    printed = capsys.readouterr().err.splitlines()
    assert printed == [
        "train: steps are launched kernel by kernel, no CUDA graph: operation not permitted"
    ]


class ToyGenerator:
    """A generator of torch as a failed capture leaves it."""

    def __init__(self, is_capturing: bool = True) -> None:
        self.is_capturing = is_capturing

    def clone_state(self) -> "ToyGenerator":
        return ToyGenerator(is_capturing=False)

    def graphsafe_set_state(self, other: "ToyGenerator") -> None:
        self.is_capturing = other.is_capturing


def test_a_failed_capture_releases_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def fail_at_the_end(*arguments: Any, **options: Any) -> Iterator[None]:
        yield
        raise RuntimeError("operation failed due to a previous error during capture")

    generators = [ToyGenerator(), ToyGenerator()]
    for name, value in {
        "CUDAGraph": object,
        "graph": fail_at_the_end,
        "current_device": lambda: 1,
        "default_generators": generators,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    with pytest.raises(RuntimeError, match="during capture"):
        graphed_step.capture_cuda_graph(lambda: torch.zeros(()), None)
    assert [generator.is_capturing for generator in generators] == [True, False]


class Outside(nn.Module):
    pass


def test_what_is_not_captured(
    gap_store: str, captures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load(gap_store)
    fit(dataset, GRAPHS, replace(RECIPE, auxiliary=0.3))
    monkeypatch.setattr(trainer, "MIN_STEPS", 10**6)
    fit(dataset, GRAPHS)
    assert captures == []
    Outside.__module__ = "their_package.fusion"
    assert not can_be_captured(nn.Sequential(nn.Linear(2, 2), Outside()))
    assert can_be_captured(build_model(architecture_of(dataset)))


def test_bfloat16_is_measured_with_captured_steps(gap_store: str, captures: list[str]) -> None:
    dataset = load(gap_store)
    assert measure_bfloat16(architecture_of(dataset), dataset, RECIPE, CPU) > 0
    assert captures == []


@needs_gpu
@pytest.mark.parametrize("access", ["memory", "blocks"])
def test_the_gpu_repeats_and_graphs_change_nothing(gap_store: str, access: str) -> None:
    dataset = load(gap_store, access=access)
    recipe = replace(RECIPE, epochs=12)
    with_graphs = [fit(dataset, ComputeConfig(CUDA), recipe) for _ in range(2)]
    without = fit(dataset, ComputeConfig(CUDA, graphs=False), recipe)
    assert_equal_weights(with_graphs[0].module, with_graphs[1].module)
    for name, weights in without.module.state_dict().items():
        torch.testing.assert_close(with_graphs[0].module.state_dict()[name], weights)


@needs_gpu
def test_a_step_that_waits_falls_back_on_the_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    def wait(x: Tensor) -> Tensor:
        dropped = nn.functional.dropout(x, 0.5)
        return dropped.sum() * 0 + x.sum() * float(x[0])

    step = GraphedStep(wait, CUDA)
    for number in range(WARM_UP + 3):
        assert float(step(torch.full((3,), float(number), device=CUDA))) == 3 * number**2
    assert "no CUDA graph" in capsys.readouterr().err
    other = GraphedStep(lambda x: (x * torch.rand(3, device=CUDA)).sum(), CUDA)
    torch.cuda.manual_seed(0)
    first = [float(other(torch.ones(3, device=CUDA))) for _ in range(WARM_UP + 3)]
    assert len(set(first)) == len(first)
    torch.cuda.manual_seed(0)
    eager = [float(torch.rand(3, device=CUDA).sum()) for _ in range(WARM_UP + 3)]
    assert first == pytest.approx(eager)
