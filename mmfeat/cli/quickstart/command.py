"""The command `mmfeat quickstart`: run every stage on a small generated dataset."""

import csv
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from mmfeat.cli.commands import load_main
from mmfeat.cli.quickstart.picture import ShownSample, draw_picture
from mmfeat.cli.quickstart.toyset import DAMAGED_RECORDS, make_toyset
from mmfeat.config import parse_args
from mmfeat.errors import MmfeatError
from mmfeat.prediction_files import predictions_folder
from mmfeat.storage import files, lock_directory
from mmfeat.store import open_run, write_manifest
from mmfeat.system import console

_GROUPS = {
    "both": ("both are needed", 2),
    "text": ("picture without colour", 2),
    "image": ("text that says nothing", 2),
    "no image": ("one is missing", 1),
    "no text": ("one is missing", 1),
}
"""What tells the colour of a record → title in the picture, and number of samples shown."""


@dataclass
class QuickstartConfig:
    """Run all stages on a small generated dataset that no single modality can answer.

    The records are pictures of two coloured shapes, with a text that asks for the colour of the
    left or the right one. Some pictures have no colours, some texts say nothing, and some records
    lack one of them. The quickstart shards the records and extracts features. It trains on the
    picture alone, on the text alone and on both, and scores all records. At the end it draws a
    picture of samples with their predictions and modality weights.
    """

    output: str = "quickstart"
    """Output directory."""
    records: int = 2400
    """Number of intact records to generate. Five damaged ones are added, as in real data."""
    seed: int = 0
    """Seed of the dataset and of the training."""

    def __post_init__(self) -> None:
        if self.records < 120:
            raise MmfeatError("--records must be at least 120 to learn anything", got=self.records)


def main(arguments: Sequence[str]) -> None:
    """Run the quickstart."""
    config = parse_args(QuickstartConfig, arguments, prog="mmfeat quickstart")
    with lock_directory(config.output):
        _run_stages(config)


def _run_stages(config: QuickstartConfig) -> None:
    output = Path(config.output)
    config_hash = open_run(
        config.output, "quickstart", {"records": config.records, "seed": config.seed}
    )
    table = make_toyset(output / "raw", records=config.records, seed=config.seed)
    console.print_out(f"wrote {table}: two shapes, and a text that asks for the colour of one")
    console.print_out("some pictures have no colours, some texts say nothing, some are missing")
    console.print_out(f"{DAMAGED_RECORDS} more records are damaged on purpose, as real data are")
    shards, features = str(output / "shards"), str(output / "features")
    _run_command("shard", str(table), shards)
    _run_command("extract", shards, features)
    models = {
        "image only": ("image", "--fusion", "logistic"),
        "text only": ("text", "--fusion", "logistic"),
        "fused (gmu)": ("image,text", "--fusion", "gmu", "--condition", "pca", "--lr", "0.003"),
    }
    accuracies = {}
    for name, (modalities, *flags) in models.items():
        model = str(output / f"model_{modalities.replace(',', '_')}")
        seed = str(config.seed)
        _run_command("train", features, model, "--target", "label", "--modalities", modalities,
                     *flags, "--seed", seed)  # fmt: skip
        accuracies[name] = _test_accuracy(model)
    predictions = str(output / "predictions")
    columns = ("--columns", "label,split,told_by,input_row")
    _run_command("score", model, features, predictions, *columns)
    picture = output / "picture.png"
    scored = _test_rows(predictions_folder(predictions))
    draw_picture(picture, _shown_samples(table, scored), accuracies)
    write_manifest(config.output, "quickstart", config_hash, accuracy=accuracies)
    console.show_table("Accuracy on the test split", ["model", "accuracy"], accuracies.items())
    console.show_table(
        "Mean weights of the fused model on the test split",
        ["what tells the colour", "records", "image", "text"],
        _mean_weights(scored),
    )
    console.show_summary(
        "Output",
        {
            "raw records": table,
            "shards (WebDataset)": shards,
            "features (Arrow)": features,
            "fused model": model,
            "predictions (Parquet)": predictions,
            "picture": picture,
        },
    )


def _run_command(command: str, *arguments: str) -> None:
    """Run a command in this process, as the command line would."""
    console.print_out(f"\n$ mmfeat {shlex.join([command, *arguments])}")
    load_main(command)(arguments)


def _test_accuracy(model: str) -> float:
    metrics = files.read_json(files.join(model, "metrics.json"))
    return float(metrics["test"]["accuracy"])


def _test_rows(predictions: str) -> pa.Table:
    """Return the predictions of the test split, in the order of the table."""
    # In a store of format 1, receipts lie beside the rows.
    dataset = ds.dataset(predictions, format="parquet", exclude_invalid_files=True)
    return dataset.to_table(filter=ds.field("split") == "test").sort_by("input_row")


def _mean_weights(scored: pa.Table) -> list[list[str]]:
    """Return a row per group of records: number of records, mean weights."""
    rows = []
    for group in _GROUPS:
        part = scored.filter(pc.field("told_by") == group)
        if len(part):
            means = (pc.mean(part[f"w_{name}"]).as_py() for name in ("image", "text"))
            rows.append([group, str(len(part)), *(f"{mean:.3f}" for mean in means)])
    return rows


def _shown_samples(table: Path, scored: pa.Table) -> dict[str, list[ShownSample]]:
    """Return the first samples of each group by title."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    samples: dict[str, list[ShownSample]] = {}
    for group, (title, count) in _GROUPS.items():
        chosen = scored.filter(pc.field("told_by") == group).slice(0, count)
        samples.setdefault(title, []).extend(
            _shown_sample(table.parent, rows[row["input_row"]], row) for row in chosen.to_pylist()
        )
    return samples


def _shown_sample(folder: Path, row: Mapping[str, str], scored: Mapping[str, Any]) -> ShownSample:
    return ShownSample(
        image=folder / row["file_name"] if row["file_name"] else None,
        text=row["text"],
        label=row["label"],
        prediction=scored["prediction"],
        probability=scored["probability"],
        weights={name[2:]: scored[name] for name in scored if name.startswith("w_")},
    )
