import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from mmfeat.api import open_store
from mmfeat.deduplication import (
    DedupConfig,
    VectorRows,
    buckets,
    choose_columns,
    clusters,
    dedup_store,
    find_groups,
    read_groups,
)
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.verification import verify_store
from tests.training.stores import Records, write_store

find_module = sys.modules["mmfeat.deduplication.find_groups"]
store_module = sys.modules["mmfeat.deduplication.dedup_store"]


def make_store(folder, shards=3, present=None, **features):
    features = {name: np.asarray(values, np.float16) for name, values in features.items()}
    return write_store(str(folder), Records(features, {}, present or {}), shards)


def dedup(store, output, **options):
    return dedup_store(DedupConfig(str(store), str(output), **options))


def read_rows(output):
    return pq.read_table(Path(output, "duplicates.parquet")).to_pylist()


def kept_keys(output):
    return pq.read_table(Path(output, "keep.parquet"))["__key__"].to_pylist()


def angles(*degrees):
    """Return vectors of a plane; the cosine of two is that of the difference of their angles."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_groups_are_connected_and_their_first_record_is_kept(tmp_path):
    # 15 degrees apart is a cosine of .966, 30 degrees one of .866.
    store = make_store(tmp_path / "features", image=angles(90, 0, 15, 200, 30, 90))
    manifest = dedup(store, tmp_path / "out", threshold=0.95)
    assert [(row["__key__"], row["group"], row["group_size"], row["keep"])
            for row in read_rows(tmp_path / "out")] == [
        ("key-000000", "key-000000", 2, True),
        ("key-000005", "key-000000", 2, False),
        ("key-000001", "key-000001", 3, True),
        ("key-000002", "key-000001", 3, False),
        ("key-000004", "key-000001", 3, False),
    ]  # fmt: skip
    scores = [row["score"] for row in read_rows(tmp_path / "out")]
    np.testing.assert_allclose(scores, [1, 1, *[np.cos(np.deg2rad(15))] * 3], atol=1e-3)
    assert kept_keys(tmp_path / "out") == ["key-000000", "key-000001", "key-000003"]
    assert manifest["totals"] == {
        "records": 6, "groups": 2, "grouped": 5, "kept": 3, "left_out": {}
    }  # fmt: skip
    assert not verify_store(str(tmp_path / "out")).all_damages


def test_near_duplicates_are_alike_in_every_column(tmp_path):
    store = make_store(tmp_path / "features", image=angles(0, 0, 0, 90), text=angles(0, 90, 10, 90))
    dedup(store, tmp_path / "both")
    assert [row["__key__"][-1] for row in read_rows(tmp_path / "both")] == ["0", "2"]
    dedup(store, tmp_path / "text", modalities="text")
    assert [row["__key__"][-1] for row in read_rows(tmp_path / "text")] == ["0", "2", "1", "3"]


def test_records_that_cannot_be_compared_are_counted_and_kept(tmp_path):
    image = angles(0, 0, 0, 0)
    image[2] = 0
    present = {"image": np.array([True, False, True, True])}
    store = make_store(tmp_path / "features", image=image, present=present)
    manifest = dedup(store, tmp_path / "out")
    assert manifest["totals"]["left_out"] == {"image:missing": 1, "image:zero": 1}
    assert [row["__key__"][-1] for row in read_rows(tmp_path / "out")] == ["0", "3"]
    assert [key[-1] for key in kept_keys(tmp_path / "out")] == ["0", "1", "2"]


def brute_force(vectors, threshold):
    """Return the connected components of all pairs, as a label per row."""
    unit = vectors.astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return connected_components(unit @ unit.T >= threshold, directed=False)[1]


def make_near_duplicates(rows=6000, dim=24, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(20, dim))
    vectors = centers[rng.integers(0, 20, rows)] + rng.normal(size=(rows, dim))
    copies = rng.permutation(rows)[: rows // 4]
    noise = rng.normal(size=(len(copies), dim)) * rng.uniform(0, 0.5, (len(copies), 1))
    vectors[copies] = vectors[rng.integers(0, rows, len(copies))] + noise
    return vectors.astype(np.float16)


@pytest.mark.parametrize("threshold", [0.9, 0.95, 0.99])
def test_clusters_find_nearly_all_pairs_of_brute_force(tmp_path, monkeypatch, threshold):
    monkeypatch.setattr(find_module, "LEAF_ROWS", 300)  # so that there are clusters of clusters
    vectors = make_near_duplicates()
    store = FeatureStore(make_store(tmp_path / "features", image=vectors))
    (tmp_path / "scratch").mkdir()
    groups = find_groups(
        VectorRows(store, ["image"]), threshold, str(tmp_path / "scratch"), Counter()
    )
    unit = vectors.astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    first, second = np.nonzero(np.triu(unit @ unit.T >= threshold, 1))
    roots = groups.roots(np.arange(len(vectors)))
    assert len(first) > 100
    assert (roots[first] == roots[second]).mean() >= 0.99
    # No group has a record that brute force does not link to it.
    labels = brute_force(vectors, threshold - 1e-5)
    assert (labels == labels[roots]).all()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_small_stores_have_the_groups_of_brute_force(data, tmp_path_factory):
    rows = data.draw(st.integers(1, 30))
    degrees = data.draw(
        st.lists(st.sampled_from([*range(0, 360, 7)]), min_size=rows, max_size=rows)
    )
    vectors = angles(*degrees).astype(np.float16)
    folder = tmp_path_factory.mktemp("dedup")
    make_store(folder / "features", data.draw(st.integers(1, min(3, rows))), image=vectors)
    dedup(folder / "features", folder / "out", threshold=0.98)  # 11 degrees: one step, not two
    labels = brute_force(vectors, 0.98)
    expected = sorted(
        [f"key-{row:06d}" for row in np.flatnonzero(labels == label)]
        for label in np.unique(labels)
        if (labels == label).sum() > 1
    )
    found = {}
    for row in read_rows(folder / "out"):
        found.setdefault(row["group"], []).append(row["__key__"])
    assert sorted(found.values()) == expected
    assert len(kept_keys(folder / "out")) == len(np.unique(labels))


def test_rows_that_no_clustering_separates_are_one_group(tmp_path, monkeypatch):
    monkeypatch.setattr(find_module, "LEAF_ROWS", 50)
    monkeypatch.setattr(find_module, "_BLOCK_ROWS", 40)
    rng = np.random.default_rng(0)
    vectors = np.ones((600, 8)) + rng.normal(size=(600, 8)) * 0.01
    vectors[::50] = -vectors[::50]
    dedup(make_store(tmp_path / "features", image=vectors), tmp_path / "out", threshold=0.9)
    sizes = Counter(row["group"] for row in read_rows(tmp_path / "out"))
    assert sorted(sizes.values()) == [12, 588]


def test_a_killed_search_leaves_nothing_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    store = make_store(tmp_path / "features", image=make_near_duplicates(500))
    dedup(store, tmp_path / "whole")

    for name in ("_write_duplicates", "_write_keys", "write_manifest"):
        with monkeypatch.context() as patch:

            def die(*arguments, **entries):
                raise KeyboardInterrupt

            patch.setattr(store_module, name, die)
            with pytest.raises(KeyboardInterrupt):
                dedup(store, tmp_path / "out")
        with pytest.raises(MmfeatError, match="not finished"):
            read_groups(str(tmp_path / "out"))
    dedup(store, tmp_path / "out")
    for name in ("duplicates.parquet", "keep.parquet", "manifest.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_search_is_kept_and_another_one_is_refused(tmp_path, capsys):
    store = make_store(tmp_path / "features", image=angles(0, 0, 90))
    dedup(store, tmp_path / "out")
    dedup(store, tmp_path / "out")
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(MmfeatError, match=r"threshold was 0.95, is 0.9 now.*another output"):
        dedup(store, tmp_path / "out", threshold=0.9)


@pytest.mark.parametrize("threshold", [0, 1.01, float("nan")])
def test_a_threshold_outside_of_the_cosines_is_refused(threshold):
    with pytest.raises(MmfeatError, match="--threshold must be above 0 and at most 1"):
        DedupConfig("features", "out", threshold=threshold)


def test_token_columns_are_refused_and_left_out_by_default(tmp_path):
    words = np.ones((4, 3, 2), np.float16)
    records = Records({"image": angles(0, 0, 1, 2).astype(np.float16), "words": words}, {})
    store = FeatureStore(write_store(str(tmp_path / "features"), records))
    assert choose_columns(store, "") == ["image"]
    with pytest.raises(MmfeatError, match=r"one vector per record.*'words'.*There are: image"):
        choose_columns(store, "words")


def test_changed_groups_are_noticed(tmp_path):
    dedup(make_store(tmp_path / "features", image=angles(0, 0, 90)), tmp_path / "out")
    path = tmp_path / "out" / "duplicates.parquet"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="bytes of its receipt"):
        read_groups(str(tmp_path / "out"))


def test_keys_are_found_in_their_groups(tmp_path):
    dedup(make_store(tmp_path / "features", image=angles(0, 90, 0, 90, 180)), tmp_path / "out")
    found = read_groups(str(tmp_path / "out")).find(
        [f"key-{row:06d}" for row in (0, 1, 2, 3, 4, 99)]
    )
    assert found[0] == found[2] != found[1] == found[3]
    assert found[4:] == [None, None]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_store(tmp_path, monkeypatch):
    monkeypatch.setattr(find_module, "LEAF_ROWS", 200)
    monkeypatch.setattr(find_module, "MAX_CLUSTERS", 16)
    monkeypatch.setattr(buckets, "_BUFFER_BYTES", 1 << 16)
    peaks = []
    for rows in (4000, 16000):
        vectors = np.random.default_rng(0).normal(size=(rows, 32))
        vectors[1::500] = vectors[::500]  # few lines to sort, which fill a buffer of fixed size
        store = make_store(tmp_path / f"{rows}", rows // 1000, image=vectors)
        tracemalloc.start()
        dedup(store, tmp_path / f"out-{rows}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Four times as many rows; buffers of fixed size are not full with the fewer ones.
    assert peaks[1] < 2.5 * peaks[0]


def test_clusters_of_equal_rows_are_fewer_than_asked():
    rows = np.repeat(angles(0, 90), 20, axis=0).astype(np.float32)
    centroids = clusters.fit_clusters(rows, 8)
    assert len(centroids) == 2
    assert clusters.assign_clusters(rows[[0, 39]], centroids, 1.0)[0].tolist() == [0, 1]


@pytest.mark.slow
def test_kept_keys_shard_again_without_the_duplicates(mmfeat, toy_table, tmp_path):
    rows = toy_table.read_text("utf-8").splitlines()
    for number in range(3):
        picture = toy_table.parent / f"p{number:03}.png"
        (toy_table.parent / f"copy{number}.png").write_bytes(picture.read_bytes())
        rows.append(rows[number + 1].replace(picture.name, f"copy{number}.png"))
    toy_table.write_text("\n".join(rows) + "\n", "utf-8")
    keys = tmp_path / "groups" / "keep.parquet"
    for arguments in (
        ("shard", toy_table, tmp_path / "shards"),
        ("extract", tmp_path / "shards", tmp_path / "features"),
        ("dedup", tmp_path / "features", tmp_path / "groups", "--threshold", "1.0"),
        ("shard", toy_table, tmp_path / "from-table", "--keys", keys),
        ("shard", tmp_path / "shards", tmp_path / "from-tars", "--keys", keys),
    ):
        result = mmfeat(*arguments)
        assert result.returncode == 0, result.stderr
    groups = open_store(tmp_path / "groups")
    assert groups.facts["groups"] == 3
    copies = [row["__key__"] for row in groups.to_arrow().to_pylist() if not row["keep"]]
    assert sorted(copies) == ["copy0", "copy1", "copy2"]  # they came last in the input
    for name in ("from-table", "from-tars"):
        shards = open_store(tmp_path / name)
        assert len(shards) == groups.facts["kept"] == 60
        assert not {*copies} & {record.key for record in shards}
