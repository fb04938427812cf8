"""Names of splits, as folders and columns say them."""

SPLITS = ("train", "val", "test")

NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
"""What a split may be called, in any case → its name here."""


def split_of_folder(name: str) -> str | None:
    """The split a folder stands for; None for a folder of another kind."""
    return NAMES.get(name.casefold())
