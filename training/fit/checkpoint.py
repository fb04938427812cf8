"""Checkpoints of a training run, in OUTPUT/checkpoint/. A finished run removes the folder.

    settled.json                  the run's binding and its measured settings
    candidate-0.json              log and state of a candidate, written after its tensors
    candidate-0-7.safetensors     weights, optimizer state and random state

A checkpoint is ignored if the configuration, the version of torch or the device differs.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NotRequired, TypedDict

import safetensors.torch
import torch
from torch import Tensor, nn

from mmfeat.errors import DamagedFileError
from mmfeat.models.base import Model
from mmfeat.models.saved_model import parse_tensors
from mmfeat.storage import Count, Name, Size, files, read_intact_document
from mmfeat.store import json_digest

FOLDER = "checkpoint"

SAVE_INTERVAL = 40
"""Minimum time between two saves, in multiples of the time a save takes: saves cost at most 2.5 %
of a run."""

_SETTINGS_FILE = "settled.json"


class _SettingsDocument(TypedDict):
    binding: str
    settled: dict[str, Any]


class _Facts(TypedDict):
    log: list[dict[str, Any]]
    best: NotRequired[Size]
    finished: NotRequired[Size]


class _SlotDocument(TypedDict):
    binding: str
    saves: Count
    file: Name
    sha256: str
    facts: _Facts


class SavedState(NamedTuple):
    """The saved state of a candidate.

    Attributes:
        tensors: tensors by name.
        facts: values ready for JSON.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class CheckpointSlot:
    """The checkpoint of one candidate. Each save replaces the previous one.

    Args:
        folder: the checkpoint folder.
        name: name of the candidate.
        binding: digest of everything the weights depend on.
    """

    def __init__(self, folder: str, name: str, binding: str) -> None:
        self._folder = folder
        self._name = name
        self._binding = binding
        self._saves = 0
        self._next_save = 0.0

    @property
    def due(self) -> bool:
        """Whether the last save is old enough for another one."""
        return time.monotonic() >= self._next_save

    def load(self) -> SavedState | None:
        """Return the last saved state; None if there is none, or it is unusable."""
        state = read_intact_document(self._path(f"{self._name}.json"), _SlotDocument)
        if state is None or state["binding"] != self._binding:
            return None
        path = self._path(state["file"])
        try:
            with files.open_input(path) as file:
                data = file.read()
            if hashlib.sha256(data).hexdigest() != state["sha256"]:
                return None
            tensors = parse_tensors(data, path)
        except (FileNotFoundError, DamagedFileError):
            return None
        self._saves = state["saves"]
        return SavedState(tensors, dict(state["facts"]))

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Save a state atomically.

        Args:
            tensors: tensors by name; no two share memory.
            facts: values ready for JSON.
        """
        start = time.monotonic()
        previous, self._saves = self._saves, self._saves + 1
        with files.create(self._path(self._file(self._saves))) as output:
            output.write(safetensors.torch.save({n: t.contiguous() for n, t in tensors.items()}))
        state = {
            "binding": self._binding,
            "saves": self._saves,
            "file": self._file(self._saves),
            "sha256": output.info()["sha256"],
            "facts": dict(facts),
        }
        files.write_json(self._path(f"{self._name}.json"), state)
        files.remove(self._path(self._file(previous)))
        end = time.monotonic()
        self._next_save = end + SAVE_INTERVAL * (end - start)

    def _file(self, number: int) -> str:
        return f"{self._name}-{number}.safetensors"

    def _path(self, name: str) -> str:
        return files.join(self._folder, name)


class Checkpoint:
    """The checkpoint of a run. A checkpoint with another binding is removed.

    Args:
        output: output directory of the run.
        binding: everything the weights depend on, ready for JSON.
    """

    def __init__(self, output: str, binding: Mapping[str, Any]) -> None:
        self._folder = files.join(output, FOLDER)
        self._binding = json_digest(binding)
        state = read_intact_document(self._path, _SettingsDocument)
        if state and state["binding"] == self._binding:
            self._settings: dict[str, Any] = state["settled"]
        else:
            files.remove(self._folder)
            self._settings = {}

    def measure_once(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return a measured setting. A resumed run gets the value of the first measurement."""
        if name not in self._settings:
            self._settings[name] = measure()
            files.write_json(self._path, {"binding": self._binding, "settled": self._settings})
        return self._settings[name]

    def slot(self, candidate: int) -> CheckpointSlot:
        """Return the checkpoint of a candidate."""
        return CheckpointSlot(self._folder, f"candidate-{candidate}", self._binding)

    @property
    def _path(self) -> str:
        return files.join(self._folder, _SETTINGS_FILE)


def remove_checkpoint(output: str) -> None:
    """Remove the checkpoint of a finished run."""
    files.remove(files.join(output, FOLDER))


@dataclass
class TrainState:
    """Everything a training step changes.

    Attributes:
        module: the module in training.
        best: copy of the model at its best epoch.
        optimizer: optimizer of the module.
        device: device of the module.
    """

    module: nn.Module
    best: Model
    optimizer: torch.optim.Optimizer
    device: torch.device

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the state, and torch's random state, as tensors on the CPU."""
        tensors = {f"learner.{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return {name: value.cpu() for name, value in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the result of `to_tensors` into the modules, the optimizer and torch.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: the tensors are those of another module.
        """
        self.best.load_state_dict(_with_prefix(tensors, "best"))
        self.module.load_state_dict(_with_prefix(tensors, "learner"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _with_prefix(tensors, "optimizer").items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = value
        for position, weights in enumerate(self.module.parameters()):
            if position in state and state[position]["exp_avg"].shape != weights.shape:
                raise ValueError("the optimizer is one of other weights")
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors below a prefix, without it."""
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in tensors.items()
        if name.startswith(f"{prefix}.")
    }
