"""Open the store that is exported."""

from mmfeat.errors import MmfeatError
from mmfeat.exporting.features_source import FeaturesSource
from mmfeat.exporting.predictions_source import PredictionsSource
from mmfeat.exporting.source import ExportSource
from mmfeat.storage import files
from mmfeat.store import CONFIG_FILE, check_folder


def open_source(path: str) -> ExportSource:
    """Open a finished store of features or predictions.

    Raises:
        MmfeatError: it is neither, or not finished.
    """
    run = files.read_json(files.join(path, CONFIG_FILE))
    kind = run.get("kind") if isinstance(run, dict) else None
    if kind == "predictions":
        return PredictionsSource(path)
    if isinstance(kind, str) and kind != "features":
        raise MmfeatError(
            f"mmfeat export reads features or predictions: {path}",
            got=kind,
            cure="Name the output of mmfeat extract or of mmfeat score",
        )
    if not files.exists(path):
        check_folder(path, "Name the output of mmfeat extract or of mmfeat score")
    return FeaturesSource(path)
