"""The formats of `mmfeat export`, one module each."""

from mmfeat.exporting.formats.base import ExportFormat
from mmfeat.exporting.formats.registry import FORMATS

__all__ = ["FORMATS", "ExportFormat"]
