"""What the runs of CLIP tell: their speed beside the limit, and how alike their features are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.clip_limit import Limit
from benchmarks.clip_work import ARCHITECTURE, Work
from benchmarks.features import cosines
from benchmarks.runs import EncodingRun
from mmfeat.system.console import show_table

_TITLES = {
    "auto": "mmfeat extract, precision auto",
    "float32": "mmfeat extract, float32",
    "clip_retrieval": "clip-retrieval inference",
}
"""Name of a run → its row."""


@dataclass(frozen=True)
class Figures:
    """The speed of all runs, as a table and as JSON."""

    work: Work
    repeat: int
    runs: Mapping[str, EncodingRun]
    """The fastest of auto, of float32 and, where it ran, of clip_retrieval."""
    absent: str
    """Why clip-retrieval has no run; empty where it has."""
    limit: Limit

    def facts(self) -> dict[str, Any]:
        """The JSON."""
        number, theirs = self.work.photos.number, self.runs.get("clip_retrieval")
        facts: dict[str, Any] = {
            "pictures": number,
            "columns": self.work.columns,
            "cores": self.work.cores,
            "repeat": self.repeat,
            "precision": dict(self.runs["auto"].precision),
        }
        names = {"ours": "auto", "ours_float32": "float32", "clip_retrieval": "clip_retrieval"}
        for name, key in names.items():
            run = self.runs.get(key)
            facts |= {
                f"{name}_samples_per_s": run and round(number / run.marginal_s, 3),
                f"{name}_whole_s": run and round(run.usage.seconds, 2),
            }
        for end, ours in {"": self.runs["auto"], "_float32": self.runs["float32"]}.items():
            least = self.limit.seconds(ours.precision)
            facts |= {
                f"vs_clip_retrieval{end}": theirs and round(theirs.marginal_s / ours.marginal_s, 3),
                f"vs_clip_retrieval_whole{end}": theirs
                and round(theirs.usage.seconds / ours.usage.seconds, 3),
                f"efficiency{end}": round(least / (ours.marginal_s / number), 4),
            }
        return facts | {
            "clip_retrieval_note": self.absent or None,
            "decode_images_per_s": _rate(self.limit.decode),
            "decode_full_images_per_s": _rate(self.limit.decode_full),
            "tokenise_texts_per_s": _rate(self.limit.tokenise),
            **{
                f"forward_{column}s_per_s": {p: _rate(t) for p, t in times.items()}
                for column, times in self.limit.forward.items()
            },
            "peak_memory_mb": round(self.runs["auto"].usage.peak_mb, 1),
            "peak_memory_float32_mb": round(self.runs["float32"].usage.peak_mb, 1),
            "clip_retrieval_peak_memory_mb": theirs and round(theirs.usage.peak_mb, 1),
        }

    def show(self) -> None:
        """Print the table."""
        columns, cores = " and ".join(self.work.columns), self.work.cores
        title = f"{self.work.photos.number:,} samples of {columns}, CLIP {ARCHITECTURE}"
        header = ["", "precision", "a second", "ms a sample", "whole run s", "peak MB"]
        rows = [*map(self._run_row, _TITLES), *self._limit_rows()]
        show_table(f"{title}, {cores} cores", header, rows)

    def _run_row(self, name: str) -> list[str]:
        run = self.runs.get(name)
        if not run:
            return [_TITLES[name], self.absent, "–", "–", "–", "–"]
        rate = self.work.photos.number / run.marginal_s
        chosen = _words(run.precision) or "float32"
        figures = (f"{rate:,.1f}", f"{1e3 / rate:,.2f}", f"{run.usage.seconds:.1f}")
        return [_TITLES[name], chosen, *figures, f"{run.usage.peak_mb:,.0f}"]

    def _limit_rows(self) -> list[list[str]]:
        parts = {
            ("JPEG decoding alone", ""): self.limit.decode,
            ("JPEG decoding alone, full size", ""): self.limit.decode_full,
            ("tokenising alone", ""): self.limit.tokenise,
        }
        for column, times in self.limit.forward.items():
            parts |= {(f"forward alone, {column}s", p): t for p, t in times.items()}
        for name in ("auto", "float32"):
            chosen = self.runs[name].precision
            title = f"the limit: all of that, as {name}"
            parts[title, _words(chosen)] = self.limit.seconds(chosen)
        return [
            [title, precision, f"{1 / seconds:,.1f}", f"{seconds * 1e3:,.2f}", "", ""]
            for (title, precision), seconds in parts.items()
            if seconds
        ]


def likeness(runs: Mapping[str, EncodingRun], full: EncodingRun) -> dict[str, Any]:
    """Cosines of our features to those of float32, and to theirs, for the JSON.

    Args:
        runs: as in `Figures`.
        full: a run of ours with full decoding, perhaps on some of the records.
    """
    theirs = runs["clip_retrieval"].vectors if "clip_retrieval" in runs else {}
    pairs = {
        "cosine": (runs["auto"].vectors, runs["float32"].vectors),
        "cosine_reduced_decoding": (runs["float32"].vectors, full.vectors),
        "cosine_to_clip_retrieval": (full.vectors, theirs),
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


def _rate(seconds: float) -> float | None:
    return round(1 / seconds, 2) if seconds > 0 else None


def _words(precision: Mapping[str, str]) -> str:
    return ", ".join(sorted(set(precision.values())))
