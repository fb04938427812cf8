"""Which command makes which kind of store."""

import shlex

_MAKERS = {
    "shards": "mmfeat shard INPUT",
    "features": "mmfeat extract SHARDS",
    "model": "mmfeat train FEATURES",
    "comparison": "mmfeat compare FEATURES",
    "predictions": "mmfeat score MODEL INPUT",
    "audit": "mmfeat audit FEATURES",
    "duplicates": "mmfeat dedup FEATURES",
    "export": "mmfeat export STORE",
    "ranking": "mmfeat align-report MODEL FEATURES",
}
"""Kind of store → the command that makes it, without its output."""


def command_of(kind: str, path: str) -> str:
    """Return the command that makes a store, for people: `mmfeat shard INPUT out …`."""
    return f"{_MAKERS.get(kind, 'mmfeat')} {shlex.quote(path)} …"
