"""What a system owes to interaction between modalities, kept beside its cells."""

from dataclasses import asdict, dataclass

import numpy as np

from mmfeat.models.base import Model
from mmfeat.models.inference import run
from mmfeat.store import files
from training.compare.bootstrap import compare
from training.compare.emap import emap
from training.data.dataset import Dataset
from training.data.splits import TEST

_FILE = "interaction.json"


@dataclass(frozen=True)
class Interaction:
    """A model and its nearest additive function, on the same test rows.

    Attributes:
        rows: how many.
        full: the metric of the model, None where these rows do not tell it.
        emap: the metric of its projection (see `emap.py`).
        used: whether the model is better than its projection by more than luck.
    """

    rows: int
    full: float | None
    emap: float | None
    used: bool


def measure_interaction(module: Model, dataset: Dataset, metric: str, rows: int) -> Interaction:
    """Compare a model with its projection.

    Args:
        module: the model.
        dataset: with the columns it takes.
        metric: name of the metric.
        rows: at most so many test rows are looked at.
    """
    objective, test = dataset.objective, dataset.parts[TEST]
    chosen = np.sort(np.random.default_rng(0).permutation(test)[:rows])
    features, present = dataset.features.take(chosen)
    found = emap(lambda f, p: run(module, f, p).logits, features, present, most_rows=rows)
    truth = objective.comparable(dataset.targets[chosen])
    said = {
        name: objective.decide(logits.astype(np.float32))[None]
        for name, logits in (("full", found.full), ("emap", found.additive))
    }
    measure = objective.metric(metric)
    full, additive = (measure(truth, said[name][0]) for name in ("full", "emap"))
    standing = compare(truth, said, measure, resamples=1000)["emap"]
    return Interaction(
        rows=len(chosen),
        full=None if np.isnan(full) else full,
        emap=None if np.isnan(additive) else additive,
        used=not standing.best and not standing.tied,
    )


def write_interaction(folder: str, interaction: Interaction) -> None:
    """Keep it; a system is finished with this."""
    files.write_json(files.join(folder, _FILE), asdict(interaction))


def read_interaction(folder: str) -> Interaction | None:
    """What was measured of a system that is finished."""
    facts = files.read_json(files.join(folder, _FILE))
    return None if facts is None else Interaction(**facts)
