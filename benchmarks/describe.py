"""Measure models that describe: tokens a second beside the bare decoder's, and memory of scoring.

    python -m benchmarks.describe [--rounds 5] [--rows 2000]

The bare decoder trains and writes on fixed random prefixes: no features, fusion, batches or texts.
Both take turns in one process on one thread, and processor time is counted, so that other load on
the machine matters less. The memory of `mmfeat score` is the peak of a process of its own, on a
store and on one with four times the rows. The last line of the output is one JSON object.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mmfeat.config import parse_args
from mmfeat.models.build import build_model
from mmfeat.models.decoder.decoding_options import DecodingOptions
from mmfeat.models.decoder.description_model import DescriptionModel
from mmfeat.models.decoder.transformer import Context, Transformer
from mmfeat.models.inference import run_model
from mmfeat.system import print_err, show_table
from tests.training.scenes import describe_flags, scene_records
from tests.training.stores import write_store
from training.columns import choose_columns
from training.config import TrainConfig
from training.data import Batches, Dataset
from training.describe_options import DescribeOptions
from training.fit.resolve import ResolvedRun, open_dataset, resolve_run
from training.fit.steps.trainer import Trainer
from training.objectives.describe import TeacherForcing
from training.recipe import MAX_GRADIENT_NORM, AdamWRecipe

_STEPS = 8
"""Training steps of a round."""

_TEXTS = 256
"""Texts that are written in a round."""


@dataclass
class Options:
    """Measure training, decoding and scoring of a model that describes."""

    rounds: int = 5
    """Rounds in which both take turns; the median counts."""
    rows: int = 2_000
    """Rows of the smaller store that is scored."""
    layers: int = 4
    """Layers of the decoder."""
    width: int = 256
    """Width of the decoder."""


def main(arguments: Sequence[str]) -> None:
    """Measure, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.describe")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(f"{folder}/features", scene_records(2000, tokens=True))
        resolved, dataset = _resolve(store, f"{folder}/model", options)
        speeds = {
            "training": _measure_training(resolved, dataset, options.rounds),
            "decoding": _measure_decoding(resolved, dataset, options.rounds),
        }
        memory = _measure_memory(Path(folder), options.rows)
    rows = [
        [name, round(ours), round(bare), f"{ours / bare:.2f}"]
        for name, (ours, bare) in speeds.items()
    ]
    show_table("tokens per second of one core", ["", "mmfeat", "bare decoder", "ratio"], rows)
    lines = [[f"{count:,}", f"{peak:,.0f} MB"] for count, peak in memory.items()]
    show_table("peak memory of mmfeat score", ["rows", "peak"], lines)
    result = {
        name: {"tokens_per_s": ours, "bare_tokens_per_s": bare, "ratio": ours / bare}
        for name, (ours, bare) in speeds.items()
    }
    print(json.dumps({**result, "score_peak_mb": memory}))


def _resolve(store: str, output: str, options: Options) -> tuple[ResolvedRun, Dataset]:
    from mmfeat.features import FeatureStore

    config = TrainConfig(
        store,
        output,
        target="caption",
        task="describe",
        describe=DescribeOptions(decoder_layers=options.layers, decoder_width=options.width),
    )
    features = FeatureStore(store)
    columns = choose_columns(features, "")
    dataset = open_dataset(config, features, columns, quiet=True)
    return resolve_run(config, features, columns, dataset), dataset


def _measure_training(resolved: ResolvedRun, dataset: Dataset, rounds: int) -> tuple[float, float]:
    """Return tokens per second of training, and those of the bare decoder."""
    (recipe,) = resolved.recipes
    assert isinstance(recipe, AdamWRecipe)
    model = build_model(resolved.architecture)
    trainer = Trainer(model, dataset.objective, recipe, 1000)
    trainer.module.train()
    batches = iter([])  # type: ignore[var-annotated]
    batched = Batches(dataset, recipe.batch_size)
    step = trainer.make_step(batched.to_batch)
    loss = dataset.objective.build_loss(recipe)
    assert isinstance(loss, TeacherForcing)
    tokens = loss.tokens(torch.from_numpy(dataset.targets[: recipe.batch_size]))

    def train() -> int:
        nonlocal batches
        for _ in range(_STEPS):
            inputs = next(batches, None)
            if inputs is None:
                batches = iter(batched.inputs())
                inputs = next(batches)
            step(*inputs)
        return _STEPS * tokens.numel()

    bare = _bare_training(model, tokens)
    return _take_turns(train, lambda: sum(bare() for _ in range(_STEPS)), rounds)


