"""The command `mmfeat preview`: one page with records of a store."""

from collections.abc import Sequence

from mmfeat.config import parse_args
from mmfeat.inspection.config import PreviewConfig
from mmfeat.system import print_out


def main(arguments: Sequence[str]) -> None:
    """Write the page and print its path."""
    config = parse_args(PreviewConfig, arguments, prog="mmfeat preview")
    from mmfeat.inspection.write_preview import write_preview

    print_out(write_preview(config))
