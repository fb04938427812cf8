"""What a killed training run goes on from: OUTPUT/checkpoint/, there until the model is finished.

    settled.json                  what the run is bound to, and what it settled by measuring
    candidate-0.json              where a candidate stands; written after the tensors it names
    candidate-0-7.safetensors     the tensors: weights, optimizer, random state

A checkpoint of another configuration, another version of torch or another device counts as none.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mmfeat.models.base import Model
from mmfeat.store import files
from mmfeat.store.directory import digest
from training.fit.auxiliary import Learner

FOLDER = "checkpoint"

_SETTLED = "settled.json"

_SHARE = 40
"""Times as long as its writing took a checkpoint is good for: it costs 2.5 % at most."""


class Saved(NamedTuple):
    """A candidate as it was saved.

    Attributes:
        tensors: by name.
        facts: ready for JSON.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class Slot:
    """The checkpoint of one candidate: each save takes the place of the one before.

    Args:
        folder: of the checkpoint.
        name: of the candidate.
        binding: digest of what the run is bound to.
    """

    def __init__(self, folder: str, name: str, binding: str) -> None:
        self._folder = folder
        self._name = name
        self._binding = binding
        self._saves = 0
        self._due = 0.0

    @property
    def due(self) -> bool:
        """Whether enough was trained since the last save that another one costs little."""
        return time.monotonic() >= self._due

    def load(self) -> Saved | None:
        """What was saved last; None where there is nothing, or nothing that can be used."""
        state = files.read_json(self._path(f"{self._name}.json"))
        if not isinstance(state, dict) or state.get("binding") != self._binding:
            return None
        try:
            with files.open_input(self._path(state["file"])) as file:
                data = file.read()
            tensors = safetensors.torch.load(data)
        except (FileNotFoundError, safetensors.SafetensorError):
            return None
        self._saves = state["saves"]
        return Saved(tensors, state["facts"])

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Save, whole or not at all.

        Args:
            tensors: no two of which share memory.
            facts: ready for JSON.
        """
        began = time.monotonic()
        before, self._saves = self._saves, self._saves + 1
        with files.create(self._path(self._file(self._saves))) as output:
            output.write(safetensors.torch.save({n: t.contiguous() for n, t in tensors.items()}))
        state = {
            "binding": self._binding,
            "saves": self._saves,
            "file": self._file(self._saves),
            "facts": dict(facts),
        }
        files.write_json(self._path(f"{self._name}.json"), state)
        files.remove(self._path(self._file(before)))
        now = time.monotonic()
        self._due = now + _SHARE * (now - began)

    def _file(self, number: int) -> str:
        return f"{self._name}-{number}.safetensors"

    def _path(self, name: str) -> str:
        return files.join(self._folder, name)


class Checkpoint:
    """The checkpoint of a run; one that is bound to something else is removed.

    Args:
        output: the model's directory.
        binding: ready for JSON: all that the weights depend on.
    """

    def __init__(self, output: str, binding: Mapping[str, Any]) -> None:
        self._folder = files.join(output, FOLDER)
        self._binding = digest(binding)
        files.remove_temporaries(self._folder)
        state = files.read_json(self._path)
        if isinstance(state, dict) and state.get("binding") == self._binding:
            self._settled: dict[str, Any] = state["settled"]
        else:
            files.remove(self._folder)
            self._settled = {}

    def settle(self, name: str, measure: Callable[[], Any]) -> Any:
        """What a measurement gave in this run, or in the killed one that this goes on with."""
        if name not in self._settled:
            self._settled[name] = measure()
            files.write_json(self._path, {"binding": self._binding, "settled": self._settled})
        return self._settled[name]

    def slot(self, candidate: int) -> Slot:
        """Where a candidate is kept."""
        return Slot(self._folder, f"candidate-{candidate}", self._binding)

    @property
    def _path(self) -> str:
        return files.join(self._folder, _SETTLED)


def remove_checkpoint(output: str) -> None:
    """Remove what a finished model no longer needs."""
    files.remove(files.join(output, FOLDER))


class Stand(NamedTuple):
    """All that a step changes.

    Attributes:
        learner: the model in training, and what helps it.
        best: a copy of it at its best epoch.
        optimizer: of the learner; its state is a few tensors for each weight.
    """

    learner: Learner
    best: Model
    optimizer: torch.optim.Optimizer


def tensors_of(stand: Stand, device: torch.device) -> dict[str, Tensor]:
    """The stand and torch's random state as named tensors."""
    tensors = {f"learner.{name}": value for name, value in stand.learner.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in stand.best.state_dict().items()}
    for number, state in stand.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    return {name: value.cpu() for name, value in tensors.items()}


def restore(
    tensors: Mapping[str, Tensor],
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> Stand:
    """Bring a new learner and its optimizer, and torch's random state, to where they stood."""
    best = learner.trained()
    best.load_state_dict(_below(tensors, "best"))
    learner.load_state_dict(_below(tensors, "learner"))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimizer").items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    torch.set_rng_state(tensors["random.cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)
    return Stand(learner, best, optimizer)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in tensors.items()
        if name.startswith(f"{prefix}.")
    }
