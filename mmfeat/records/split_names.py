"""Names of splits in folders and metadata columns."""

SPLITS = ("train", "val", "test")

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
"""Name of a split in lower case → split."""


def split_of_folder(name: str) -> str | None:
    """Return the split that a folder name stands for; None for any other folder."""
    return SPLIT_NAMES.get(name.casefold())
