"""Beam metrics of a run equal the totals of its manifest, on each kind of worker."""

import os
import shutil

import apache_beam as beam
import pytest

from mmfeat.extraction import ExtractConfig, Extraction
from mmfeat.scoring import ScoreConfig, Scoring
from mmfeat.sharding import ShardConfig, Sharding
from mmfeat.system import progress
from pipelines.engines import beam_options, check_engine, make_pipeline
from pipelines.transforms import ProcessShards
from tests.engines.install import program_path
from tests.pipelines.test_portable import PORTABLE

PRISM = shutil.which("prism") or str(program_path("prism"))
ENGINES = {
    "local": (),
    "portable": PORTABLE,
    "Prism": ("--runner=Prism", f"--prism_location={PRISM}"),
}


def run(stage, flags=(), *, processes=1):
    """Run a stage on an engine; return its manifest and metrics, ms as (count, sum)."""
    tasks = stage.plan()
    progress.METRICS.take()
    options = beam_options([*flags])
    check_engine(options)
    pipeline = make_pipeline(options)
    shards = ProcessShards(stage, processes=processes, in_runner=processes == 1)
    _ = pipeline | beam.Create(tasks) | shards
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query()
    metrics = {
        each.key.metric.name: each.result
        for each in found["counters"]
        if each.key.metric.namespace == f"mmfeat.{stage.name}"
    }
    for each in found["distributions"]:
        if each.key.metric.namespace == f"mmfeat.{stage.name}":
            metrics[each.key.metric.name] = (each.result.count, each.result.sum)
    return stage.finish([task.shard for task in tasks]), metrics


def expect(totals, prefix=""):
    """The counters that belong to the totals of a manifest. Beam has no counter of zero."""
    counters = {name: totals[name] for name in ("records", "out", "bytes_read", "bytes_written")}
    counters |= {f"rejected.{reason}": number for reason, number in totals["rejected"].items()}
    return {f"{prefix}{name}": number for name, number in counters.items() if number}


@pytest.fixture
def table(make_table):
    """Records of which some have no image, and one has a damaged one."""
    rows = [
        {"file_name": "" if n % 10 == 3 else f"{n}.png", "text": f"text {n}", "label": str(n % 2)}
        for n in range(40)
    ]
    path = make_table(rows)
    (path.parent / "0.png").write_bytes(b"damaged")
    return path


@pytest.mark.parametrize("engine", [*ENGINES])
def test_metrics_equal_the_totals_of_the_manifest(engine, mmfeat, table, tmp_path):
    if engine == "Prism" and not os.path.exists(PRISM):
        pytest.skip("needs the program prism: make engines installs it")
    flags = ENGINES[engine]
    shards, features = str(tmp_path / "shards"), str(tmp_path / "features")
    model, predictions = str(tmp_path / "model"), str(tmp_path / "predictions")
    config = ShardConfig(str(table), shards, samples_per_shard=16, require="image")
    manifest, metrics = run(Sharding(config), flags)
    assert manifest["totals"]["rejected"]
    milliseconds = {name: metrics.pop(name) for name in ("read_ms", "write_ms")}
    assert metrics == {"shards": 3, **expect(manifest["totals"])}
    assert all(1 <= count <= 4 for count, _ in milliseconds.values())  # one more after the last

    manifest, metrics = run(Extraction(ExtractConfig(shards, features)), flags)
    columns = manifest["totals"]["columns"]
    assert all(metrics.pop(name)[0] for name in ("decode_ms", "encode_ms", "write_ms"))
    expected = {"shards": 3}
    for name, totals in columns.items():
        expected |= expect(totals, f"{name}.")
    found = {name: n for name, n in metrics.items() if not name.startswith("samples.")}
    assert found == expected
    assert metrics["samples.records"] == 40

    mmfeat("train", features, model, "--target", "label", "--epochs", "1")
    manifest, metrics = run(Scoring(ScoreConfig(model, features, predictions)), flags)
    assert all(metrics.pop(name)[0] for name in ("read_ms", "predict_ms", "write_ms"))
    assert metrics == {"shards": 3, **expect(manifest["totals"])}


def test_shards_made_by_worker_processes_are_counted(table, tmp_path):
    config = ShardConfig(str(table), str(tmp_path / "out"), samples_per_shard=16)
    manifest, metrics = run(Sharding(config), processes=2)
    assert {name: n for name, n in metrics.items() if not name.endswith("_ms")} == {
        "shards": 3,
        **expect(manifest["totals"]),
    }


def test_a_shard_that_exists_is_not_counted_again(table, tmp_path):
    config = ShardConfig(str(table), str(tmp_path / "out"), samples_per_shard=16)
    run(Sharding(config))
    _, metrics = run(Sharding(config))
    assert metrics == {"shards": 3}


def test_seconds_of_threads_add_up():
    metrics = progress.RunMetrics()
    metrics.add({"decode_seconds": 1.5, "records": 2})
    with metrics.timed("decode"):
        pass
    taken = metrics.take()
    assert 1.5 <= taken["decode_seconds"] < 2
    assert taken["records"] == 2
    assert metrics.take() == {}
