"""The command `mmfeat quickstart`: run every stage on a small generated dataset."""

import csv
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow.dataset as ds

from mmfeat.cli.commands import load_main
from mmfeat.cli.quickstart.picture import ShownSample, draw_picture
from mmfeat.cli.quickstart.toyset import DAMAGED_RECORDS, make_toyset
from mmfeat.config import parse_args
from mmfeat.errors import MmfeatError
from mmfeat.records import file_stem, safe_key
from mmfeat.scoring import predictions_folder
from mmfeat.storage import files, lock_directory
from mmfeat.store import open_run, write_manifest
from mmfeat.system import console

_SHOWN_SAMPLES = 8


@dataclass
class QuickstartConfig:
    """Run all stages on a small generated dataset that no single modality can answer.

    The records are pictures of two coloured shapes, with a text that asks for the colour of the
    left or the right one. The quickstart shards them and extracts features. It trains on the
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
    console.print_out(f"{DAMAGED_RECORDS} more records are damaged on purpose, as real data are")
    shards, features = str(output / "shards"), str(output / "features")
    _run_command("shard", str(table), shards)
    _run_command("extract", shards, features)
    models = {
        "image only": ("image", "--fusion", "logistic"),
        "text only": ("text", "--fusion", "logistic"),
        "fused (gmu)": ("image,text", "--fusion", "gmu", "--lr", "0.001"),
    }
    accuracies = {}
    for name, (modalities, *flags) in models.items():
        model = str(output / f"model_{modalities.replace(',', '_')}")
        seed = str(config.seed)
        _run_command("train", features, model, "--target", "label", "--modalities", modalities,
                     *flags, "--seed", seed)  # fmt: skip
        accuracies[name] = _test_accuracy(model)
    predictions = str(output / "predictions")
    _run_command("score", model, features, predictions)
    picture = output / "picture.png"
    predictions = predictions_folder(predictions)
    draw_picture(picture, list(_shown_samples(table, predictions)), accuracies)
    write_manifest(config.output, "quickstart", config_hash, accuracy=accuracies)
    console.show_table("Accuracy on the test split", ["model", "accuracy"], accuracies.items())
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


def _shown_samples(table: Path, predictions: str) -> Iterator[ShownSample]:
    """Yield test samples with their predictions, joined by key."""
    with table.open(newline="", encoding="utf-8") as file:
        test_rows = (row for row in csv.DictReader(file) if row["split"] == "test")
        rows = {
            safe_key(file_stem(row["file_name"])): row for row in islice(test_rows, _SHOWN_SAMPLES)
        }
    # In a store of format 1, receipts lie beside the rows.
    dataset = ds.dataset(predictions, format="parquet", exclude_invalid_files=True)
    for scored in dataset.to_table(filter=ds.field("__key__").isin(list(rows))).to_pylist():
        row = rows[scored["__key__"]]
        yield ShownSample(
            image=table.parent / row["file_name"],
            text=row["text"],
            label=row["label"],
            prediction=scored["prediction"],
            probability=scored["probability"],
            weights={name[2:]: scored[name] for name in scored if name.startswith("w_")},
        )
