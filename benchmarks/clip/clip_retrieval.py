"""The peer `clip-retrieval inference`, on the same shards and weights as mmfeat.

It is installed in a virtual environment of its own and is never imported here.
"""

import json
from pathlib import Path

import numpy as np

from benchmarks.clip.workspace import ARCHITECTURE, Workspace
from benchmarks.harness.encoding_run import EncodingRun
from benchmarks.harness.run import run_command


def run_clip_retrieval(workspace: Workspace, program: str, batch_size: int) -> EncodingRun:
    """Run its inference with both towers and one decoding process per core.

    The marginal time is the time of its loop over batches (read, forward, write) from its own log.

    Raises:
        RuntimeError: it failed, or skipped samples.
        OSError: it wrote no log or no features.
    """
    output = workspace.folder / "clip-retrieval"
    usage = run_command(_command(workspace, program, batch_size, output), output)
    stats = json.loads((output / "stats" / "0.json").read_text())
    if stats["sample_count"] != workspace.photos.size:
        raise RuntimeError(f"encoded {stats['sample_count']} of {workspace.photos.size} samples")
    vectors = _read_vectors(workspace, output) if "image" in workspace.columns else {}
    return EncodingRun(usage, stats["total_duration"], vectors)


def _command(workspace: Workspace, program: str, batch_size: int, output: Path) -> list[str]:
    tars = ",".join(path.stem for path in sorted(workspace.shards.glob("*.tar")))
    settings = {
        "input_dataset": f"{workspace.shards}/{{{tars}}}.tar",
        "output_folder": output,
        "input_format": "webdataset",
        "clip_model": f"open_clip:{ARCHITECTURE}/{workspace.checkpoint}",
        "enable_image": "image" in workspace.columns,
        "enable_text": "text" in workspace.columns,
        "enable_metadata": False,
        "wds_image_key": "jpg",
        "wds_caption_key": "txt",
        "batch_size": batch_size,
        "num_prepro_workers": workspace.cores,
        "output_partition_count": 1,
    }
    threads = f"OMP_NUM_THREADS={workspace.cores}"
    environment = ["env", "CUDA_VISIBLE_DEVICES=", threads, "HF_HUB_OFFLINE=1"]
    flags = (f"--{name}={value}" for name, value in settings.items())
    return [*environment, program, "inference", *flags]


def _read_vectors(workspace: Workspace, output: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return column → key → feature. Keys are only written if images are encoded."""
    import pyarrow.parquet as pq

    table = pq.read_table(output / "metadata" / "metadata_0.parquet", columns=["image_path"])
    keys = table["image_path"].to_pylist()
    names = {"image": "img_emb", "text": "text_emb"}
    return {
        column: dict(
            zip(keys, np.load(output / names[column] / f"{names[column]}_0.npy"), strict=True)
        )
        for column in workspace.columns
    }
