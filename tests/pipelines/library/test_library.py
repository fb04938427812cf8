"""The transforms inside a pipeline of somebody else, on two engines."""

import json
import pickle
import shutil

import apache_beam as beam
import numpy as np
import pyarrow.dataset as ds
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

import pipelines
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import FeatureStore
from pipelines import EncodedSample, EncodeSamples, ReadShards, ScoreFeatures, StoredSample
from tests.pipelines.test_portable import PORTABLE

ENCODERS = ["image=builtin:image", "text=builtin:text"]
ENGINES = {"local": ["--runner=FnApiRunner"], "portable": [*PORTABLE]}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Shards, features, a model and predictions of records of which some lack an image."""
    from mmfeat.cli.main import main
    from tests.conftest import picture_bytes

    folder = tmp_path_factory.mktemp("stores")
    lines = ["file_name,text,label,split"]
    for number in range(60):
        name = "" if number % 10 == 7 else f"{number}.png"
        text = "" if number == 17 else f"{'cat' if number % 2 else 'dog'} number {number}"
        split = ("train", "train", "train", "val", "test")[number % 5]
        lines.append(f"{name},{text},{'cat' if number % 2 else 'dog'},{split}")
        (folder / f"{number}.png").write_bytes(picture_bytes((number * 3, 90, 20)))
    (folder / "0.png").write_bytes(b"damaged")
    (folder / "table.csv").write_text("\n".join(lines))
    for command in (
        ("shard", "table.csv", "shards", "--samples-per-shard=25"),
        ("extract", "shards", "features", "--precision=float32"),
        ("train", "features", "model", "--target=label", "--fusion=gmu", "--epochs=2"),
        ("score", "model", "features", "predictions"),
    ):
        name, *arguments = command
        paths = [word if word.startswith("--") else str(folder / word) for word in arguments]
        assert main([name, *paths]) == 0
    return folder


def collect(folder, transform, engine):
    """Run somebody's pipeline on an engine; return what it has written, sorted by key."""
    out = folder / "out"
    with beam.Pipeline(options=PipelineOptions(ENGINES[engine])) as pipeline:
        _ = (
            pipeline
            | transform
            | beam.Map(lambda element: pickle.dumps(element).hex())
            | beam.io.WriteToText(str(out))
        )
    lines = [line for path in folder.glob("out-*") for line in path.read_text().splitlines()]
    elements = [pickle.loads(bytes.fromhex(line)) for line in lines]
    return sorted(elements, key=lambda e: e["__key__"] if isinstance(e, dict) else e.key)


@pytest.mark.parametrize("engine", [*ENGINES])
def test_features_are_those_of_the_store(stores, tmp_path, engine):
    transform = ReadShards(str(stores / "shards")) | EncodeSamples(ENCODERS)
    samples = collect(tmp_path, transform, engine)
    assert len(samples) == 60
    store = FeatureStore(str(stores / "features"))
    expected = {}
    for shard in store.shards:
        keys = store.read_samples(shard, ["__key__"])["__key__"].to_pylist()
        columns = {name: store.read_column(name, shard) for name in store.columns}
        for row, key in enumerate(keys):
            expected[key] = {name: (column, row) for name, column in columns.items()}
    for sample in samples:
        for name, (column, row) in expected[sample.key].items():
            assert sample.fingerprints[name] == store.columns[name].fingerprint
            if column.present[row]:
                feature = column.features[row]
                assert sample.features[name].dtype == feature.dtype
                np.testing.assert_array_equal(sample.features[name], feature)
            else:
                assert sample.reasons[name] == column.reasons[row].as_py()


@pytest.mark.parametrize("engine", [*ENGINES])
def test_predictions_are_those_of_the_store(stores, tmp_path, engine):
    rows = collect(
        tmp_path,
        ReadShards(str(stores / "shards"))
        | EncodeSamples(ENCODERS)
        | ScoreFeatures(str(stores / "model")),
        engine,
    )
    expected = ds.dataset(stores / "predictions" / "data").to_table().to_pylist()
    expected = sorted(expected, key=lambda row: row["__key__"])
    assert json.dumps(rows, sort_keys=True) == json.dumps(expected, sort_keys=True)


def test_samples_may_come_from_anywhere(picture):
    samples = [
        StoredSample("a", {"image": picture(), "text": b"a cat"}),
        StoredSample("b", {"text": b"a dog"}),
        StoredSample("c", {"image": b"no picture"}, {"text": "too_large"}),
    ]
    with beam.Pipeline(options=PipelineOptions(ENGINES["local"])) as pipeline:
        encoded = pipeline | beam.Create(samples) | EncodeSamples(ENCODERS)
        found = encoded | beam.Map(lambda s: (s.key, sorted(s.features), dict(s.reasons)))
        assert_that(
            found,
            equal_to(
                [
                    ("a", ["image", "text"], {}),
                    ("b", ["text"], {"image": "missing"}),
                    ("c", [], {"image": "undecodable", "text": "too_large"}),
                ]
            ),
        )


def run_local(transform):
    with beam.Pipeline(options=PipelineOptions(ENGINES["local"])) as pipeline:
        _ = pipeline | transform


def test_features_of_another_encoder_are_refused(stores):
    features = {"image": np.zeros(4, np.float16)}
    sample = EncodedSample("a", features, fingerprints={"image": "0" * 64})
    with pytest.raises(Exception, match="must have the fingerprint the model was trained on"):
        run_local(beam.Create([sample]) | ScoreFeatures(str(stores / "model")))


def test_features_of_another_shape_are_refused(stores):
    sample = EncodedSample("a", {"image": np.zeros(4, np.float16)})
    with pytest.raises(Exception, match=r"a feature of image must have the shape \(\d+,\)"):
        run_local(beam.Create([sample]) | ScoreFeatures(str(stores / "model")))


def test_a_damaged_shard_fails_the_pipeline(stores, tmp_path):
    shutil.copytree(stores / "shards", tmp_path / "shards")
    (tmp_path / "shards" / "00001.tar").write_bytes(b"damaged")
    with pytest.raises(DamagedFileError, match=r"shard 00001 of .* is missing or damaged"):
        run_local(ReadShards(str(tmp_path / "shards")))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EncodeSamples("image=builtin:image"), "needs a list of encoders"),
        (lambda: EncodeSamples(["image=nothing:x"]), "must name a known scheme"),
        (lambda: EncodeSamples(ENCODERS, precision="auto"), "does not measure which precision"),
        (lambda: ReadShards(""), "needs the directory of the shards"),
        (lambda: ScoreFeatures(""), "needs the directory of a model"),
    ],
)
def test_wrong_options_are_refused_when_the_pipeline_is_built(make, message):
    with pytest.raises(MmfeatError, match=message):
        make()


def test_other_names_are_no_transforms():
    with pytest.raises(AttributeError, match="no attribute 'ReadShard'"):
        _ = pipelines.ReadShard
    assert all(getattr(pipelines, name) for name in pipelines.__all__)


def test_an_edge_of_the_graph_carries_no_list_of_shards(stores):
    """The names of shards are elements, so that a job of a million shards stays small."""
    pipeline = beam.Pipeline(options=PipelineOptions(ENGINES["local"]))
    _ = pipeline | ReadShards(str(stores / "shards"))
    transforms = pipeline.to_runner_api().components.transforms.values()
    assert not any(b"00001" in each.spec.payload for each in transforms)
