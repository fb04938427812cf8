"""What autotuning measured is remembered, and used only where it can be."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmfeat.encoders import Encoder, EncoderSpec, Settings
from mmfeat.extraction.tuning import TunedSettings, TuningCache, autotune
from mmfeat.extraction.tuning import cache as cache_module
from mmfeat.extraction.tuning.cache import tuning_key


class Counting(Encoder):
    """Counts the batches that it encodes."""

    modality = "text"
    dim = 3
    batch_size = 16
    hardware = "1 toy"
    batches = 0
    weights = "a"

    def __init__(self, precision):
        self.precision = precision

    def identity(self):
        return {"name": "counting", "weights": self.weights, "precision": self.precision}

    def decode(self, data):
        return data.decode()

    def encode(self, batch):
        Counting.batches += 1
        return np.array([[len(text), 1, -1] for text in batch], np.float32)


class Spec(EncoderSpec):
    def load(self, settings=None):
        return Counting(settings.precision)


SPEC = Spec("text", "text", "counting", "counting")
MEMBERS = [b"a", b"bb", b"cccc"]
AUTO = Settings(precision="auto")


def tune(cache, settings=AUTO, records=1000, batch_size=0):
    """Return the settings, and how many batches were encoded to find them."""
    before = Counting.batches
    encoder, tuned = autotune(SPEC, settings, MEMBERS, batch_size, records, cache)
    assert encoder.precision == tuned.precision
    return tuned, Counting.batches - before


@pytest.fixture
def cache(tmp_path):
    return TuningCache(str(tmp_path / "tuning"))


def test_a_second_store_measures_nothing(cache):
    first, batches = tune(cache)
    again, none = tune(cache)
    assert batches > 0
    assert none == 0
    assert again.measured == first.measured | {"remembered": True}
    assert replace(again, measured=first.measured) == first


@pytest.mark.parametrize(
    "change",
    [
        {"settings": Settings(precision="float32")},
        {"settings": replace(AUTO, threads=7)},
        {"settings": replace(AUTO, compile="on")},
        {"records": 1_000_000},
        {"batch_size": 4},
    ],
)
def test_another_request_is_measured(cache, change):
    tune(cache)
    assert tune(cache, **change)[1] > 0


@pytest.mark.parametrize(("name", "value"), [("hardware", "2 toys"), ("weights", "b")])
def test_another_encoder_or_machine_is_measured(cache, monkeypatch, name, value):
    tune(cache)
    monkeypatch.setattr(Counting, name, value)
    assert tune(cache)[1] > 0


def test_an_encoder_on_unknown_hardware_is_not_remembered(cache, monkeypatch):
    monkeypatch.setattr(Counting, "hardware", "")
    tune(cache)
    assert tune(cache)[1] > 0
    assert not Path(cache.folder).exists()


def test_measuring_again_replaces_what_is_remembered(cache):
    tune(cache)
    (path,) = Path(cache.folder).iterdir()
    written = path.stat().st_mtime_ns
    assert tune(replace(cache, reads=False))[1] > 0
    assert path.stat().st_mtime_ns > written
    assert tune(cache)[1] == 0


def damage(text):
    document = json.loads(text)
    return [
        b"",
        b"not JSON",
        text[: len(text) // 2],
        text.replace(b'"batch_size": ', b'"batch_size": 9'),
        json.dumps({"tuned": document["tuned"] | {"precision": "int4"}}).encode(),
        json.dumps({"tuned": document["tuned"] | {"batch_size": -1}}).encode(),
        json.dumps({"tuned": document["tuned"] | {"measured": {"x": float("nan")}}}).encode(),
        json.dumps({"tuned": document["tuned"] | {"measured": {"\ud800": 1}}}).encode(),
        json.dumps({"tuned": [1]}).encode(),
        b"[]",
        b"{" + b" " * (1 << 17) + text[1:],
    ]


def test_damaged_files_are_measured_again(cache):
    tune(cache)
    (path,) = Path(cache.folder).iterdir()
    for text in damage(path.read_bytes()):
        path.write_bytes(text)
        assert tune(cache)[1] > 0, text[:80]
        assert tune(cache)[1] == 0


def test_a_pipe_or_a_link_to_itself_is_replaced(cache):
    tune(cache)
    (path,) = Path(cache.folder).iterdir()
    for make in (os.mkfifo, lambda path: path.symlink_to(path)):
        path.unlink()
        make(path)
        assert tune(cache)[1] > 0
        assert tune(cache)[1] == 0


def test_settings_that_this_machine_cannot_use_are_measured_again(cache):
    key = tuning_key(Counting("float32"), AUTO, 0, 1000)
    for wrong in ({"decode": "gpu"}, {"compile": True}):
        cache.keep(key, TunedSettings("bfloat16", 8, {"x": 1}, **wrong))
        tuned, batches = tune(cache)
        assert batches > 0
        assert (tuned.decode, tuned.compile) == ("cpu", False)


def test_a_failed_compiler_is_not_remembered(cache, monkeypatch):
    monkeypatch.setattr(Counting, "can_compile", True)  # but `compiled` refuses
    assert "reason" in tune(cache, replace(AUTO, compile="on"))[0].measured["compile"]
    assert tune(cache, replace(AUTO, compile="on"))[1] > 0


def test_the_memory_of_a_gpu_is_not_remembered(cache):
    cache.keep("k", TunedSettings("float32", 64, {}, memory_limit=16))
    assert cache.find("k").memory_limit is None


def test_the_oldest_files_are_removed(cache, monkeypatch):
    monkeypatch.setattr(cache_module, "_MAX_FILES", 5)
    for number in range(9):
        cache.keep(f"key{number}", TunedSettings("float32", 8, {}))
        os.utime(Path(cache.folder, f"key{number}.json"), (number, number))
    left = sorted(path.stem for path in Path(cache.folder).iterdir())
    assert left == [f"key{number}" for number in range(4, 9)]


def test_many_processes_may_write_at_the_same_time(cache):
    tuned = TunedSettings("float32", 8, {})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: cache.keep(f"k{number % 3}", tuned), range(60)))
    assert sorted(path.name for path in Path(cache.folder).iterdir()) == [
        "k0.json", "k1.json", "k2.json",
    ]  # fmt: skip
    assert cache.find("k1").batch_size == 8


def test_a_folder_that_cannot_be_written_does_not_matter(tmp_path):
    (tmp_path / "file").write_text("")
    cache = TuningCache(str(tmp_path / "file" / "tuning"))
    assert tune(cache)[1] > 0
    assert tune(cache)[1] > 0


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"MMFEAT_CACHE": "/a"}, "/a/tuning"),
        ({"MMFEAT_CACHE": ""}, ""),
        ({"XDG_CACHE_HOME": "/b"}, "/b/mmfeat/tuning"),
        ({"HOME": "/c"}, "/c/.cache/mmfeat/tuning"),
        ({"MMFEAT_CACHE": "relative"}, ""),
    ],
)
def test_the_folder_is_that_of_the_user(monkeypatch, variables, expected):
    for name in ("MMFEAT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert TuningCache.of_user().folder == expected
