import sys
import types

import numpy as np
import pytest

from mmfeat.encoders import SCHEMES, Encoder
from mmfeat.extraction import Extraction
from mmfeat.features.store import FeatureStore
from mmfeat.storage.files import read_json, write_json
from tests.faults import assert_one_error


class Lengths(Encoder):
    """Encodes the last word, a number. Some names fail for some numbers; `tokens` gives tokens."""

    modality = "text"
    dim = 2

    def __init__(self, name):
        self.name = name
        self.max_tokens = 8 if name == "tokens" else 0

    def identity(self):
        return {"name": f"test:{self.name}"}

    def decode(self, data):
        return data.decode().split()

    def encode(self, batch):
        if self.max_tokens:
            return [np.array([[len(word), 1] for word in words]) for words in batch]
        numbers = [int(words[-1]) for words in batch]
        if self.name == "raises" and 17 in numbers:
            raise ValueError("not 17")
        features = np.array([[number, 1] for number in numbers], np.float32)
        if self.name == "not_finite":
            for number, bad in ((3, np.nan), (5, np.inf), (7, -np.inf), (9, 1e6)):
                features[np.equal(numbers, number), 0] = bad
        return features


@pytest.fixture
def lengths(monkeypatch):
    """Registers the encoder as the scheme `test:`."""
    module = types.ModuleType("encoders_of_the_test")
    module.load = lambda name, modality, options, settings: Lengths(name)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(SCHEMES, "test", module.__name__)


@pytest.mark.parametrize(
    ("name", "dtype", "reason", "bad"),
    [
        ("not_finite", "float16", "not_finite", {3, 5, 7, 9}),
        ("not_finite", "float32", "not_finite", {3, 5, 7}),
        ("raises", "float16", "encoder_failed", {17}),
    ],
)
def test_a_record_without_a_feature_is_a_row_with_a_reason(
    mmfeat, small_shards, tmp_path, lengths, name, dtype, reason, bad
):
    encoder = f"text=test:{name}?dtype={dtype}"
    result = mmfeat("extract", small_shards, tmp_path / "out", "--encoder", encoder)
    assert result.returncode == 0, result.stderr
    out = FeatureStore(str(tmp_path / "out"))
    for shard, column in out.read(["text"]):
        keys = out.read_samples(shard)["__key__"].to_pylist()
        rows = zip(keys, column["text"].features, column["text"].reasons.to_pylist(), strict=True)
        for key, feature, row_reason in rows:
            number = int(key[1:])
            assert row_reason == (reason if number in bad else None)
            expected = (
                [0, 0]
                if number in bad
                else [1e6 if (name, number) == ("not_finite", 9) else number, 1]
            )
            assert feature.tolist() == expected
    totals = out.manifest["totals"]["columns"]["text"]
    assert (totals["out"], totals["rejected"]) == (60 - len(bad), {reason: len(bad)})
    assert totals["status"] == {"failed": len(bad), "ok": 60 - len(bad)}


def test_one_run_per_column_gives_the_same_bytes_as_one_run(mmfeat, small_shards, tmp_path):
    for column in ("image", "text"):
        flags = ("--encoder", f"{column}=builtin:{column}")
        assert mmfeat("extract", small_shards, tmp_path / "out", *flags).returncode == 0
    assert mmfeat("extract", small_shards, tmp_path / "both").returncode == 0
    files = sorted(path.relative_to(tmp_path / "both") for path in (tmp_path / "both").rglob("*"))
    for name in files:
        if name.suffix in {".arrow", ".parquet"} or name.name in {"manifest.json", "column.json"}:
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "both" / name).read_bytes()


def test_added_columns_of_any_kind_can_be_read(mmfeat, small_shards, tmp_path, lengths):
    assert mmfeat("extract", small_shards, tmp_path / "out").returncode == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    added = (
        "--encoder",
        "words:text=test:tokens",
        "--encoder",
        "exact:text=builtin:text?dtype=float32",
    )
    result = mmfeat("extract", small_shards, tmp_path / "out", *added)
    assert result.returncode == 0, result.stderr
    assert [p for p, t in before.items() if p.stat().st_mtime_ns != t] == [
        tmp_path / "out" / "manifest.json"
    ]
    out = FeatureStore(str(tmp_path / "out"))
    assert {name: (c.dtype, c.max_tokens) for name, c in out.columns.items()} == {
        "exact": ("float32", 0),
        "image": ("float16", 0),
        "text": ("float16", 0),
        "words": ("float16", 8),
    }
    for shard, columns in out.read(list(out.columns)):
        exact, text, words = columns["exact"], columns["text"], columns["words"]
        assert exact.features.dtype == np.float32
        np.testing.assert_array_equal(exact.features.astype(np.float16), text.features)
        assert len(words.offsets) == out.shards[shard] + 1
        assert words.features.shape == (words.offsets[-1], 2)
        assert set(np.diff(words.offsets)) <= {5, 6}
        assert (words.features[:, 1] == 1).all()


def test_shards_made_at_the_same_time_have_the_same_bytes(
    mmfeat, small_shards, tmp_path, monkeypatch
):
    assert mmfeat("extract", small_shards, tmp_path / "one").returncode == 0
    monkeypatch.setattr(Extraction, "parallel_shards", lambda self, loaded: 3)
    result = mmfeat("extract", small_shards, tmp_path / "many")
    assert result.returncode == 0, result.stderr
    one, many = (
        {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.arrow")}
        for folder in (tmp_path / "one", tmp_path / "many")
    )
    assert one == many
    assert len(one) == 12


def test_decoding_on_a_gpu_needs_one(mmfeat, small_shards, tmp_path):
    flags = ("--encoder", "text=builtin:text", "--decode", "gpu")
    result = mmfeat(
        "extract", small_shards, tmp_path / "out", *flags, "--encoder", "image=builtin:image"
    )
    assert "--decode=gpu" in assert_one_error(result)
    assert not (tmp_path / "out").exists()
    assert mmfeat("extract", small_shards, tmp_path / "out", *flags).returncode == 0


def test_a_column_continues_with_the_decoder_of_its_start(mmfeat, small_shards, tmp_path):
    flags = ("--encoder", "image=builtin:image")
    assert mmfeat("extract", small_shards, tmp_path / "out", *flags).returncode == 0
    result = mmfeat("extract", small_shards, tmp_path / "out", *flags, "--decode", "gpu")
    assert "was started with --decode=cpu" in assert_one_error(result)
    path = tmp_path / "out" / "columns" / "image" / "column.json"
    description = read_json(str(path))
    description["settled"]["decode"] = "gpu"
    write_json(str(path), description)
    result = mmfeat("extract", small_shards, tmp_path / "out", *flags)
    assert "JPEGs decoded on a GPU, and this machine cannot" in assert_one_error(result)
