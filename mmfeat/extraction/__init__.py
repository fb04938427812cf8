"""The stage behind `mmfeat extract`: run frozen encoders over shards."""

from mmfeat.extraction.config import ExtractConfig
from mmfeat.extraction.stage import Extraction

__all__ = ["ExtractConfig", "Extraction"]
