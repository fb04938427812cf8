"""The command `mmfeat export`."""

from collections.abc import Sequence

from mmfeat.config import parse_args
from mmfeat.exporting.config import ExportConfig
from mmfeat.exporting.export_store import export_store


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and export the store."""
    export_store(parse_args(ExportConfig, arguments, prog="mmfeat export"))
