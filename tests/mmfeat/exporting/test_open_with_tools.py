"""Open exports with the tools they are for, unchanged.

autofaiss needs an older NumPy than mmfeat is tested with. Name a Python that has it, and
clip-retrieval, with EXPORT_TOOLS:

    uv venv tools && uv pip install --python tools/bin/python autofaiss 'pyarrow<22'
    uv pip install --python tools/bin/python --no-deps clip-retrieval
    EXPORT_TOOLS=tools/bin/python pytest tests/mmfeat/exporting
"""

import glob
import os
import subprocess

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmfeat.exporting import ExportConfig, export_store
from tests.training.stores import Records, write_store

ROWS, DIM = 40, 8


@pytest.fixture(scope="module")
def features():
    vectors = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype(np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture
def export(features, tmp_path):
    def make(name):
        records = Records(
            {"image": features, "text": features[::-1].copy()},
            {"label": [f"класс {row % 3}" for row in range(ROWS)]},
            {"image": np.arange(ROWS) != 7},
        )
        store = write_store(str(tmp_path / "features"), records, 3)
        export_store(ExportConfig(store, str(tmp_path / name), name))
        return tmp_path / name

    return make


def run_tool(code, *arguments):
    python = os.environ.get("EXPORT_TOOLS")
    if not python:
        pytest.skip("EXPORT_TOOLS names no Python with autofaiss and clip-retrieval")
    result = subprocess.run(
        [python, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


SEARCH = """
import sys, faiss, numpy as np
index = faiss.read_index(sys.argv[1])
found = index.search(np.load(sys.argv[2]).astype(np.float32), 1)[1]
print(index.ntotal, *found[:, 0])
"""


def test_autofaiss_builds_an_index_whose_rows_are_those_of_the_metadata(export, tmp_path):
    folder = export("npy")
    run_tool(
        "import sys, autofaiss; autofaiss.build_index(sys.argv[1], index_path=sys.argv[2], "
        "index_infos_path=sys.argv[3], metric_type='ip', nb_cores=1)",
        folder / "image", tmp_path / "i.index", tmp_path / "i.json",
    )  # fmt: skip
    last = folder / "image" / "00002.npy"
    count, *found = run_tool(SEARCH, tmp_path / "i.index", last).split()
    assert int(count) == ROWS - 1
    start = ROWS - 1 - len(np.load(last))
    assert [*map(int, found)] == [*range(start, ROWS - 1)]


def test_clip_retrieval_indexes_images_and_texts_and_copies_the_metadata(export, tmp_path):
    code = """
import importlib.util, pathlib, site, sys
if __name__ == "__main__":
    # Of the package, only the index is needed; it imports a web server.
    path = pathlib.Path(site.getsitepackages()[0], "clip_retrieval", "clip_index.py")
    spec = importlib.util.spec_from_file_location("clip_index", path)
    sys.modules["clip_index"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.clip_index(sys.argv[1], sys.argv[2])
"""
    folder, index = export("clip-retrieval"), tmp_path / "index"
    index.mkdir()
    run_tool(code, folder, index)
    assert {path.name for path in index.iterdir()} >= {"image.index", "text.index", "metadata"}
    first = folder / "text_emb" / "00000.npy"
    count, *found = run_tool(SEARCH, index / "text.index", first).split()
    assert (int(count), [*map(int, found)]) == (ROWS - 1, [*range(len(np.load(first)))])
    tables = [pq.read_table(path) for path in sorted((index / "metadata").glob("*.parquet"))]
    assert sum(map(len, tables)) == ROWS - 1


def test_duckdb_and_polars_read_the_tables(export, features):
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    pattern = f"{export('parquet')}/data/*.parquet"
    rows = duckdb.sql(f"SELECT __key__, feature_image FROM '{pattern}' ORDER BY __key__").fetchall()
    assert [key for key, _ in rows] == [f"key-{row:06d}" for row in range(ROWS)]
    assert [row for row, (_, vector) in enumerate(rows) if vector is None] == [7]
    np.testing.assert_array_equal(np.array(rows[5][1], np.float16), features[5])
    near = duckdb.sql(
        f"SELECT list_cosine_similarity(feature_text, feature_text) FROM '{pattern}'"
    ).fetchall()
    np.testing.assert_allclose(near, 1, atol=1e-5)
    frame = polars.scan_parquet(pattern).sort("__key__").collect()
    assert frame["label"][4] == "класс 1"
    np.testing.assert_array_equal(np.array(frame["feature_text"][0], np.float16), features[-1])


def test_hugging_face_loads_the_folder_with_the_length_of_the_vectors(export, features, tmp_path):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(export("datasets")), cache_dir=str(tmp_path / "cache"))
    rows = loaded["train"].with_format("numpy")
    assert len(rows) == ROWS
    np.testing.assert_array_equal(rows[3]["feature_image"].astype(np.float16), features[3])
    assert loaded["train"][7]["feature_image"] is None
    assert loaded["train"].features["label"].dtype == "string"


def test_webdataset_decodes_the_vectors(export, features):
    import webdataset

    paths = sorted(glob.glob(f"{export('webdataset')}/data/*.tar"))
    samples = [*webdataset.WebDataset(paths, shardshuffle=False).decode()]
    assert [sample["__key__"] for sample in samples] == [f"key-{row:06d}" for row in range(ROWS)]
    assert "image.npy" not in samples[7]
    np.testing.assert_array_equal(samples[3]["image.npy"], features[3])
    assert samples[3]["json"]["label"] == "класс 0"


def test_embedding_atlas_loads_the_table(export):
    reason = "embedding-atlas is not installed"
    utils = pytest.importorskip("embedding_atlas.utils", reason=reason, exc_type=ImportError)
    frame = utils.load_pandas_data(f"{export('parquet')}/data/00001.parquet")
    assert np.stack(frame["feature_text"]).shape == (len(frame), DIM)
