import errno
import os
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

import mmfeat
from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.retrieval import SearchConfig, column_index, query, search
from mmfeat.retrieval.column_index import ColumnIndex
from mmfeat.retrieval.searched_column import SearchedColumn, UnitVectors
from mmfeat.retrieval.top_rows import TopRows
from mmfeat.storage import files
from mmfeat.store import record_file
from tests.browser import browser, driver  # noqa: F401 - fixtures
from tests.training.stores import Records, write_store

ROWS = 300


def make_vectors(rows=ROWS, dim=16):
    return np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float16)


@pytest.fixture
def store(tmp_path):
    present = np.arange(ROWS) % 10 != 3
    records = Records(
        {"image": make_vectors(), "text": make_vectors()[:, :8].copy()},
        {"label": [f"<img src=x onerror=alert(1)> {row % 3}" for row in range(ROWS)]},
        {"image": present},
    )
    return write_store(str(tmp_path / "features"), records, 4)


def nearest(vectors, row, candidates):
    unit = vectors.astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    scores = unit @ unit[row]
    order = [i for i in np.argsort(-scores, kind="stable") if candidates[i] and i != row]
    return [f"key-{i:06d}" for i in order], [scores[i] for i in order]


def test_the_nearest_records_are_those_of_all_cosines(store):
    result = search(SearchConfig(store, like="key-000017", count=12, columns=("label",)))
    keys, scores = nearest(make_vectors(), 17, np.arange(ROWS) % 10 != 3)
    assert result.keys == keys[:12]
    np.testing.assert_allclose(result.table["score"].to_numpy(), scores[:12], atol=1e-5)
    assert result.table["rank"].to_pylist() == [*range(1, 13)]
    assert (
        result.table["label"][0].as_py() == f"<img src=x onerror=alert(1)> {int(keys[0][4:]) % 3}"
    )
    assert result.exact


def test_another_column_is_searched(store):
    result = search(SearchConfig(store, like="key-000003", column="text", count=5))
    assert result.keys == nearest(make_vectors()[:, :8], 3, np.ones(ROWS, bool))[0][:5]


def test_a_key_of_the_table_is_found_as_the_key_it_became(store, monkeypatch):
    monkeypatch.setattr(query, "safe_key", lambda key: key.replace("/", "-"))
    result = search(SearchConfig(store, like="key/000017"))
    assert result.keys == search(SearchConfig(store, like="key-000017")).keys
    assert "key-000017" not in result.keys


def test_the_first_column_that_the_record_has_is_searched(store):
    assert search(SearchConfig(store, like="key-000017")).column == "image"
    assert search(SearchConfig(store, like="key-000003")).column == "text"


def test_more_records_than_there_are_give_all(store):
    result = search(SearchConfig(store, like="key-000017", count=10_000))
    assert len(result.keys) == ROWS - 30 - 1
    assert len({*result.keys}) == len(result.keys)


def test_ties_are_cut_in_the_order_of_the_store():
    top = TopRows(2)
    vectors = np.ones((5, 1), np.float32)
    top.add(UnitVectors("00000", np.arange(5), vectors), np.ones(1, np.float32))
    top.add(UnitVectors("00001", np.arange(5), vectors), np.ones(1, np.float32))
    assert top.rows == [(1.0, "00000", 0), (1.0, "00000", 1)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"a search needs one of --like, --text, --image"),
        ({"like": "a", "text": "b"}, r"needs one of.*got '--like, --text'"),
        ({"like": "a", "count": 0}, r"--count must be from 1"),
        ({"like": "a", "output": "out.csv"}, r"--output must end in .parquet or .html"),
        ({"like": "a", "index_memory": 0}, r"--index-memory"),
        ({"like": "nobody"}, r"no record with this key"),
        ({"like": "key-000003", "column": "image"}, r"no feature of image.*--column"),
        ({"like": "key-000001", "column": "imgae"}, r"Did you mean 'image'"),
        ({"like": "key-000001", "columns": ("labl",)}, r"Did you mean 'label'"),
        ({"image": "nothing.png", "column": "image"}, r"must be named.*--encoder"),
        ({"text": "a cat", "column": "image"}, r"share no space with texts.*two-tower.*--model"),
    ],
)
def test_a_wrong_option_is_an_error_with_a_cure(store, options, message):
    with pytest.raises(MmfeatError, match=message):
        search(SearchConfig(store, **options))


