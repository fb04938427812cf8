"""Train a model, from the features to the saved files."""

from contextlib import closing
from typing import Any

import torch

from mmfeat.encoders.neural.runtime import resolve_devices
from mmfeat.features import FeatureStore
from mmfeat.plugins import trust
from mmfeat.storage import lock_directory
from mmfeat.store import check_output, finished_manifest, open_run
from mmfeat.system import ProgressBar, print_out, waiting_for
from training.columns import choose_columns
from training.config import TrainConfig
from training.data import BLOCK, BLOCKS, TRAIN, Dataset
from training.fit.candidates import fit_conditionings, fit_recipes
from training.fit.checkpoint import Checkpoint, remove_checkpoint
from training.fit.device import FLOAT32, MIN_MEASURED_ROWS, ComputeConfig, faster_precision
from training.fit.fit_result import FitResult
from training.fit.loop import measure_bfloat16
from training.fit.metrics_log import MetricsLog, describe_epoch
from training.fit.resolve import ResolvedRun, open_dataset, resolve_run
from training.fit.saving.closing_summary import print_summary
from training.fit.saving.save_model import save_best
from training.loggers import check_logger
from training.recipe import AdamWRecipe


def train_model(config: TrainConfig) -> None:
    """Train a model and save it. A finished model is left as it is.

    Raises:
        MmfeatError: the features lack a column of the options, or the output holds another model.
    """
    check_logger(config.run.logger)
    trust(config.model.fusion)
    trust(config.model.combination)
    with lock_directory(config.output):
        _train_model(config)


def _train_model(config: TrainConfig) -> None:
    check_output(config.output, "model")
    torch.set_num_threads(config.run.threads)
    device = resolve_devices(config.run.device)[0]
    store = FeatureStore(config.features)
    columns = choose_columns(store, config.modalities)
    with waiting_for("train: reading the features"):
        dataset = open_dataset(config, store, columns)
    resolved = resolve_run(config, store, columns, dataset)
    config_hash = open_run(config.output, "model", resolved.config)
    if finished_manifest(config.output, config_hash):
        remove_checkpoint(config.output)
        print_out(f"{config.output} holds this model already; nothing to do")
        return
    checkpoint = Checkpoint(config.output, binding(config, config_hash, device))
    compute = _choose_compute(config, resolved, dataset, device, checkpoint)
    candidates = _fit_candidates(config, resolved, dataset, compute, checkpoint)
    metrics = save_best(config.output, config_hash, store, dataset, candidates, compute.metrics)
    remove_checkpoint(config.output)
    print_summary(config.output, dataset, metrics)


def binding(config: TrainConfig, config_hash: str, device: torch.device) -> dict[str, object]:
    """Return everything the weights depend on; a checkpoint with another binding is not used."""
    return {
        "config_hash": config_hash,
        "precision": config.run.precision,
        "device": str(device),
        "threads": config.run.threads,
        "torch": torch.__version__,
        "blocks": [BLOCK, BLOCKS],
    }


def _choose_compute(
    config: TrainConfig,
    resolved: ResolvedRun,
    dataset: Dataset,
    device: torch.device,
    checkpoint: Checkpoint,
) -> ComputeConfig:
    """Return device and precision; the checkpoint keeps a measured precision."""
    recipe = resolved.recipes[0]
    if not isinstance(recipe, AdamWRecipe):
        return ComputeConfig()  # linear models are fitted in float32 on the CPU
    if config.run.precision != "auto":
        return ComputeConfig(device, config.run.precision)
    if len(dataset.split_rows[TRAIN]) < MIN_MEASURED_ROWS:
        return ComputeConfig(device, FLOAT32)

    def measure() -> tuple[str, float]:
        speedup = measure_bfloat16(resolved.architecture, dataset, recipe, device)
        return faster_precision(speedup), speedup

    return ComputeConfig(device, *checkpoint.measure_once("precision", measure))


def _fit_candidates(
    config: TrainConfig,
    resolved: ResolvedRun,
    dataset: Dataset,
    compute: ComputeConfig,
    checkpoint: Checkpoint,
) -> list[FitResult]:
    """Fit each recipe; log the metrics and show the progress of each epoch."""
    recipes = resolved.recipes
    max_epochs = sum(recipe.epochs for recipe in recipes)
    metrics_log = MetricsLog(config.output, logger=config.run.logger)
    with closing(metrics_log), ProgressBar("train", max_epochs, "epochs at most") as bar:

        def on_epoch(number: int, metrics: dict[str, Any]) -> None:
            metrics_log.log_metrics(recipes[number].choice, metrics)
            finished = sum(recipe.epochs for recipe in recipes[:number])
            rows = len(dataset.split_rows[TRAIN])
            bar.update(finished + metrics["epoch"], describe_epoch(recipes, number, metrics, rows))

        conditioned = [r for r in recipes if isinstance(r, AdamWRecipe) and r.conditioning]
        if conditioned:
            return fit_conditionings(
                resolved.architecture,
                dataset,
                conditioned,
                on_epoch,
                compute=compute,
                checkpoint=checkpoint,
            )
        return fit_recipes(
            resolved.architecture,
            dataset,
            recipes,
            on_epoch,
            compute=compute,
            checkpoint=checkpoint,
        )
