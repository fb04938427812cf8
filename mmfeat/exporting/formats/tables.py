"""Parquet files of rows and vectors.

    OUTPUT/data/00000.parquet    the columns of the samples table, then feature_<column>
    OUTPUT/README.md             of the format datasets: which files load_dataset reads

All rows are kept: a record without a feature has null there, and `status` and `reason` say why.
A column that no record lacks has lists of a fixed size.
"""

import json
import re
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import DamagedFileError
from mmfeat.exporting.formats.base import ExportFormat
from mmfeat.exporting.rows import ExportRows
from mmfeat.records import free_columns
from mmfeat.storage import files
from mmfeat.store import RecordedFile, ShardAttempt

DATA = "data"
"""Folder of the rows."""

_README = "README.md"
_ROW_GROUP_BYTES = 32 << 20
"""Bytes of vectors in a row group: readers hold one at a time."""


class ParquetFormat(ExportFormat):
    """One Parquet file per shard."""

    default_dtype = "float32"

    def write(self, attempt: ShardAttempt, rows: ExportRows) -> Counter[str]:
        """Write the table of a shard."""
        table = self._make_table(rows)
        sizes = [4 * self.source.shapes[name].dim for name in self.vectors]
        group_rows = max(1024, _ROW_GROUP_BYTES // max(1, sum(sizes)))
        with attempt.create(files.join(DATA, f"{rows.shard}.parquet")) as output:
            pq.write_table(
                table,
                output,
                compression="zstd",
                row_group_size=group_rows,
                use_dictionary=self.columns,  # a dictionary of the vectors' values saves nothing
            )
        return Counter()

    def _make_table(self, rows: ExportRows) -> pa.Table:
        table = rows.table
        names = self._vector_names()
        for name, vectors in rows.vectors.items():
            fixed = name in self.source.complete
            if fixed and not vectors.present.all():
                raise DamagedFileError(
                    f"every record of shard {rows.shard} must have a feature of {name}, as the "
                    f"manifest of {self.source.path} says",
                    got=f"{int((~vectors.present).sum())} without",
                    cure=files.RESTORE,
                )
            table = table.append_column(names[name], vectors.to_arrow(fixed=fixed))
        return table

    def _vector_names(self) -> dict[str, str]:
        """Return column of vectors → its name in the table."""
        if self.source.manifest["kind"] != "features":
            return {name: name for name in self.vectors}
        wanted = {f"feature_{name}": name for name in self.vectors}
        free = free_columns([*wanted], self.columns)
        return {wanted[name]: column for name, column in free.items()}

    def usage(self, output: str) -> str:
        """Return a query of DuckDB."""
        rows = files.join(output, DATA).replace("'", "''")
        rows = re.sub(r'([\\"$`])', r"\\\1", rows)  # as a shell reads double quotes
        return f"duckdb -c \"FROM '{rows}/*.parquet' LIMIT 5\""


class DatasetsFormat(ParquetFormat):
    """Parquet files that `datasets.load_dataset` loads, with the lengths of the vectors."""

    def _make_table(self, rows: ExportRows) -> pa.Table:
        table = super()._make_table(rows)
        features = {field.name: _hf_type(field.type) for field in table.schema}
        if any(feature is None for feature in features.values()):
            return table  # datasets derives the types from those of Arrow
        description = json.dumps({"info": {"features": features}})
        return table.replace_schema_metadata({"huggingface": description})

    def finish(self, output: str, records: int) -> dict[str, RecordedFile]:
        """Write README.md: without it, load_dataset would also read the JSON files of the store."""
        front = "configs:\n- config_name: default\n  data_files:\n  - split: train\n"
        text = f"---\n{front}    path: {DATA}/*.parquet\n---\n\n"
        text += f"{records:,} records with vectors of {', '.join(self.vectors) or 'no column'}, "
        text += "exported by mmfeat.\n"
        with files.create(files.join(output, _README)) as file:
            file.write(text.encode())
        return {_README: file.info()}

    def usage(self, output: str) -> str:
        """Return the call of load_dataset."""
        return f"datasets.load_dataset({output!r})"


def _hf_type(arrow_type: pa.DataType) -> dict[str, object] | None:
    """Return a type as `datasets` describes it; None if it is another one."""
    if pa.types.is_fixed_size_list(arrow_type):
        inner = _hf_type(arrow_type.value_type)
        return inner and {"feature": inner, "length": arrow_type.list_size, "_type": "List"}
    if pa.types.is_list(arrow_type):
        inner = _hf_type(arrow_type.value_type)
        return inner and {"feature": inner, "_type": "List"}
    names = {
        pa.string(): "string", pa.large_string(): "large_string", pa.bool_(): "bool",
        pa.int8(): "int8", pa.int16(): "int16", pa.int32(): "int32", pa.int64(): "int64",
        pa.float16(): "float16", pa.float32(): "float32", pa.float64(): "float64",
        pa.binary(): "binary", pa.null(): "null",
    }  # fmt: skip
    name = names.get(arrow_type)
    return {"dtype": name, "_type": "Value"} if name else None