def test_results_are_written_as_parquet_and_printed(store, tmp_path, mmfeat):
    path = tmp_path / "out.parquet"
    result = mmfeat("search", store, "--like", "key-000017", "--output", path)
    assert result.returncode == 0, result.stderr
    table = pq.read_table(path)
    printed = mmfeat("search", store, "--like", "key-000017").stdout
    assert table.column_names == ["rank", "score", "__key__", "shard"]
    for key in table["__key__"].to_pylist():
        assert key in printed


def test_hostile_labels_stay_text_on_the_page(store, tmp_path, browser):  # noqa: F811
    run = {"format": 2, "kind": "features", "config": {}, "hash": "0" * 64}
    files.write_json(str(tmp_path / "features" / "config.json"), run)
    path = tmp_path / "out.html"
    mmfeat.search(store, like="key-000017", columns=["label"], count=3, output=path)
    page = browser.open(str(path))
    cards = page.find_elements("css selector", ".record")
    assert len(cards) == 3
    assert "<img src=x onerror=alert(1)>" in cards[0].text
    assert page.find_element("id", "no-shards").text.startswith("Images and texts are not shown")
    assert browser.console_messages() == []
    assert browser.requests() == [path.as_uri()]


def test_python_returns_the_result(store):
    result = mmfeat.search(store, like="key-000017", count=3)
    assert result.to_pandas()["__key__"].tolist() == result.keys


def test_a_retried_record_is_found_once(store):
    """Its replaced row is no result, and the query is its last row."""
    features = FeatureStore(store)
    features.retried_rows.mask = lambda table, shard: np.array(
        [key == "key-000018" and shard == "00000" for key in table["__key__"].to_pylist()]
    )
    rows = [
        (found.shard, row)
        for found in SearchedColumn(features, features.columns["text"])
        for row in found.rows.tolist()
    ]
    assert ("00000", 18) not in rows
    assert len(rows) == ROWS - 1


def write_index_store(tmp_path, rows=4000, dim=32, fingerprint="an encoder"):
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(30, dim))
    vectors = centers[rng.integers(0, 30, rows)] + rng.normal(size=(rows, dim))
    records = Records({"image": vectors.astype(np.float16)}, {}, {}, {"image": fingerprint})
    return write_store(str(tmp_path / "features"), records, 5)


def recall(store, queries=20, **options):
    hits = 0
    for row in range(queries):
        key = f"key-{row * 100:06d}"
        exact = search(SearchConfig(store, like=key, count=10))
        found = search(SearchConfig(store, like=key, count=10, exact_below=0, **options))
        assert not found.exact
        hits += len({*exact.keys} & {*found.keys})
    return hits / (10 * queries)


def index_folders(tmp_path):
    return sorted((tmp_path / "features.index").iterdir())


def test_an_index_finds_nearly_what_an_exact_search_finds_and_is_built_once(tmp_path):
    pytest.importorskip("faiss")
    store = write_index_store(tmp_path)
    assert recall(store) >= 0.95
    (folder,) = index_folders(tmp_path)
    before = (folder / "vectors.faiss").stat().st_mtime_ns
    search(SearchConfig(store, like="key-000001", exact_below=0))
    assert (folder / "vectors.faiss").stat().st_mtime_ns == before


@pytest.mark.slow
def test_an_index_keeps_to_its_memory(tmp_path):
    pytest.importorskip("faiss")
    store = write_index_store(tmp_path, rows=30_000, dim=64)  # SQ8: 72 bytes a vector, 2.1 MB
    assert recall(store, queries=5, index_memory=1) >= 0.7
    (folder,) = index_folders(tmp_path)
    assert (folder / "vectors.faiss").read_bytes()[:4] == b"IwPQ"
    centroids = 4 * 64 * (700 + 256)
    assert (folder / "vectors.faiss").stat().st_size < (1 << 20) + centroids


