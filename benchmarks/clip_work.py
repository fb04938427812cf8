"""The folder in which the programs that run CLIP find the same photos, shards and weights.

The weights are random: a forward takes as long with them as with trained ones.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.photos import Photos
from benchmarks.runs import EncodingRun, run_extract, run_mmfeat

ARCHITECTURE = "ViT-B-32"
_FEW = 128
"""Pictures of the store that full decoding is compared on, and of the bare forward."""


@dataclass(frozen=True)
class Work:
    """What lies in the folder: photos, shards, weights, and the outputs to come."""

    folder: Path
    photos: Photos
    columns: Sequence[str]
    """What is encoded: image, text or both."""
    cores: int
    """Threads that everything gets."""

    @property
    def shards(self) -> Path:
        """All pictures; at least two tars, and one a core, so that clip-retrieval's processes,
        each of which reads tars of its own, all have work."""
        return self.folder / "shards"

    @property
    def few(self) -> Path:
        """A shard of the first pictures."""
        return self.folder / "few"

    @property
    def number_of_few(self) -> int:
        """Pictures in `few`."""
        return min(_FEW, self.photos.number)

    @property
    def safetensors(self) -> Path:
        """The weights, for us."""
        return self.folder / "clip.safetensors"

    @property
    def checkpoint(self) -> Path:
        """The same weights, for clip-retrieval."""
        return self.folder / "clip.pt"

    @property
    def encoder(self) -> str:
        """What our program calls CLIP with these weights."""
        return f"open_clip:{ARCHITECTURE}/{self.safetensors}"

    def prepare(self) -> None:
        """Make photos, shards and weights; photos and weights of an earlier run are kept."""
        self.photos.make()
        tars = max(2, self.cores)
        self._shard(self.shards, self.photos.number, -(-self.photos.number // tars))
        self._shard(self.few, self.number_of_few, self.number_of_few)
        mark = self.folder / "weights.json"
        wanted = {"architecture": ARCHITECTURE, "seed": self.photos.seed}
        if not mark.exists() or json.loads(mark.read_text()) != wanted:
            self._make_weights()
            mark.write_text(json.dumps(wanted))

    def extract(self, shards: Path, name: str, *flags: str) -> EncodingRun:
        """Run our own program; the output gets this name.

        Raises:
            RuntimeError: it failed.
        """
        encoders = dict.fromkeys(self.columns, self.encoder)
        return run_extract(shards, self.folder / name, encoders, self.cores, *flags)

    def _shard(self, output: Path, number: int, a_shard: int) -> None:
        table = self.photos.table(number)
        run_mmfeat("shard", table, output, f"--samples-per-shard={a_shard}")

    def _make_weights(self) -> None:
        """In both forms."""
        import open_clip
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(self.photos.seed)
        model = open_clip.create_model(ARCHITECTURE, pretrained=None)
        weights = {name: value.contiguous() for name, value in model.state_dict().items()}
        torch.save(weights, self.checkpoint)
        save_file(weights, self.safetensors)
