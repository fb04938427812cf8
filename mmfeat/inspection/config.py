"""Options of `mmfeat preview` and `mmfeat show`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from mmfeat.config import metavar
from mmfeat.errors import MmfeatError

MAX_RECORDS = 5000
"""Most records of a page."""


@dataclass(frozen=True)
class PreviewConfig:
    """Write one page with records of a store: pictures, texts, sounds, labels, predictions.

    The page needs no network and no other file. It filters and sorts its records.
    """

    path: Annotated[str, tyro.conf.Positional, metavar("PATH")]
    """Shards, features, predictions, a model, a comparison (its winner) or a ranking."""
    output: str = ""
    """File of the page; empty = preview.html in PATH."""
    limit: int = 500
    """Most records on the page, at most 5,000. A larger store is sampled at random, from at most 32
    of its shards; of a ranking, the first records are shown."""
    seed: int = 0
    """Seed of the random sample."""
    shards: str = ""
    """Directory of the shards, with the media and the metadata; empty = find it through the
    receipts of the store."""
    target: str = ""
    """Column with the true labels, to tell wrong predictions; empty = the target of the model, or
    of that of the predictions, else a column whose values are its classes; for other stores
    `label`."""

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_RECORDS:
            raise MmfeatError(f"--limit must be between 1 and {MAX_RECORDS:,}", got=self.limit)


@dataclass(frozen=True)
class ShowConfig:
    """Show everything that a store knows of one record.

    What other stores know of it is shown, too: the shards of features, and the features and the
    shards of predictions.
    """

    path: Annotated[str, tyro.conf.Positional, metavar("PATH")]
    """Shards, features, predictions, a model, a comparison (its winner) or a ranking."""
    key: Annotated[str, tyro.conf.Positional, metavar("KEY")]
    """Key of the record, as in the column `__key__`."""
    shards: str = ""
    """Directory of the shards; empty = find it through the receipts of the store."""
    json: bool = False
    """Print one JSON object and nothing else."""
