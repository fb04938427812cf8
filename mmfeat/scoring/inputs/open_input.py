"""Find out what an input is."""

from mmfeat.errors import MmfeatError
from mmfeat.scoring.config import ScoreConfig
from mmfeat.scoring.inputs.base import ScoringInput
from mmfeat.scoring.inputs.encoded_shards import EncodedShards
from mmfeat.scoring.inputs.stored_features import StoredFeatures
from mmfeat.storage import files
from mmfeat.store import CONFIG_FILE, check_finished

_FLAGS_OF_SHARDS = ("keep_features", "encoder", "batch_size", "trust_remote_code")


def find_kind(config: ScoreConfig) -> str:
    """Return `shards` or `features`: the kind of the input, which must be finished.

    Raises:
        MmfeatError: it is another store, or not finished, or an option does not apply to it.
    """
    run = files.read_json(files.join(config.input, CONFIG_FILE))
    kind = "shards" if isinstance(run, dict) and run.get("kind") == "shards" else "features"
    check_finished(config.input, kind)
    if kind == "features":
        for name in _FLAGS_OF_SHARDS:
            if given := getattr(config, name):
                raise MmfeatError(
                    f"--{name.replace('_', '-')} needs shards as INPUT: {config.input} has "
                    "features, and nothing is encoded",
                    got=given,
                    cure="Leave the flag out, or name the shards",
                )
    return kind


def open_input(config: ScoreConfig) -> ScoringInput:
    """Return the input of a run; errors as in `find_kind`."""
    if find_kind(config) == "features":
        return StoredFeatures(config.input)
    return EncodedShards(config)