def _bare_training(model: object, tokens: torch.Tensor) -> Callable[[], int]:
    decoder, context = _bare_decoder(model, len(tokens))
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3, fused=True)
    inputs = torch.cat([torch.ones_like(tokens[:, :1]), tokens[:, :-1]], dim=1)

    def step() -> int:
        logits = decoder.train()(inputs, context)
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), tokens.flatten(), label_smoothing=0.1
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        return tokens.numel()

    return step


def _measure_decoding(resolved: ResolvedRun, dataset: Dataset, rounds: int) -> tuple[float, float]:
    """Return tokens per second of greedy decoding, and those of the bare decoder."""
    model = build_model(resolved.architecture)
    assert isinstance(model, DescriptionModel)
    length = model.layers.max_length
    model.decoding = DecodingOptions(min_tokens=length)
    features, present = dataset.features.take(np.arange(_TEXTS))
    decoder, context = _bare_decoder(model, model.batch_rows)

    def describe() -> int:
        run_model(model, features, present)
        return _TEXTS * length

    @torch.inference_mode()
    def write() -> int:
        for _ in range(_TEXTS // model.batch_rows):
            state = decoder.eval().start(context)
            token = torch.ones(model.batch_rows, dtype=torch.long)
            for _ in range(length):
                token = decoder.step(token, state).argmax(dim=1)
        return _TEXTS * length

    return _take_turns(describe, write, rounds)


def _bare_decoder(model: object, rows: int) -> tuple[Transformer, Context]:
    """Return a decoder of the same layers, and random prefixes and memory of the same shapes."""
    assert isinstance(model, DescriptionModel)
    layers, dropout = model.layers, model.architecture.dropout
    decoder = Transformer(layers, dropout, crosses=True)
    count = 1 + sum(model.architecture.tokens.values())
    memory = torch.randn(rows, count, layers.width)
    mask = torch.ones(rows, count, dtype=torch.bool)
    return decoder, Context(torch.randn(rows, layers.prefix, layers.width), memory, mask)


def _take_turns(
    ours: Callable[[], int], bare: Callable[[], int], rounds: int
) -> tuple[float, float]:
    """Return tokens per second of processor time of both: medians over the rounds."""
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(rounds + 1):
        for name, run in (("ours", ours), ("bare", bare)):
            start = time.process_time()
            tokens = run()
            if number:  # the first round warms up
                rates[name].append(tokens / (time.process_time() - start))
    return float(np.median(rates["ours"])), float(np.median(rates["bare"]))


def _measure_memory(folder: Path, rows: int) -> dict[int, float]:
    """Return rows → peak memory of `mmfeat score` in MB."""
    model = folder / "small"
    small = write_store(f"{folder}/train", scene_records(200))
    flags = describe_flags(1)
    _run_mmfeat("train", small, str(model), *flags)
    peaks: dict[int, float] = {}
    for count in (rows, 4 * rows):
        store = write_store(f"{folder}/rows-{count}", scene_records(count), max(1, count // 1000))
        print_err(f"describe: scoring {count:,} rows")
        output = f"{folder}/predictions-{count}"
        peaks[count] = _run_mmfeat("score", str(model), store, output)
    return peaks


def _run_mmfeat(*arguments: str) -> float:
    """Run a command and return its peak memory in MB."""
    code = (
        "import resource, sys; from mmfeat.cli.main import main; main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(result.stdout.split()[-1]) / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
