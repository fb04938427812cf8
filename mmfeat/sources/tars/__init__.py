"""WebDataset tars as input, and the tables next to them."""

from mmfeat.sources.tars.tar_source import TarSource

__all__ = ["TarSource"]
