"""Options of `mmfeat export`."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from mmfeat.config import OutputPath, RepeatedFlag, metavar

FormatName = Literal["npy", "clip-retrieval", "parquet", "datasets", "webdataset"]
DtypeName = Literal["auto", "float16", "float32"]


@dataclass(frozen=True)
class ExportConfig:
    """Write features or predictions as files that other tools read.

    One shard is in memory at a time. A run that was killed continues where it stopped.
    """

    store: Annotated[str, tyro.conf.Positional, metavar("STORE")]
    """Output directory of `mmfeat extract` or `mmfeat score`."""
    output: OutputPath
    """Directory to write the files to."""
    format: FormatName = "parquet"
    """parquet: one table of rows and vectors, for DuckDB, Polars, pandas and embedding-atlas.
    npy: a folder of arrays per column, for autofaiss and NumPy. clip-retrieval: the folders that
    `clip-retrieval index` reads. datasets: Parquet that Hugging Face `load_dataset` loads.
    webdataset: tars with a .npy per column and a .json."""
    modalities: str = ""
    """Feature columns to export, separated by commas; empty = all that the format can hold."""
    columns: RepeatedFlag = ()
    """Columns of the samples table or of the predictions to export, for example label,sku. May be
    repeated. The default is all."""
    dtype: DtypeName = "auto"
    """Type of the vectors. auto: as they are stored, but float32 in Parquet, since few tools read
    its float16."""
