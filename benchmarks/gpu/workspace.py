"""The inputs of the GPU benchmark: photographs, shards and CLIP checkpoints with random weights.

Random and trained weights take the same time. Random ones tell pictures apart less well, so
differences of features are judged against the differences between pictures.
"""

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.datasets.generation import generate_once, write_csv
from benchmarks.datasets.photos import PhotoDataset, draw_photo
from benchmarks.harness.measure import Usage
from benchmarks.harness.run import count_cores, run_mmfeat

MODELS: Mapping[str, Mapping[str, int]] = {
    "B/32": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "patch_size": 32,
        "projection_dim": 512,
    },
    "L/14": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
        "projection_dim": 768,
    },
}
"""Name → options of the vision tower of CLIP ViT."""

_TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 16,
}
"""Options of a tower that costs next to nothing."""


@dataclass(frozen=True)
class GpuWorkspace:
    """A folder with the inputs of all runs."""

    folder: Path
    photos: PhotoDataset
    per_shard: int
    """Records per shard."""
    device: str = "cuda"
    """Device of the runs."""
    tiny: bool = False
    """Whether the models have few weights, to check the benchmark itself."""

    def prepare(self) -> None:
        """Make the photographs, on all cores, and the checkpoints."""
        settings = {"pictures": self.photos.size, "seed": self.photos.seed}
        generate_once(self.folder / "photos.json", settings, self._draw_photos)
        settings = {"seed": self.photos.seed, "tiny": self.tiny}
        generate_once(self.folder / "models.json", settings, self._write_models)

    def model(self, name: str) -> Path:
        """Return the folder of a checkpoint."""
        return self.folder / name.replace("/", "")

    def shard(self, records: int) -> Path:
        """Make shards of that many records; pictures repeat if there are fewer."""
        table, output = self.folder / f"{records}.csv", self.folder / f"shards-{records}"
        names = self.photos.names
        rows = ((f"{i:08d}", names[i % len(names)]) for i in range(records))
        write_csv(table, ("id", "file_name"), rows)
        flags = ("--key-column=id", f"--samples-per-shard={self.per_shard}")
        run_mmfeat("shard", table, output, *flags)
        return output

    def extract(self, shards: Path, model: str, name: str, *flags: str) -> tuple[Path, Usage]:
        """Run `mmfeat extract` on the device; return its output and what it used.

        Raises:
            RuntimeError: the command failed.
        """
        output = self.folder / name
        encoder = f"--encoder=image=hf:{self.model(model)}"
        flags = (f"--device={self.device}", "--remeasure", *flags)
        return output, run_mmfeat("extract", shards, output, encoder, *flags)

    def _draw_photos(self) -> None:
        (self.folder / "photos").mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(count_cores()) as pool:
            list(pool.map(partial(draw_photo, self.photos), range(self.photos.size), chunksize=20))

    def _write_models(self) -> None:
        import torch
        from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

        torch.manual_seed(self.photos.seed)
        small_text: dict[str, Any] = {
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
        }
        for name, options in MODELS.items():
            vision = {**options, **(_TINY if self.tiny else {}), "image_size": 224}
            config = CLIPConfig(
                vision_config=vision,
                text_config=small_text,
                projection_dim=vision["projection_dim"],
            )
            with torch.device(self.device):  # a GPU draws the weights of L/14 at once
                model = CLIPModel(config)
            model.save_pretrained(self.model(name))
            CLIPImageProcessor().save_pretrained(self.model(name))
