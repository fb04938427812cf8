"""The results of the CLIP benchmark: speed compared with the limit, and cosine similarities."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.clip.limit import Limit
from benchmarks.clip.workspace import ARCHITECTURE, Workspace
from benchmarks.harness.encoding_run import EncodingRun, cosine_similarities
from mmfeat.system import show_table

_TITLES = {
    "auto": "mmfeat extract, precision auto",
    "float32": "mmfeat extract, float32",
    "clip_retrieval": "clip-retrieval inference",
}
"""Name of a run → title of its row."""


@dataclass(frozen=True)
class Figures:
    """The speed of all runs, as a table and as JSON."""

    workspace: Workspace
    repeat: int
    runs: Mapping[str, EncodingRun]
    """The fastest run of auto, of float32 and, if it ran, of clip_retrieval."""
    skip_reason: str
    """Why clip-retrieval did not run; empty if it ran."""
    limit: Limit

    def to_json(self) -> dict[str, Any]:
        """Return the values of the JSON object."""
        size, peer = self.workspace.photos.size, self.runs.get("clip_retrieval")
        values: dict[str, Any] = {
            "pictures": size,
            "columns": self.workspace.columns,
            "cores": self.workspace.cores,
            "repeat": self.repeat,
            "precision": dict(self.runs["auto"].precision),
        }
        names = {"ours": "auto", "ours_float32": "float32", "clip_retrieval": "clip_retrieval"}
        for name, key in names.items():
            run = self.runs.get(key)
            values |= {
                f"{name}_samples_per_s": run and round(size / run.marginal_s, 3),
                f"{name}_whole_s": run and round(run.usage.seconds, 2),
            }
        for suffix, run in {"": self.runs["auto"], "_float32": self.runs["float32"]}.items():
            limit_s = self.limit.seconds(run.precision)
            values |= {
                f"vs_clip_retrieval{suffix}": peer and round(peer.marginal_s / run.marginal_s, 3),
                f"vs_clip_retrieval_whole{suffix}": peer
                and round(peer.usage.seconds / run.usage.seconds, 3),
                f"efficiency{suffix}": round(limit_s / (run.marginal_s / size), 4),
            }
        return values | {
            "clip_retrieval_note": self.skip_reason or None,
            "decode_images_per_s": _rate(self.limit.decode),
            "decode_full_images_per_s": _rate(self.limit.decode_full),
            "tokenise_texts_per_s": _rate(self.limit.tokenize),
            **{
                f"forward_{column}s_per_s": {p: _rate(t) for p, t in times.items()}
                for column, times in self.limit.forward.items()
            },
            "peak_memory_mb": round(self.runs["auto"].usage.peak_mb, 1),
            "peak_memory_float32_mb": round(self.runs["float32"].usage.peak_mb, 1),
            "clip_retrieval_peak_memory_mb": peer and round(peer.usage.peak_mb, 1),
        }

    def show(self) -> None:
        """Print the table."""
        columns, cores = " and ".join(self.workspace.columns), self.workspace.cores
        title = f"{self.workspace.photos.size:,} samples of {columns}, CLIP {ARCHITECTURE}"
        header = ["", "precision", "samples/s", "ms/sample", "whole run s", "peak MB"]
        rows = [*map(self._run_row, _TITLES), *self._limit_rows()]
        show_table(f"{title}, {cores} cores", header, rows)

    def _run_row(self, name: str) -> list[str]:
        run = self.runs.get(name)
        if not run:
            return [_TITLES[name], self.skip_reason, "–", "–", "–", "–"]
        rate = self.workspace.photos.size / run.marginal_s
        precision = _join_precisions(run.precision) or "float32"
        times = (f"{rate:,.1f}", f"{1e3 / rate:,.2f}", f"{run.usage.seconds:.1f}")
        return [_TITLES[name], precision, *times, f"{run.usage.peak_mb:,.0f}"]

    def _limit_rows(self) -> list[list[str]]:
        parts = {
            ("JPEG decoding alone", ""): self.limit.decode,
            ("JPEG decoding alone, full size", ""): self.limit.decode_full,
            ("tokenizing alone", ""): self.limit.tokenize,
        }
        for column, times in self.limit.forward.items():
            parts |= {(f"forward alone, {column}s", p): t for p, t in times.items()}
        for name in ("auto", "float32"):
            precision = self.runs[name].precision
            title = f"the limit: sum of the parts, as {name}"
            parts[title, _join_precisions(precision)] = self.limit.seconds(precision)
        return [
            [title, precision, f"{1 / seconds:,.1f}", f"{seconds * 1e3:,.2f}", "", ""]
            for (title, precision), seconds in parts.items()
            if seconds
        ]


def compare_features(runs: Mapping[str, EncodingRun], full: EncodingRun) -> dict[str, Any]:
    """Return the cosine similarities between the features of the runs, for the JSON object.

    Args:
        runs: as in `Figures`.
        full: a run of mmfeat with full decoding, on all records or on a subset.
    """
    peer_vectors = runs["clip_retrieval"].vectors if "clip_retrieval" in runs else {}
    pairs = {
        "cosine": (runs["auto"].vectors, runs["float32"].vectors),
        "cosine_reduced_decoding": (runs["float32"].vectors, full.vectors),
        "cosine_to_clip_retrieval": (full.vectors, peer_vectors),
    }
    values: dict[str, Any] = {}
    for name, (a, b) in pairs.items():
        cosines = {c: cosine_similarities(a[c], b[c]) for c in a if c in b}
        flat = np.concatenate(list(cosines.values())) if cosines else None
        values |= {
            f"{name}_mean": None if flat is None else round(float(flat.mean()), 6),
            f"{name}_min": None if flat is None else round(float(flat.min()), 6),
        }
        values |= {f"{name}_min_{c}": round(float(v.min()), 6) for c, v in cosines.items()}
    values["cosine_to_clip_retrieval"] = values.pop("cosine_to_clip_retrieval_mean")
    return values


def _rate(seconds: float) -> float | None:
    return round(1 / seconds, 2) if seconds > 0 else None


def _join_precisions(precision: Mapping[str, str]) -> str:
    return ", ".join(sorted(set(precision.values())))