def test_a_damaged_or_foreign_index_is_built_again(tmp_path, capsys):
    faiss = pytest.importorskip("faiss")
    store = write_index_store(tmp_path)
    config = SearchConfig(store, like="key-000001", exact_below=0)
    expected = search(config).keys
    (folder,) = index_folders(tmp_path)
    path = folder / "vectors.faiss"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    assert search(config).keys == expected
    assert "is built again" in capsys.readouterr().err
    flat = faiss.IndexFlatIP(32)
    flat.add(np.ones((4000, 32), np.float32))
    faiss.write_index(flat, str(path))
    for foreign in (path.read_bytes(), b"\x80\x04pickle", b"IwSq" + bytes(100)):
        path.write_bytes(foreign)
        forge_manifest(folder)  # as a stranger would
        assert search(config).keys == expected
        assert "is built again" in capsys.readouterr().err


@pytest.mark.parametrize("ids", [np.zeros(4000), np.arange(4000) + 4000, np.full(4000, -5)])
def test_an_index_of_other_rows_is_not_used(tmp_path, capsys, ids):
    faiss = pytest.importorskip("faiss")
    store = write_index_store(tmp_path)
    config = SearchConfig(store, like="key-000001", exact_below=0)
    search(config)
    (folder,) = index_folders(tmp_path)
    index = faiss.index_factory(32, "IVF4,SQ8", faiss.METRIC_INNER_PRODUCT)
    vectors = np.random.default_rng(1).normal(size=(4000, 32)).astype(np.float32)
    index.train(vectors)
    index.add_with_ids(vectors, ids.astype(np.int64))
    faiss.write_index(index, str(folder / "vectors.faiss"))
    forge_manifest(folder)
    result = search(config)
    assert result.exact
    assert result.keys == search(SearchConfig(store, like="key-000001")).keys
    assert "must have each row of the store once" in capsys.readouterr().err


def test_an_index_that_finds_too_little_is_not_used(tmp_path, monkeypatch):
    pytest.importorskip("faiss")
    store = write_index_store(tmp_path)
    monkeypatch.setattr(ColumnIndex, "search", lambda self, query, count: [3])
    result = search(SearchConfig(store, like="key-000001", exact_below=0))
    assert (result.exact, len(result.keys)) == (True, 10)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_without_a_place_for_an_index_all_vectors_are_compared(
    tmp_path, monkeypatch, capsys, number
):
    pytest.importorskip("faiss")
    store = write_index_store(tmp_path)

    def refuse(folder):
        raise OSError(number, os.strerror(number), folder)

    monkeypatch.setattr(column_index, "lock_directory", refuse)
    result = search(SearchConfig(store, like="key-000001", exact_below=0))
    assert (result.exact, len(result.keys)) == (True, 10)
    assert "no index can be written beside the features" in capsys.readouterr().err
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output"):
        search(SearchConfig(store, like="key-000001", exact_below=0))


def forge_manifest(folder):
    path = str(folder / "manifest.json")
    manifest = files.read_json(path)
    manifest["files"] = {"vectors.faiss": record_file(str(folder / "vectors.faiss"))}
    files.write_json(path, manifest)


def test_other_features_have_an_index_of_their_own(tmp_path):
    pytest.importorskip("faiss")
    config = SearchConfig(write_index_store(tmp_path), like="key-000001", exact_below=0)
    search(config)
    write_index_store(tmp_path, fingerprint="another encoder")
    search(config)
    assert len(index_folders(tmp_path)) == 2


def test_a_killed_build_is_repeated(tmp_path, monkeypatch):
    faiss = pytest.importorskip("faiss")
    store = write_index_store(tmp_path)
    config = SearchConfig(store, like="key-000001", exact_below=0)

    def die(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(faiss, "write_index", die)
        with pytest.raises(KeyboardInterrupt):
            search(config)
    assert not [*index_folders(tmp_path)[0].glob("*.faiss")]
    assert len(search(config).keys) == 10


def test_without_faiss_all_vectors_are_compared_and_a_note_says_so(store, monkeypatch, capsys):
    module = sys.modules["mmfeat.retrieval.search"]
    monkeypatch.setattr(module, "has_faiss", lambda: False)
    assert search(SearchConfig(store, like="key-000017", exact_below=0)).exact
    assert "an index is faster, and needs FAISS" in capsys.readouterr().err
