"""Name of a format → the class that writes it."""

from mmfeat.exporting.formats.array_files import ClipRetrievalFormat, NpyFormat
from mmfeat.exporting.formats.base import ExportFormat
from mmfeat.exporting.formats.tables import DatasetsFormat, ParquetFormat
from mmfeat.exporting.formats.tars import WebDatasetFormat

FORMATS: dict[str, type[ExportFormat]] = {
    "npy": NpyFormat,
    "clip-retrieval": ClipRetrievalFormat,
    "parquet": ParquetFormat,
    "datasets": DatasetsFormat,
    "webdataset": WebDatasetFormat,
}
