"""The peer `clip-retrieval inference`, on the shards and weights that our own program gets.

It lives in a virtual environment of its own, so that nothing of it is imported here.
"""

import json
from pathlib import Path

import numpy as np

from benchmarks.clip_work import ARCHITECTURE, Work
from benchmarks.runs import EncodingRun, run


def run_clip_retrieval(work: Work, program: str, batch_size: int) -> EncodingRun:
    """Its own inference, both towers, one process a core that decodes.

    Its log adds up the time of its loop over batches: reading, forward, writing.

    Raises:
        RuntimeError: it failed, or left out samples.
        OSError: it wrote no log, or no features.
    """
    output = work.folder / "clip-retrieval"
    usage = run(_command(work, program, batch_size, output), output)
    stats = json.loads((output / "stats" / "0.json").read_text())
    if stats["sample_count"] != work.photos.number:
        raise RuntimeError(f"it encoded {stats['sample_count']} of {work.photos.number} samples")
    vectors = _vectors(work, output) if "image" in work.columns else {}
    return EncodingRun(usage, stats["total_duration"], vectors)


def _command(work: Work, program: str, batch_size: int, output: Path) -> list[str]:
    tars = ",".join(path.stem for path in sorted(work.shards.glob("*.tar")))
    flags = {
        "input_dataset": f"{work.shards}/{{{tars}}}.tar",
        "output_folder": output,
        "input_format": "webdataset",
        "clip_model": f"open_clip:{ARCHITECTURE}/{work.checkpoint}",
        "enable_image": "image" in work.columns,
        "enable_text": "text" in work.columns,
        "enable_metadata": False,
        "wds_image_key": "jpg",
        "wds_caption_key": "txt",
        "batch_size": batch_size,
        "num_prepro_workers": work.cores,
        "output_partition_count": 1,
    }
    threads = f"OMP_NUM_THREADS={work.cores}"
    environment = ["env", "CUDA_VISIBLE_DEVICES=", threads, "HF_HUB_OFFLINE=1"]
    arguments = (f"--{name}={value}" for name, value in flags.items())
    return [*environment, program, "inference", *arguments]


def _vectors(work: Work, output: Path) -> dict[str, dict[str, np.ndarray]]:
    """Column → key → feature; it writes down keys with pictures alone."""
    import pyarrow.parquet as pq

    table = pq.read_table(output / "metadata" / "metadata_0.parquet", columns=["image_path"])
    keys = table["image_path"].to_pylist()
    files = {"image": "img_emb", "text": "text_emb"}
    return {
        column: dict(
            zip(keys, np.load(output / files[column] / f"{files[column]}_0.npy"), strict=True)
        )
        for column in work.columns
    }
