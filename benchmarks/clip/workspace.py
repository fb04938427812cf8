"""The work folder of the CLIP programs: images, shards and weights, the same for each program.

The weights are random, because random and trained weights take the same time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.datasets.generation import generate_once
from benchmarks.datasets.photos import PhotoDataset
from benchmarks.harness.encoding_run import EncodingRun, run_extract
from benchmarks.harness.run import run_mmfeat

ARCHITECTURE = "ViT-B-32"
_SUBSET_SIZE = 128


@dataclass(frozen=True)
class Workspace:
    """The inputs of all programs, and the folder of their outputs."""

    folder: Path
    photos: PhotoDataset
    columns: Sequence[str]
    """The columns to encode: image, text or both."""
    cores: int
    """Threads of each program."""

    @property
    def shards(self) -> Path:
        """Shards of all records: one tar per core and at least two.

        Each process of clip-retrieval reads tars of its own, so each one has work.
        """
        return self.folder / "shards"

    @property
    def subset(self) -> Path:
        """One shard of the first records, for full decoding and for the forward alone."""
        return self.folder / "few"

    @property
    def subset_size(self) -> int:
        """Number of records in `subset`."""
        return min(_SUBSET_SIZE, self.photos.size)

    @property
    def safetensors(self) -> Path:
        """The weights for mmfeat."""
        return self.folder / "clip.safetensors"

    @property
    def checkpoint(self) -> Path:
        """The same weights for clip-retrieval."""
        return self.folder / "clip.pt"

    @property
    def encoder(self) -> str:
        """The encoder of mmfeat with these weights."""
        return f"open_clip:{ARCHITECTURE}/{self.safetensors}"

    def prepare(self) -> None:
        """Make images, shards and weights. Images and weights of an earlier run are kept."""
        self.photos.generate()
        tars = max(2, self.cores)
        self._shard(self.shards, self.photos.size, -(-self.photos.size // tars))
        self._shard(self.subset, self.subset_size, self.subset_size)
        settings = {"architecture": ARCHITECTURE, "seed": self.photos.seed}
        generate_once(self.folder / "weights.json", settings, self._write_weights)

    def extract(self, shards: Path, name: str, *flags: str) -> EncodingRun:
        """Run `mmfeat extract` and write the output folder `name`.

        Raises:
            RuntimeError: the command failed.
        """
        encoders = dict.fromkeys(self.columns, self.encoder)
        return run_extract(shards, self.folder / name, encoders, self.cores, *flags)

    def _shard(self, output: Path, records: int, samples_per_shard: int) -> None:
        table = self.photos.write_table(records)
        run_mmfeat("shard", table, output, f"--samples-per-shard={samples_per_shard}")

    def _write_weights(self) -> None:
        """Write the weights in both file formats."""
        import open_clip
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(self.photos.seed)
        model = open_clip.create_model(ARCHITECTURE, pretrained=None)
        weights = {name: value.contiguous() for name, value in model.state_dict().items()}
        torch.save(weights, self.checkpoint)
        save_file(weights, self.safetensors)
