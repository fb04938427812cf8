"""`mmfeat export`: features or predictions as files that other tools read."""

from mmfeat.exporting.config import ExportConfig
from mmfeat.exporting.export_store import check_inputs, export_store

__all__ = ["ExportConfig", "check_inputs", "export_store"]
