"""Make a model, from the features to the last file.

columns → data in memory → plan → claim → fit each recipe → temperature → files
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mmfeat.encoders.runtime import devices_of
from mmfeat.features.store import FeatureStore
from mmfeat.store import files
from mmfeat.store.directory import MANIFEST, claim, exclusive
from mmfeat.system.console import say
from training.config import TrainConfig
from training.data.dataset import Dataset
from training.data.shuffle import BLOCK, BLOCKS
from training.data.splits import TRAIN
from training.evaluation.predictions import write_predictions
from training.fit.candidates import fit_candidates
from training.fit.checkpoint import Checkpoint, remove_checkpoint
from training.fit.device import FLOAT32, LEAST_ROWS, Machine
from training.fit.fit_result import Fitted
from training.fit.log import Journal, check_tensorboard
from training.fit.loop import choose_precision
from training.fit.recipe import StepRecipe
from training.fit.resolve import Plan, choose_columns, open_dataset, plan_training
from training.fit.save_model import judge, show_outcome, write_model
from training.report import write_model_report


def make_model(config: TrainConfig) -> None:
    """Train a model and write it; a finished one is left alone.

    Raises:
        MmfeatError: the features lack what the options name, or the output holds another model.
    """
    if config.run.tensorboard:
        check_tensorboard()
    with exclusive(config.output):
        _make_model(config)


def _make_model(config: TrainConfig) -> None:
    torch.set_num_threads(config.run.threads)
    device = devices_of(config.run.device)[0]
    store = FeatureStore(config.features)
    columns = choose_columns(store, config.modalities)
    dataset = open_dataset(config, store, columns)
    plan = plan_training(config, store, columns, dataset)
    config_hash = claim(config.output, "model", plan.claim)
    if files.exists(files.join(config.output, MANIFEST)):
        remove_checkpoint(config.output)
        say(f"{config.output} holds this model already; nothing to do")
        return
    checkpoint = Checkpoint(config.output, _binding(config, config_hash, device))
    machine = _settle(config, plan, dataset, device, checkpoint)
    journal = Journal(config.output, tensorboard=config.run.tensorboard)
    candidates = fit_candidates(
        plan, dataset, machine=machine, checkpoint=checkpoint, journal=journal
    )
    journal.close()
    metrics = finish_model(config.output, config_hash, store, dataset, candidates, machine.facts)
    remove_checkpoint(config.output)
    show_outcome(config.output, dataset, metrics)


def finish_model(
    folder: str,
    config_hash: str,
    store: FeatureStore,
    dataset: Dataset,
    candidates: Sequence[Fitted],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Judge the best candidate and write it, with all that goes with a model; returns the metrics.

    Args:
        folder: of the model, claimed.
        config_hash: of the claim.
        store: the features.
        dataset: that the candidates were fitted on.
        candidates: the fitted models.
        facts: of the machine, for the metrics.
    """
    best = max(candidates, key=lambda candidate: candidate.rank)
    metrics = judge(best, candidates, dataset)
    metrics["speed"] |= facts
    write_predictions(folder, store, best, dataset)
    write_model(folder, config_hash, store, best, candidates, metrics)
    write_model_report(folder)
    return metrics


def _binding(config: TrainConfig, config_hash: str, device: torch.device) -> dict[str, object]:
    """What a checkpoint must have been made with: all that the weights depend on."""
    return {
        "config_hash": config_hash,
        "precision": config.run.precision,
        "device": str(device),
        "threads": config.run.threads,
        "torch": torch.__version__,
        "blocks": [BLOCK, BLOCKS],
    }


def _settle(
    config: TrainConfig, plan: Plan, dataset: Dataset, device: torch.device, checkpoint: Checkpoint
) -> Machine:
    """The machine as the options want it; a measured precision is kept with the checkpoint."""
    recipe = plan.recipes[0]
    if not isinstance(recipe, StepRecipe):
        return Machine()  # what is solved is solved on the CPU, in float32
    if config.run.precision != "auto":
        return Machine(device, config.run.precision)
    if len(dataset.parts[TRAIN]) < LEAST_ROWS:
        return Machine(device, FLOAT32)
    measured = checkpoint.settle(
        "precision", lambda: choose_precision(plan.architecture, dataset, recipe, device)
    )
    return Machine(device, *measured)
