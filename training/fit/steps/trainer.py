"""A model, its optimizer, and the step that changes both."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import ALIGN
from mmfeat.models.base import Model
from training.data import Batch
from training.fit.auxiliary import ModelWithAuxiliaryLosses
from training.fit.checkpoint import TrainState
from training.fit.device import CPU_FLOAT32, ComputeConfig
from training.fit.steps.graphed_step import MIN_STEPS, GraphedStep, can_be_captured
from training.objectives.base import Objective
from training.recipe import MAX_GRADIENT_NORM, AdamWRecipe


class Trainer:
    """A model and its optimizer.

    Args:
        model: the model. It moves to the device.
        objective: the objective.
        recipe: the settings.
        steps: number of steps of the whole training.
        compute: device and precision.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        recipe: AdamWRecipe,
        steps: int,
        compute: ComputeConfig = CPU_FLOAT32,
    ) -> None:
        self.module = ModelWithAuxiliaryLosses(model, recipe.auxiliary).to(compute.device)
        self.recipe = recipe
        self.compute = compute
        self.finished_steps = 0
        self._steps = steps
        self._weights = list(self.module.parameters())
        with compute.device:  # the tensors of the loss belong there
            self._loss = objective.build_loss(recipe)
        # A graph reads the learning rate and the number of the step from the memory of the GPU.
        # Steps without a graph do so, too, and compute the same bytes.
        capturable = compute.uses_graphs or compute.device.type == "cuda"
        lr = torch.tensor(recipe.lr, device=compute.device) if capturable else recipe.lr
        self.optimizer = torch.optim.AdamW(
            self._weights,
            lr=lr,
            weight_decay=recipe.weight_decay,
            fused=True,
            capturable=capturable,
        )

    @property
    def model(self) -> Model:
        """The model in training."""
        return self.module.model

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.recipe.lr * self.recipe.lr_factor(self.finished_steps, self._steps)

    def make_step(self, to_batch: Callable[..., Batch]) -> Callable[..., Tensor]:
        """Return a function that trains on a batch and returns its loss, shape [].

        The function takes the tensors that `to_batch` makes a batch of. It may overwrite the loss
        that it returned before.
        """
        update: Callable[..., Tensor] = lambda *inputs: self._update(to_batch(*inputs))  # noqa: E731
        if self._pays_for_graphs:
            update = GraphedStep(update, self.compute.device, self.optimizer.zero_grad)

        def step(*inputs: Tensor) -> Tensor:
            self._set_lr()
            self.finished_steps += 1
            return update(*inputs)

        return step

    @property
    def _pays_for_graphs(self) -> bool:
        objective_waits = self.recipe.auxiliary or self.model.architecture.fusion == ALIGN
        return (
            self.compute.uses_graphs
            and self._steps - self.finished_steps >= MIN_STEPS
            and not objective_waits
            and can_be_captured(self.module)
        )

    def _set_lr(self) -> None:
        group = self.optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(self.lr)
        else:
            group["lr"] = self.lr

    def _update(self, batch: Batch) -> Tensor:
        loss = self.module.loss(batch, self._loss, self.compute)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._weights, MAX_GRADIENT_NORM)
        self.optimizer.step()
        return loss.detach()

    def state(self, best: Model) -> TrainState:
        """Return the state of the training, with the best model so far."""
        return TrainState(self.module, best, self.optimizer, self.compute.device)
