"""All fuzz targets. The light ones come first; models load torch."""

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.readers import media, models, stores, tables, tars, texts
from tests.fuzz.target import Target

TARGETS: dict[str, Callable[[Path], Target]] = {
    make.__name__: make
    for make in (
        media.image_size, media.image, media.audio,
        tars.tar_index, tars.tar_source, tars.tar_stream, tars.shard,
        tables.csv, tables.tsv, tables.csv_gz, tables.json_array, tables.json_lines,
        tables.parquet, tables.parquet_media, tables.sidecar, tables.key_array, tables.key_lines,
        texts.condition, texts.yaml_file, texts.override,
        stores.shards_manifest, stores.features_manifest, stores.receipt, stores.run_config,
        stores.plan, stores.planned_records, stores.column, stores.token_column,
        stores.samples_table, stores.shard_table,
        models.vocabulary, models.word_vectors, models.recurrent_config, models.model_manifest,
        models.model_weights,
    )
}  # fmt: skip
"""Target → makes it in an empty folder."""
