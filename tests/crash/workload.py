"""A tiny dataset, and the stages that run on it in this process."""

import csv
import json
from pathlib import Path
from unittest.mock import patch

from PIL import Image
from tenacity import wait_none

from mmfeat.cli.commands import load_main
from pipelines import attempts, shard
from tests.crash.disk import Tree
from tests.golden.compare import DROPPED

RECORDS = 10
TIMES = DROPPED | {*("checksum", "metrics.json", "log.jsonl", "leaderboard.parquet", "cell.json")}
"""Keys of JSON documents that differ between runs: times, and digests of files with times."""

PAGES = {".html": b"</html>", "leaderboard.parquet": b"PAR1"}
"""Files that hold times, by the end of their names → how they end if they are whole."""

STAGES = ("shard", "extract", "train", "score")

MORE_COMMANDS = ("compare", "align", "ranking")

_COMMANDS = {"align": "train", "ranking": "align-report"}
"""Output → the command that writes it, if its name differs."""

ENCODERS = ("--encoder", "image=builtin:image", "--encoder", "text=builtin:text?dim=64")

RECIPE = ("--target", "label", "--hidden", "4", "--lr", "0.01", "--epochs", "2")

GRID = ("--fusions", "gmu", "--seeds", "1", "--emap-rows", "2", "--workers", "1")


class Workload:
    """The stages, each with its own output folder below one root.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        table = _write_table(root / "raw")
        paths = {name: str(root / name) for name in STAGES + MORE_COMMANDS}
        self._arguments = {
            "shard": [str(table), paths["shard"], "--samples-per-shard", "5"],
            "extract": [paths["shard"], paths["extract"], *ENCODERS],
            "train": [paths["extract"], paths["train"], *RECIPE],
            "score": [paths["train"], paths["extract"], paths["score"]],
            "compare": [paths["extract"], paths["compare"], *RECIPE, *GRID],
            "align": [paths["extract"], paths["align"], "--task", "align", *RECIPE[2:]],
            "ranking": [paths["align"], paths["extract"], paths["ranking"]],
        }

    def output(self, stage: str) -> Path:
        """Return the folder that a stage writes."""
        return self.root / stage

    def run(self, stage: str) -> None:
        """Run a stage to its end, as the command line does."""
        with (
            patch.object(attempts, "wait_exponential", lambda **_: wait_none()),
            patch.object(shard, "warm_up", lambda: None),
        ):
            load_main(_COMMANDS.get(stage, stage))(self._arguments[stage])


def comparable(tree: Tree) -> Tree:
    """Return a tree without times: the trees of two undisturbed runs are equal."""
    return {path: _without_times(path, content) for path, content in tree.items()}


def _without_times(path: str, content: bytes | None) -> bytes | None:
    if content is None:
        return None
    for name, end in PAGES.items():
        if path.endswith(name):
            return b"whole" if content.rstrip().endswith(end) else b"torn"
    if path.endswith(".jsonl"):
        return b"\n".join(_drop(line) for line in content.splitlines())
    return _drop(content) if path.endswith(".json") else content


def _drop(text: bytes) -> bytes:
    def drop(pairs: list[tuple[str, object]]) -> dict[str, object]:
        return {name: value for name, value in pairs if name.split("/")[-1] not in TIMES}

    try:
        return json.dumps(json.loads(text, object_pairs_hook=drop), sort_keys=True).encode()
    except ValueError:
        return text


def _write_table(folder: Path) -> Path:
    folder.mkdir(parents=True)
    words = ("a red thing", "the blue one")
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "text", "label", "split"])
        for number in range(RECORDS):
            name, label = f"{number}.png", ("red", "blue")[number % 2]
            split = ("train", "train", "train", "val", "test")[number // 2 % 5]
            colour = (200, 20, number) if label == "red" else (20, number, 200)
            Image.new("RGB", (8, 8), colour).save(folder / name)
            writer.writerow([name, f"{words[number % 2]} {number}", label, split])
    return folder / "table.csv"
