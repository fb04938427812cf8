"""`mmfeat quickstart`: the whole way on a small generated dataset, each command shown."""

import csv
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow.dataset as ds

from mmfeat.cli.commands import COMMANDS
from mmfeat.cli.quickstart.picture import Shown, draw_picture
from mmfeat.cli.quickstart.toyset import make_toyset
from mmfeat.config.flags import parse_args
from mmfeat.errors import MmfeatError
from mmfeat.records.keys import file_stem, safe_key
from mmfeat.store import files
from mmfeat.store.directory import open_run
from mmfeat.store.manifest import write_manifest
from mmfeat.system import console
from mmfeat.system.entry import run_main

_SHOWN = 8


@dataclass
class QuickstartConfig:
    """Run all stages on a small generated dataset that neither modality can answer alone.

    It makes pictures of two coloured shapes, with a text that asks for the colour of the left or
    the right one; shards them; extracts features; trains on the picture alone, the text alone and
    both; scores everything; and draws a picture of samples with predictions and modality weights.
    """

    output: str = "quickstart"
    """Directory of all that is made."""
    records: int = 2400
    """Records to generate."""
    seed: int = 0
    """Seed of the dataset and of the training."""

    def __post_init__(self) -> None:
        if self.records < 120:
            raise MmfeatError("--records must be at least 120 to learn anything", got=self.records)


def main(arguments: Sequence[str]) -> None:
    """Run the quickstart."""
    config = parse_args(QuickstartConfig, arguments, prog="mmfeat quickstart")
    output = Path(config.output)
    config_hash = open_run(
        config.output, "quickstart", {"records": config.records, "seed": config.seed}
    )
    table = make_toyset(output / "raw", records=config.records, seed=config.seed)
    console.print_out(
        f"made {table}: two shapes, and a text that asks for the colour of one of them"
    )
    shards, features = str(output / "shards"), str(output / "features")
    _run("shard", str(table), shards)
    _run("extract", shards, features)
    models = {"image only": "image", "text only": "text", "fused (gmu)": "image,text"}
    accuracies = {}
    for name, modalities in models.items():
        model = str(output / f"model_{modalities.replace(',', '_')}")
        seed = str(config.seed)
        _run("train", features, model, "--target", "label", "--modalities", modalities,
             "--lr", "0.001", "--seed", seed)  # fmt: skip
        accuracies[name] = _test_accuracy(model)
    predictions = str(output / "predictions")
    _run("score", model, features, predictions)
    picture = output / "picture.png"
    draw_picture(picture, list(_samples(table, predictions)), accuracies)
    write_manifest(config.output, "quickstart", config_hash, accuracy=accuracies)
    console.show_table("Accuracy on the test split", ["model", "accuracy"], accuracies.items())
    console.show_summary(
        "Where everything lies",
        {
            "raw records": table,
            "shards (WebDataset)": shards,
            "features (Arrow)": features,
            "fused model": model,
            "predictions (Parquet)": predictions,
            "picture": picture,
        },
    )


def _run(command: str, *arguments: str) -> None:
    """Run a command as a user would, in this process."""
    console.print_out(f"\n$ mmfeat {shlex.join([command, *arguments])}")
    code = run_main(COMMANDS[command].load(), arguments)
    if code:
        raise MmfeatError(f"the quickstart stopped: mmfeat {command} ended with exit code {code}")


def _test_accuracy(model: str) -> float:
    metrics = files.read_json(files.join(model, "metrics.json"))
    return float(metrics["test"]["accuracy"])


def _samples(table: Path, predictions: str) -> Iterator[Shown]:
    """Test samples to show: what was asked, joined by key to what was predicted."""
    with table.open(newline="", encoding="utf-8") as file:
        test = (row for row in csv.DictReader(file) if row["split"] == "test")
        asked = {safe_key(file_stem(row["file_name"])): row for row in islice(test, _SHOWN)}
    scored = ds.dataset(predictions, format="parquet", exclude_invalid_files=True)
    for row in scored.to_table(filter=ds.field("__key__").isin(list(asked))).to_pylist():
        source = asked[row["__key__"]]
        yield Shown(
            image=table.parent / source["file_name"],
            text=source["text"],
            label=source["label"],
            prediction=row["prediction"],
            probability=row["probability"],
            weights={name.removeprefix("w_"): row[name] for name in row if name.startswith("w_")},
        )
