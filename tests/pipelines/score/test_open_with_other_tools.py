"""Folders of rows open in other tools without an option."""

import datasets
import duckdb
import pandas
import polars
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.pipelines.score.conftest import ROWS


def load_dataset(folder):
    return datasets.load_dataset(str(folder), split="train").to_list()


READERS = {
    "pandas": lambda folder: pandas.read_parquet(folder).to_dict("records"),
    "polars": lambda folder: polars.read_parquet(folder).to_dicts(),
    "polars_lazy": lambda folder: polars.scan_parquet(folder).collect().to_dicts(),
    "duckdb": lambda folder: duckdb.sql(f"FROM '{folder}/*.parquet'").to_arrow_table().to_pylist(),
    "datasets": load_dataset,
    "pyarrow": lambda folder: ds.dataset(folder).to_table().to_pylist(),
    "parquet": lambda folder: pq.read_table(folder).to_pylist(),
}


@pytest.fixture(autouse=True)
def dataset_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("folder", ["predictions/data", "features/samples"])
def test_parquet_opens_without_an_option(scored, folder, reader):
    rows = READERS[reader](scored / folder)
    assert {row["__key__"] for row in rows} == {row["sku"] for row in ROWS}
    assert len(rows) == len(ROWS)
    failed = {row["__key__"] for row in rows if row["status"] == "failed"}
    assert failed == {"K-7", "K-20"}
    name = "prediction" if folder == "predictions/data" else "label"
    values = {row[name] for row in rows if row["__key__"] not in failed}
    assert values <= {"red", "blue"}


def test_a_feature_column_opens_as_one_dataset(scored):
    for column in ("image", "text"):
        rows = ds.dataset(scored / "features" / column, format="ipc")
        assert rows.count_rows() == len(ROWS)


@pytest.mark.parametrize(
    ("folder", "ending"),
    [
        ("predictions/data", ".parquet"),
        ("features/samples", ".parquet"),
        ("features/image", ".arrow"),
        ("features/text", ".arrow"),
    ],
)
def test_a_folder_of_rows_holds_one_file_per_shard(scored, folder, ending):
    names = sorted(path.name for path in (scored / folder).iterdir())
    assert names == [f"{shard:05}{ending}" for shard in range(4)]


@pytest.mark.parametrize("folder", ["predictions/data", "features/samples"])
def test_files_follow_the_rules_of_spark(scored, folder):
    """Spark skips names with `_` or `.`, and takes the schema from any file."""
    paths = sorted((scored / folder).iterdir())
    assert not [path for path in paths if path.name.startswith(("_", "."))]
    schemas = [pq.read_schema(path) for path in paths]
    assert all(schema.equals(schemas[0]) for schema in schemas)
    names = [name.lower() for name in schemas[0].names]
    assert len(names) == len({*names})


def test_receipts_name_their_files_relative_to_the_store(scored):
    for store, table in (("predictions", "data"), ("features", "samples")):
        for number in range(4):
            receipt = pandas.read_json(scored / store / f"{number:05}_stats.json", typ="series")
            assert [*receipt["files"]] == [f"{table}/{number:05}.parquet"]
            size = (scored / store / table / f"{number:05}.parquet").stat().st_size
            assert receipt["files"][f"{table}/{number:05}.parquet"]["bytes"] == size
