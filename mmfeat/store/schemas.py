"""Types of the documents that all stages share; see `mmfeat.storage.documents`.

A document may have more keys than its type. Types of the documents of one stage stand beside the
code that writes them.
"""

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from mmfeat.storage.documents import Count, FileName, Name
from mmfeat.storage.output_file import RecordedFile

Counts = dict[str, Count]
"""Reason, status or split → records."""


class RunConfig(TypedDict):
    """config.json."""

    format: int
    kind: str
    config: dict[str, Any]
    hash: str
    details: NotRequired[dict[str, Any]]


class Failure(TypedDict):
    """NNNNN_failed.json."""

    shard: str
    error: str


class Totals(TypedDict):
    """Totals of a store, or of one column."""

    records: Count
    out: Count
    bytes_read: Count
    bytes_written: Count
    rejected: Counts
    status: Counts
    problems: Counts


class FeatureTotals(Totals):
    """Totals of a feature store."""

    columns: dict[Name, Totals]


class ShardEntry(TypedDict):
    """A shard in a manifest."""

    name: Name
    records: Count
    keys_sha256: str
    further: NotRequired[bool]


class TarShardEntry(ShardEntry):
    """A shard in the manifest of shards."""

    out: Count
    sha256: str
    config_hash: str


class _AnyManifest(TypedDict):
    format: int
    kind: str
    config_hash: str


class Manifest(_AnyManifest):
    """manifest.json of every kind."""

    config: dict[str, Any]


class ShardsConfig(TypedDict):
    """What readers of shards need of their configuration."""

    shard_name: NotRequired[str]
    source: NotRequired[dict[str, Any]]


class ShardsManifest(_AnyManifest):
    """Manifest of `mmfeat shard`."""

    config: ShardsConfig
    slots: list[str]
    columns: dict[str, str]
    kinds: NotRequired[dict[str, str]]
    selection: Counts
    shards: list[TarShardEntry]
    totals: Totals


class FeaturesManifest(Manifest):
    """Manifest of `mmfeat extract`. `mmfeat.features` checks the description of each column."""

    columns: Annotated[dict[Name, dict[str, Any]], Meta(min_length=1)]
    shards: Annotated[list[ShardEntry], Meta(min_length=1)]
    totals: FeatureTotals


class ColumnDrift(TypedDict):
    """Drift of a column in the manifest of predictions."""

    psi: float
    max_psi: float
    cosine: float
    training_cosine: float
    missing: float
    training_missing: float
    rows: Count
    judged: NotRequired[bool]


class MonitoringFacts(TypedDict):
    """Numbers about all predictions."""

    records: Count
    missing: dict[str, float]
    models: dict[str, Any]
    drift: dict[str, ColumnDrift]


class Selection(TypedDict):
    """How many records were selected."""

    records: Count
    left_out: Count
    unknown_keys: NotRequired[Count]


class PredictionsManifest(Manifest):
    """Manifest of `mmfeat score`. Older ones lack what may be missing."""

    shards: list[ShardEntry]
    totals: Totals
    models: NotRequired[list[dict[str, Any]]]
    input: NotRequired[dict[str, Any]]
    monitoring: NotRequired[MonitoringFacts]
    selection: NotRequired[Selection]


class ModelManifest(Manifest):
    """Manifest of `mmfeat train`. `mmfeat.models` checks the configuration."""

    files: dict[FileName, RecordedFile]
    chosen: NotRequired[dict[str, Any]]
    features: NotRequired[str]
    encoder_flags: NotRequired[dict[Name, str]]


class Winner(TypedDict):
    """The model that a comparison picked."""

    name: str
    model: str


class ComparisonManifest(Manifest):
    """Manifest of `mmfeat compare`."""

    winner: Winner


class RankingTotals(TypedDict):
    """Totals of a ranking."""

    records: Count
    ranked: Count
    listed: Count
    left_out: Counts


class RankingManifest(Manifest):
    """Manifest of `mmfeat align-report`."""

    totals: RankingTotals


class AuditTotals(TypedDict):
    """Totals of an audit: issues of each kind, and records."""

    label: Count
    conflict: Count
    outlier: Count
    records: Count
    judged: Count
    accuracy: float
    listed: Counts


class AuditManifest(Manifest):
    """Manifest of `mmfeat audit`."""

    files: dict[FileName, RecordedFile]
    totals: AuditTotals


class DuplicatesTotals(TypedDict):
    """Totals of groups of near-duplicates."""

    records: Count
    groups: Count
    grouped: Count
    kept: Count
    left_out: Counts


class DuplicatesManifest(Manifest):
    """Manifest of `mmfeat dedup`."""

    files: dict[FileName, RecordedFile]
    totals: DuplicatesTotals


class ExportManifest(Manifest):
    """Manifest of `mmfeat export`."""

    shards: list[ShardEntry]
    files: dict[FileName, RecordedFile]
    totals: Totals


MANIFESTS: dict[str, Any] = {
    "shards": ShardsManifest,
    "features": FeaturesManifest,
    "predictions": PredictionsManifest,
    "model": ModelManifest,
    "comparison": ComparisonManifest,
    "ranking": RankingManifest,
    "audit": AuditManifest,
    "duplicates": DuplicatesManifest,
    "export": ExportManifest,
}
"""Kind of store → type of its manifest; other kinds have the type `Manifest`."""
