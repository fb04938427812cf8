"""Statistics of features: indices by hand, drift found, no drift not found, files checked."""

import hashlib
import json
import math

import numpy as np
import pytest
import safetensors.numpy

from mmfeat.drift import (
    STATISTICS,
    DriftCounts,
    StatisticsBuilder,
    read_statistics,
    sample_rows,
    save_statistics,
)
from mmfeat.drift.column_statistics import directions, stability_index
from mmfeat.errors import DamagedFileError


def build(vectors, present=None):
    builder = StatisticsBuilder(vectors.shape[-1])
    for part in np.array_split(np.arange(len(vectors)), 3):
        all_present = np.ones(vectors.shape[:-1], bool) if present is None else present
        builder.add(vectors[part], all_present[part])
    return builder.build()


def draw(seed, rows=4000, shift=0.0):
    """Vectors around (1, 1, …), of which half the numbers may be shifted."""
    vectors = 1 + np.random.default_rng(seed).standard_normal((rows, 24))
    vectors[:, :12] -= shift
    return vectors.astype(np.float16)


def compare(statistics, vectors):
    present = np.ones(len(vectors), bool)
    return DriftCounts.of_rows(statistics, vectors, present).compare(statistics)


def test_the_index_is_that_of_the_formula():
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    expected = 2 * 0.3 * math.log(2.5)
    assert stability_index(p * 1e9, q * 1e9) == pytest.approx(expected, rel=1e-6)
    assert stability_index([5, 5], np.array([10, 10])) == 0
    assert 0 < stability_index([5, 5], np.array([10, 0])) < 10


def test_directions_are_the_same_everywhere():
    found = directions(24)
    assert np.allclose(np.linalg.norm(found, axis=0), 1)
    signs = np.packbits(found > 0).tobytes()
    digest = "88f28f6ea520d99d"
    assert hashlib.sha256(signs).hexdigest()[:16] == digest


def test_equal_distributions_do_not_drift_and_shifted_ones_do():
    statistics = build(draw(0))
    same, shifted = compare(statistics, draw(1)), compare(statistics, draw(1, shift=0.7))
    assert same.psi < 0.01
    assert not same.exceeds(0.02)
    assert shifted.psi > 0.1
    assert shifted.exceeds(0.1)
    assert same.cosine == pytest.approx(same.training_cosine, abs=0.01)
    assert shifted.cosine < same.cosine - 0.1


def test_few_rows_never_exceed_a_limit():
    assert not compare(build(draw(0)), draw(1, rows=400, shift=3)).exceeds(0.1)


def test_counts_add_up_over_parts():
    statistics, vectors = build(draw(0)), draw(1)
    present = np.ones(len(vectors), bool)
    present[::7] = False
    whole = DriftCounts.of_rows(statistics, vectors, present)
    total = DriftCounts.empty()
    for part in np.array_split(np.arange(len(vectors)), 5):
        counts = DriftCounts.of_rows(statistics, vectors[part], present[part])
        total.add(DriftCounts.from_document(json.loads(json.dumps(counts.to_document()))))
    assert (total.counts == whole.counts).all()
    assert (total.rows, total.present) == (whole.rows, whole.present)
    report = total.compare(statistics)
    assert report.missing == pytest.approx(1 - whole.present / whole.rows)
    assert report.cosine == pytest.approx(whole.compare(statistics).cosine, abs=1e-6)


def test_tokens_count_as_their_mean():
    vectors = np.zeros((3, 2, 24), np.float16)
    vectors[0, 0], vectors[0, 1], vectors[1, 0] = 1, 3, 5
    present = np.array([[True, True], [True, False], [False, False]])
    statistics = build(vectors, present)
    assert (statistics.rows, statistics.present) == (3, 2)
    assert np.allclose(statistics.mean, (2 + 5) / 2)  # of the rows with means 2 and 5


def test_a_column_without_features_has_no_statistics():
    assert build(draw(0), np.zeros(4000, bool)) is None
    statistics = build(draw(0))
    assert DriftCounts.empty().compare(statistics) is None


@pytest.mark.parametrize(
    ("rows", "count"), [(0, 0), (90, 90), (512, 512), (1000, 512), (4800, 600), (10**5, 1024)]
)
def test_a_sample_is_spread_over_the_rows(rows, count):
    sample = sample_rows(np.arange(rows))
    assert len(sample) == len({*sample.tolist()}) == count
    if count < rows:
        assert np.diff(sample).max() - np.diff(sample).min() <= 1


def test_files_are_read_as_written(tmp_path):
    found = {"a.b": build(draw(0)), "c": build(draw(2, shift=1))}
    info = save_statistics(str(tmp_path), ["a.b", "empty", "c"], found)
    dims = {"a.b": 24, "empty": 24, "c": 24}
    read = read_statistics(str(tmp_path), {"files": {STATISTICS: info}}, dims)
    assert read.keys() == found.keys()
    for name, statistics in found.items():
        assert all(
            np.array_equal(value, vars(read[name])[k]) for k, value in vars(statistics).items()
        )
    assert read_statistics(str(tmp_path), {"files": {}}, dims) == {}


def rewrite(folder, change):
    path = folder / STATISTICS
    tensors = dict(safetensors.numpy.load(path.read_bytes()))
    change(tensors)
    path.write_bytes(safetensors.numpy.save(tensors))
    return {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.update({"0.mean": np.zeros(25, np.float32)}),
        lambda tensors: tensors.update({"0.mean": np.full(24, np.nan, np.float32)}),
        lambda tensors: tensors.update({"0.counts": tensors["0.counts"] - 10**6}),
        lambda tensors: tensors.update({"0.edges": -tensors["0.edges"][:, ::1]}),
        lambda tensors: tensors.pop("0.numbers"),
    ],
)
def test_impossible_statistics_are_refused(tmp_path, change):
    save_statistics(str(tmp_path), ["c"], {"c": build(draw(0))})
    info = rewrite(tmp_path, change)
    with pytest.raises(DamagedFileError, match=STATISTICS):
        read_statistics(str(tmp_path), {"files": {STATISTICS: info}}, {"c": 24})


def test_damaged_and_oversized_files_are_refused(tmp_path):
    info = save_statistics(str(tmp_path), ["c"], {"c": build(draw(0))})
    with pytest.raises(DamagedFileError, match="at most"):
        read_statistics(str(tmp_path), {"files": {STATISTICS: {**info, "bytes": 10**9}}}, {"c": 24})
    (tmp_path / STATISTICS).write_bytes(b"x" * info["bytes"])
    with pytest.raises(DamagedFileError):
        read_statistics(str(tmp_path), {"files": {STATISTICS: info}}, {"c": 24})
