"""Read config.json and metrics.json of a model, and check what its page shows of them."""

from typing import Any, NotRequired, TypedDict

from mmfeat.errors import MmfeatError
from mmfeat.storage import Count, check_value, files, read_document
from mmfeat.store import CONFIG_FILE, MANIFEST_FILE

METRICS = "metrics.json"


class _Column(TypedDict):
    name: str
    modality: NotRequired[str]
    dim: NotRequired[int]
    max_tokens: NotRequired[int]
    fingerprint: NotRequired[str]
    encoder: NotRequired[dict[str, Any]]


class _Config(TypedDict):
    task: NotRequired[str]
    target: NotRequired[str]
    classes: NotRequired[list[str]]
    split: NotRequired[dict[str, Any]]
    columns: NotRequired[list[_Column]]


class _ConfigFile(TypedDict):
    config: NotRequired[_Config]


class _TextMetrics(TypedDict):
    model: dict[str, float | None]
    most_frequent: dict[str, float | None]
    nearest_neighbour: dict[str, float | None]


class _Baselines(TypedDict):
    rows: Count
    most_frequent_text: str
    metrics: _TextMetrics


class _Copies(TypedDict):
    rows: Count
    fraction: float
    most_frequent: dict[str, Count]


class _SplitMetrics(TypedDict):
    confusion_matrix: NotRequired[list[list[Count]]]
    classes: NotRequired[list[str]]
    per_class: NotRequired[dict[str, dict[str, float | None]]]
    per_subset: NotRequired[dict[str, dict[str, float | None]]]
    baselines: NotRequired[_Baselines]
    copies: NotRequired[_Copies]


class _Search(TypedDict):
    chosen: NotRequired[dict[str, float | None]]
    weights: NotRequired[dict[str, float]]
    dropped: NotRequired[dict[str, str]]


class _MetricsFile(TypedDict):
    metric: NotRequired[str]
    model: NotRequired[str]
    headline: NotRequired[str]
    explanation: NotRequired[list[str]]
    search: NotRequired[_Search]
    best_epoch: NotRequired[Count | None]
    temperature: NotRequired[dict[str, Any] | None]
    validation: NotRequired[_SplitMetrics | None]
    test: NotRequired[_SplitMetrics | None]
    candidates: NotRequired[list[dict[str, Any]]]
    rows: NotRequired[dict[str, Count]]
    left_out: NotRequired[dict[str, Count]]
    speed: NotRequired[dict[str, Any]]


def read_config(model_dir: str, chosen: Any = None) -> dict[str, Any]:
    """Return the configuration of a model.

    Args:
        model_dir: directory that `mmfeat train` wrote.
        chosen: columns and layers that training has chosen, from the manifest. None = those of
            config.json.

    Raises:
        MmfeatError: there is none.
        DamagedFileError: an entry has another type.
    """
    config: dict[str, Any] = _read(model_dir, CONFIG_FILE, _ConfigFile).get("config", {})
    if chosen is not None:
        config |= check_value(chosen, _Config, files.join(model_dir, MANIFEST_FILE))
    return config


def read_metrics(model_dir: str) -> dict[str, Any]:
    """Return the metrics of a model; errors as in `read_config`."""
    return _read(model_dir, METRICS, _MetricsFile)


def _read(folder: str, name: str, schema: Any) -> dict[str, Any]:
    content: dict[str, Any] | None = read_document(files.join(folder, name), schema)
    if content is None:
        raise MmfeatError(
            f"a finished model has a {name}; {folder} has none",
            cure="Name a directory that mmfeat train wrote, or run mmfeat train again",
        )
    return content
