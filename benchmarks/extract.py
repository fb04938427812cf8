"""How fast `mmfeat extract` runs CLIP, beside the limit of this machine and clip-retrieval.

Programs run in processes of their own, on the same tars and the same weights, which are random:
a forward takes as long with them as with trained ones. Their marginal time is that of the shards,
which leaves out what starting and loading cost. The limit is what decoding, tokenising and the
bare forward take one after the other, each with all cores.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import contenders, measure
from benchmarks.contenders import REPOSITORY
from benchmarks.features import cosines, key_to_vector, marginal_seconds, settled_precision
from benchmarks.folder import work_folder
from benchmarks.photos import Photos
from mmfeat.console import note, show_table
from mmfeat.options import RepeatedFlag, parse

ARCHITECTURE = "ViT-B-32"
PRECISIONS = ("float32", "bfloat16")
_IMAGE_BATCHES = (8, 16, 32, 64)
_TEXT_BATCHES = (32, 64, 128, 256)
_FEW = 128
"""Pictures of the store that full decoding is compared on, and of the bare forward."""
_CHUNK = 8
"""Items handed to a thread at a time."""


@dataclass
class Options:
    """Time `mmfeat extract` with CLIP ViT-B/32, its parts alone, and clip-retrieval.

    The last line of the output is one JSON object.
    """

    pictures: int = 1000
    """Pictures of 640 x 480 to encode, with a caption each."""
    folder: str = ""
    """Keep pictures, shards and weights here and use them again; else a temporary folder."""
    clip_retrieval: str = ""
    """The program clip-retrieval, of a virtual environment of its own; looked for on PATH."""
    clip_retrieval_batch: int = 256
    """Its batch size; 256 is its default."""
    skip: RepeatedFlag = ()
    """A program to leave out: clip-retrieval."""
    threads: int = 0
    """Threads of each program; 0 takes one a core."""
    texts_only: bool = False
    """Encode no pictures."""
    pictures_only: bool = False
    """Encode no texts."""
    batch_size: int = 0
    """Ours; 0 has it measured, as by default, which the whole run pays for."""
    repeat: int = 1
    """Runs of each program; the fastest counts."""
    seed: int = 0
    """Another seed makes other pictures and weights."""

    def __post_init__(self) -> None:
        if self.pictures < 2 or self.repeat < 1 or self.threads < 0:
            sys.exit("extract: --pictures must be at least 2, --repeat 1 and --threads 0")
        if self.texts_only and self.pictures_only:
            sys.exit("extract: --texts-only and --pictures-only leave nothing to do")
        if unknown := set(self.skip) - {"clip-retrieval"}:
            sys.exit(f"extract: --skip takes clip-retrieval; got {min(unknown)}")
        if self.clip_retrieval and not shutil.which(self.clip_retrieval):
            sys.exit(f"extract: there is no program {self.clip_retrieval}")

    @property
    def cores(self) -> int:
        """Threads that everything gets."""
        return self.threads or contenders.cores()

    @property
    def columns(self) -> list[str]:
        """What is encoded."""
        every = {"image": not self.texts_only, "text": not self.pictures_only}
        return [column for column, wanted in every.items() if wanted]


@dataclass
class Work:
    """What lies in the folder: shards, weights, and the outputs to come."""

    folder: Path
    options: Options
    photos: Photos

    @property
    def shards(self) -> Path:
        """All pictures; at least two tars, and one a core, so that clip-retrieval's processes,
        each of which reads tars of its own, all have work."""
        return self.folder / "shards"

    @property
    def few(self) -> Path:
        """Shards of the first pictures."""
        return self.folder / "few"

    @property
    def safetensors(self) -> Path:
        """The weights, for us."""
        return self.folder / "clip.safetensors"

    @property
    def checkpoint(self) -> Path:
        """The same weights, for clip-retrieval."""
        return self.folder / "clip.pt"

    @cached_property
    def number_of_few(self) -> int:
        """Pictures in `few`."""
        return min(_FEW, self.options.pictures)

    def encoder(self, column: str) -> str:
        """The flag's value."""
        return f"{column}=open_clip:{ARCHITECTURE}/{self.safetensors}"

    def prepare(self) -> None:
        """Make pictures, shards and weights."""
        self.photos.make()
        tars = max(2, self.options.cores)
        self._shard(self.shards, self.options.pictures, -(-self.options.pictures // tars))
        self._shard(self.few, self.number_of_few, self.number_of_few)
        mark = self.folder / "weights.json"
        wanted = {"architecture": ARCHITECTURE, "seed": self.options.seed}
        if not mark.exists() or json.loads(mark.read_text()) != wanted:
            _make_weights(self)
            mark.write_text(json.dumps(wanted))

    def _shard(self, output: Path, number: int, a_shard: int) -> None:
        shutil.rmtree(output, ignore_errors=True)
        self.run(
            [
                *_mmfeat("shard", self.photos.table(number), output),
                f"--samples-per-shard={a_shard}",
            ],
            output,
        )

    def run(self, command: list[str], output: Path) -> measure.Usage:
        """Run a program in a process of its own.

        Raises:
            RuntimeError: it failed.
        """
        log = self.folder / f"{output.name}.log"
        return measure.run(command, output=str(output), folder=str(REPOSITORY), log=str(log))

    def extract(self, name: str, *flags: str, shards: Path | None = None) -> "Run":
        """Our own program, on all pictures unless told otherwise."""
        output = self.folder / name
        shutil.rmtree(output, ignore_errors=True)
        encoders = [f"--encoder={self.encoder(column)}" for column in self.options.columns]
        command = [
            *_mmfeat("extract", shards or self.shards, output),
            *encoders,
            *flags,
            "--device=cpu",
            f"--threads={self.options.cores}",
        ]
        if not any(flag.startswith("--batch-size") for flag in flags):
            command.append(f"--batch-size={self.options.batch_size}")
        usage = self.run(command, output)
        return Run(
            usage,
            marginal_seconds(output, self.options.columns[0]),
            vectors={c: key_to_vector(output, c) for c in self.options.columns},
            precision={c: settled_precision(output, c) for c in self.options.columns},
        )


@dataclass
class Run:
    """One run of a program over all pictures."""

    usage: measure.Usage
    marginal_s: float
    """Seconds in the shards, without start-up."""
    vectors: Mapping[str, Mapping[str, np.ndarray]]
    """Column → key → feature."""
    precision: Mapping[str, str] = field(default_factory=dict)
    """Column → what was chosen."""


@dataclass
class Limit:
    """What the parts allow, each alone on all cores: seconds a sample."""

    decode: float = 0.0
    decode_full: float = 0.0
    tokenise: float = 0.0
    forward: dict[str, dict[str, float]] = field(default_factory=dict)
    """Column → precision → seconds."""

    def seconds(self, precision: Mapping[str, str]) -> float:
        """Of a sample with all its columns."""
        forwards = sum(times[precision[column]] for column, times in self.forward.items())
        return self.decode + self.tokenise + forwards


def main(arguments: Sequence[str]) -> None:
    """Make everything, run everything, print the table and the JSON."""
    options = parse(Options, arguments, prog="python -m benchmarks.extract")
    with work_folder(options.folder) as folder:
        work = Work(folder, options, Photos(folder, options.pictures, options.seed))
        note(f"extract: making {options.pictures:,} pictures, shards and weights in {folder}")
        work.prepare()
        runs, absent = _run_all(work)
        alike = _alike(work, runs)
        note("extract: decoding, tokenising and the forward alone")
        limit = _limit(work)
    _show(options, runs, absent, limit)
    print(json.dumps(_facts(options, runs, absent, limit) | alike))


def _run_all(work: Work) -> tuple[dict[str, Run], str]:
    """Run all in turn; the fastest run of each, and why clip-retrieval has none."""
    options = work.options
    program = shutil.which(options.clip_retrieval or "clip-retrieval")
    absent = "" if program else "not installed"
    if "clip-retrieval" in options.skip:
        absent = "skipped"
    best: dict[str, Run] = {}
    for turn in range(options.repeat):
        todo: dict[str, Callable[[], Run]] = {
            "auto": lambda: work.extract("auto", "--precision=auto"),
            "float32": lambda: work.extract("float32", "--precision=float32"),
        }
        if program and not absent:
            todo["clip_retrieval"] = lambda: _clip_retrieval(work, program)
        for name, action in todo.items():
            note(f"extract: run {turn + 1} of {options.repeat}: {name}")
            try:
                run = action()
            except (RuntimeError, OSError) as error:
                if name != "clip_retrieval":
                    sys.exit(f"extract: {name}: {error}")
                note(f"extract: clip-retrieval is left out: {error}")
                absent = f"failed: {str(error).strip().splitlines()[-1]}"
                continue
            if name not in best or run.marginal_s < best[name].marginal_s:
                best[name] = run
    return best, absent


def _clip_retrieval(work: Work, program: str) -> Run:
    """Its own inference, both towers, one process a core that decodes.

    Its log adds up the time of its loop over batches: reading, forward, writing.
    """
    options, output = work.options, work.folder / "clip-retrieval"
    shutil.rmtree(output, ignore_errors=True)
    tars = ",".join(path.stem for path in sorted(work.shards.glob("*.tar")))
    flags = {
        "input_dataset": f"{work.shards}/{{{tars}}}.tar",
        "output_folder": output,
        "input_format": "webdataset",
        "clip_model": f"open_clip:{ARCHITECTURE}/{work.checkpoint}",
        "enable_image": "image" in options.columns,
        "enable_text": "text" in options.columns,
        "enable_metadata": False,
        "wds_image_key": "jpg",
        "wds_caption_key": "txt",
        "batch_size": options.clip_retrieval_batch,
        "num_prepro_workers": options.cores,
        "output_partition_count": 1,
    }
    threads = f"OMP_NUM_THREADS={options.cores}"
    environment = ["env", "CUDA_VISIBLE_DEVICES=", threads, "HF_HUB_OFFLINE=1"]
    arguments = (f"--{name}={value}" for name, value in flags.items())
    usage = work.run([*environment, program, "inference", *arguments], output)
    stats = json.loads((output / "stats" / "0.json").read_text())
    if stats["sample_count"] != options.pictures:
        raise RuntimeError(f"it encoded {stats['sample_count']} of {options.pictures} samples")
    vectors = _their_vectors(work, output) if "image" in options.columns else {}
    return Run(usage, stats["total_duration"], vectors)


def _their_vectors(work: Work, output: Path) -> dict[str, dict[str, np.ndarray]]:
    import pyarrow.parquet as pq

    table = pq.read_table(output / "metadata" / "metadata_0.parquet", columns=["image_path"])
    keys = table["image_path"].to_pylist()
    files = {"image": "img_emb", "text": "text_emb"}
    return {
        column: dict(
            zip(keys, np.load(output / files[column] / f"{files[column]}_0.npy"), strict=True)
        )
        for column in work.options.columns
    }


def _alike(work: Work, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Cosines of our features to those of float32, and to theirs."""
    note("extract: full decoding, to compare")
    flags = ("--precision=float32", "--full-decoding", "--batch-size=16")
    full = work.extract("full", *flags, shards=work.few)
    pairs = {
        "cosine": (runs["auto"].vectors, runs["float32"].vectors),
        "cosine_reduced_decoding": (runs["float32"].vectors, full.vectors),
        "cosine_to_clip_retrieval": (
            full.vectors,
            runs["clip_retrieval"].vectors if "clip_retrieval" in runs else {},
        ),
    }
    facts: dict[str, Any] = {}
    for name, (a, b) in pairs.items():
        found = {column: cosines(a[column], b[column]) for column in a if column in b}
        together = np.concatenate(list(found.values())) if found else None
        facts |= {
            f"{name}_mean": None if together is None else round(float(together.mean()), 6),
            f"{name}_min": None if together is None else round(float(together.min()), 6),
        }
        facts |= {f"{name}_min_{c}": round(float(v.min()), 6) for c, v in found.items()}
    facts["cosine_to_clip_retrieval"] = facts.pop("cosine_to_clip_retrieval_mean")
    return facts


def _limit(work: Work) -> Limit:
    """Each part alone."""
    import torch

    from mmfeat.encoders import EncoderSpec, Settings

    torch.set_num_threads(work.options.cores)
    limit = Limit()
    many = min(work.options.pictures, 512)
    for column in work.options.columns:
        spec = EncoderSpec.parse(work.encoder(column))
        encoders = {
            precision: spec.load(Settings("cpu", precision, threads=work.options.cores))
            for precision in PRECISIONS
        }
        one = encoders["float32"]
        if column == "image":
            full = spec.load(Settings("cpu", reduced_decoding=False, threads=work.options.cores))
            files = work.photos.read(many)
            limit.decode, arrays = _in_threads(work, one.decode, files)
            limit.decode_full, _ = _in_threads(work, full.decode, files)
            pixels = one.picture.batch(arrays[: work.number_of_few])
            limit.forward["image"] = {p: _images(work, pixels, p) for p in PRECISIONS}
        else:
            texts = [text.encode() for text in work.photos.captions[:many]]
            limit.tokenise, tokens = _in_threads(work, one.decode, texts)
            limit.forward["text"] = {p: _texts(e, tokens) for p, e in encoders.items()}
    return limit


def _in_threads(work: Work, function: Callable[[Any], Any], items: list) -> tuple[float, list]:
    """Seconds an item, best of three, and the results."""
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    times = []
    with ThreadPoolExecutor(work.options.cores) as pool:
        for _ in range(3):
            began = perf_counter()
            found = list(pool.map(lambda chunk: [function(item) for item in chunk], chunks))
            times.append(perf_counter() - began)
    return min(times) / len(items), [result for chunk in found for result in chunk]


def _images(work: Work, pixels: Any, precision: str) -> float:
    """Seconds a picture of open_clip's own tower on tensors that are ready, best batch size."""
    import open_clip
    import torch

    model = open_clip.create_model(ARCHITECTURE, str(work.safetensors), weights_only=True)
    dtype = getattr(torch, precision)
    tower, pixels = model.visual.eval().to(dtype), pixels.to(dtype)
    times = []
    with torch.inference_mode():
        for size in {min(size, len(pixels)) for size in _IMAGE_BATCHES}:
            parts = [part for part in pixels.split(size) if len(part) == size]
            tower(parts[0])
            began = perf_counter()
            for part in parts:
                tower(part)
            times.append((perf_counter() - began) / (size * len(parts)))
    return min(times)


def _texts(encoder: Any, tokens: list[list[int]]) -> float:
    """Seconds a text of the encoder on token ids that are ready, by length, best of two."""
    ids = sorted(tokens, key=len, reverse=True)
    encoder.encode(ids[:8])
    times = []
    for size in _TEXT_BATCHES * 2:
        began = perf_counter()
        for start in range(0, len(ids), size):
            encoder.encode(ids[start : start + size])
        times.append((perf_counter() - began) / len(ids))
    return min(times)


def _make_weights(work: Work) -> None:
    """Random weights in both forms."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(work.options.seed)
    model = open_clip.create_model(ARCHITECTURE, pretrained=None)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    torch.save(weights, work.checkpoint)
    save_file(weights, work.safetensors)


def _mmfeat(stage: str, source: Path, output: Path) -> list[str]:
    return [sys.executable, "-m", "mmfeat.cli", stage, str(source), str(output)]


def _rate(seconds: float) -> float | None:
    return round(1 / seconds, 2) if seconds > 0 else None


def _chosen(runs: Mapping[str, Run], name: str) -> dict[str, str]:
    return dict(runs[name].precision)


def _facts(options: Options, runs: Mapping[str, Run], absent: str, limit: Limit) -> dict[str, Any]:
    number = options.pictures
    theirs = runs.get("clip_retrieval")
    facts: dict[str, Any] = {
        "pictures": number,
        "columns": options.columns,
        "cores": options.cores,
        "repeat": options.repeat,
        "precision": _chosen(runs, "auto"),
    }
    names = {"ours": "auto", "ours_float32": "float32", "clip_retrieval": "clip_retrieval"}
    for name, key in names.items():
        run = runs.get(key)
        facts |= {
            f"{name}_samples_per_s": run and round(number / run.marginal_s, 3),
            f"{name}_whole_s": run and round(run.usage.seconds, 2),
        }
    for name, key in {"": "auto", "_float32": "float32"}.items():
        run = runs[key]
        facts |= {
            f"vs_clip_retrieval{name}": theirs and round(theirs.marginal_s / run.marginal_s, 3),
            f"vs_clip_retrieval_whole{name}": theirs
            and round(theirs.usage.seconds / run.usage.seconds, 3),
            f"efficiency{name}": round(
                limit.seconds(_chosen(runs, key)) / (run.marginal_s / number), 4
            ),
        }
    return facts | {
        "clip_retrieval_note": absent or None,
        "decode_images_per_s": _rate(limit.decode),
        "decode_full_images_per_s": _rate(limit.decode_full),
        "tokenise_texts_per_s": _rate(limit.tokenise),
        **{
            f"forward_{column}s_per_s": {p: _rate(t) for p, t in times.items()}
            for column, times in limit.forward.items()
        },
        "peak_memory_mb": round(runs["auto"].usage.peak_mb, 1),
        "peak_memory_float32_mb": round(runs["float32"].usage.peak_mb, 1),
        "clip_retrieval_peak_memory_mb": theirs and round(theirs.usage.peak_mb, 1),
    }


def _show(options: Options, runs: Mapping[str, Run], absent: str, limit: Limit) -> None:
    number, rows = options.pictures, []
    titles = {
        "auto": "mmfeat extract, precision auto",
        "float32": "mmfeat extract, float32",
        "clip_retrieval": "clip-retrieval inference",
    }
    for name, title in titles.items():
        if run := runs.get(name):
            rate, whole = number / run.marginal_s, run.usage.seconds
            chosen = ", ".join(sorted(set(run.precision.values()))) or "float32"
            figures = (f"{rate:,.1f}", f"{1e3 / rate:,.2f}", f"{whole:.1f}")
            rows.append([title, chosen, *figures, f"{run.usage.peak_mb:,.0f}"])
        else:
            rows.append([title, absent, "–", "–", "–", "–"])
    parts = {
        ("JPEG decoding alone", ""): limit.decode,
        ("JPEG decoding alone, full size", ""): limit.decode_full,
        ("tokenising alone", ""): limit.tokenise,
    }
    for column, times in limit.forward.items():
        parts |= {(f"forward alone, {column}s", p): t for p, t in times.items()}
    for name in ("auto", "float32"):
        chosen = _chosen(runs, name)
        words = ", ".join(sorted(set(chosen.values())))
        parts[f"the limit: all of that, as {name}", words] = limit.seconds(chosen)
    rows += [
        [title, precision, f"{1 / seconds:,.1f}", f"{seconds * 1e3:,.2f}", "", ""]
        for (title, precision), seconds in parts.items()
        if seconds
    ]
    columns = " and ".join(options.columns)
    title = f"{number:,} samples of {columns}, CLIP {ARCHITECTURE}, {options.cores} cores"
    header = ["", "precision", "a second", "ms a sample", "whole run s", "peak MB"]
    show_table(title, header, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
