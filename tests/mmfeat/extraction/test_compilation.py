"""When the forward pass of an encoder is compiled."""

import numpy as np
import pytest

from mmfeat.encoders import CompileError, Encoder, EncoderSpec, Settings
from mmfeat.errors import MmfeatError
from mmfeat.extraction.column_start import claim_column, continue_column
from mmfeat.extraction.loaded_encoders import load_encoder
from mmfeat.extraction.tuning import TunedSettings, autotune
from mmfeat.features import TableFiles


class Clock:
    """A clock that only encoders move."""

    now = 0.0

    def perf_counter(self):
        self.now += 1e-9
        return self.now


CLOCK = Clock()


class Compiled(Encoder):
    """A text encoder of 1,000 records/s. Compiled it is faster, if the compiler works."""

    modality = "text"
    dim = 2
    batch_size = 10
    on_gpu = can_compile = True
    compile_seconds, speedup, blur, error = 20.0, 1.25, 0.0, None
    rows = 0

    def identity(self):
        return {"name": "compiled", "precision": "float32"}

    def decode(self, data):
        return int(data)

    def encode(self, batch):
        size = max(len(batch), self.rows)
        CLOCK.now += 0.001 * size / (self.speedup if self.rows else 1)
        blur = self.blur if self.rows else 0
        return np.array([[number + 1, 1 + blur] for number in batch], np.float32)

    def compiled(self, rows):
        CLOCK.now += self.compile_seconds
        if self.error:
            raise CompileError(self.error)
        encoder = Compiled()
        encoder.rows = rows
        return encoder


class Spec(EncoderSpec):
    def load(self, settings=None):
        return Compiled()


SPEC = Spec("text", "text", "compiled", "compiled")
MEMBERS = [str(number).encode() for number in range(20)]
MANY = 1_000_000


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    for module in ("sample", "batch_size", "compilation"):
        monkeypatch.setattr(f"mmfeat.extraction.tuning.{module}.time", CLOCK)


def tune(flag, records=MANY):
    settings = Settings(compile=flag)
    encoder, tuned = autotune(SPEC, settings, MEMBERS, 10, records)
    assert bool(encoder.rows) == tuned.compile
    return tuned


@pytest.mark.parametrize(
    ("flag", "records", "compiled"),
    [
        ("auto", MANY, True),
        ("auto", 50_000, False),
        ("auto", 95_000, False),
        ("auto", 105_000, True),
        ("on", 10, True),
        ("off", MANY, False),
    ],
)
def test_it_is_compiled_if_that_saves_more_time_than_it_takes(flag, records, compiled):
    assert tune(flag, records).compile == compiled


def test_few_records_do_not_pay_for_a_trial():
    measured = tune("auto", 50_000).measured["compile"]
    assert "compiled" not in measured
    assert measured["eager"] == {"records_per_second": 1000.0, "seconds": 50.0}


def test_what_was_measured_is_recorded():
    measured = tune("auto").measured["compile"]
    assert measured["compiled"] == {
        "records_per_second": 1250.0, "seconds": 800.0, "compile_seconds": 20.0,
        "loss_mean": 0.0, "loss_max": 0.0,
    }  # fmt: skip


def test_each_gpu_compiles_for_its_share_of_the_records(monkeypatch):
    monkeypatch.setattr(Compiled, "devices", ("cuda:0", "cuda:1"))
    assert not tune("auto", 150_000).compile
    assert tune("auto", 210_000).compile


def test_on_a_cpu_it_is_compiled_if_the_user_says_so(monkeypatch):
    monkeypatch.setattr(Compiled, "on_gpu", False)
    assert not tune("auto").compile
    assert tune("on").compile


def test_slow_decoding_leaves_nothing_to_gain(monkeypatch):
    decode = Compiled.decode

    def slow(self, data):
        CLOCK.now += 0.01
        return decode(self, data)

    monkeypatch.setattr(Compiled, "decode", slow)
    assert not tune("auto").compile


@pytest.mark.parametrize("flag", ["auto", "on"])
def test_other_features_are_refused(monkeypatch, capsys, flag):
    monkeypatch.setattr(Compiled, "blur", 5.0)
    tuned = tune(flag)
    assert not tuned.compile
    assert tuned.measured["compile"]["compiled"]["loss_mean"] > 0.02
    assert "the forward pass is not compiled: it changes the features" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["auto", "on"])
def test_a_compiler_that_fails_is_a_note(monkeypatch, capsys, flag):
    monkeypatch.setattr(Compiled, "error", "no compiler here")
    tuned = tune(flag)
    assert not tuned.compile
    assert tuned.measured["compile"]["reason"] == "no compiler here"
    assert "not compiled: no compiler here" in capsys.readouterr().err


def start(folder, tuned):
    table = TableFiles(str(folder), "text", 2)
    encoder = load_encoder(SPEC, Settings(), tuned)
    return table, claim_column(table.receipts, SPEC, encoder, tuned)


def test_a_compiled_column_has_another_fingerprint(tmp_path):
    _, eager = start(tmp_path / "eager", TunedSettings("float32", 10, {}))
    _, compiled = start(tmp_path / "compiled", TunedSettings("float32", 10, {}, compile=True))
    assert eager.fingerprint != compiled.fingerprint
    assert "compiled" not in eager.encoder


def test_a_column_continues_as_it_was_started(tmp_path):
    table, column = start(tmp_path, TunedSettings("float32", 10, {}, compile=True))
    for flag in ("auto", "on"):
        encoder, tuned = continue_column(table, SPEC, Settings(compile=flag), 0)
        assert encoder.rows == 10
        assert claim_column(table.receipts, SPEC, encoder, tuned) == column
    with pytest.raises(MmfeatError, match="started with --compile=on; got '--compile=off'"):
        continue_column(table, SPEC, Settings(compile="off"), 0)


def test_a_machine_that_cannot_compile_refuses_to_continue(tmp_path, monkeypatch):
    table, _ = start(tmp_path, TunedSettings("float32", 10, {}, compile=True))
    monkeypatch.setattr(Compiled, "error", "no compiler here")
    with pytest.raises(MmfeatError, match=r"cannot compile it; got .*no compiler here.*Continue"):
        continue_column(table, SPEC, Settings(compile="auto"), 0)


def test_an_uncompiled_column_stays_so(tmp_path):
    table, _ = start(tmp_path, TunedSettings("float32", 10, {}))
    encoder, _ = continue_column(table, SPEC, Settings(compile="auto"), 0)
    assert not encoder.rows
    with pytest.raises(MmfeatError, match="started with --compile=off; got '--compile=on'"):
        continue_column(table, SPEC, Settings(compile="on"), 0)


def test_the_same_command_continues_after_the_compiler_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(Compiled, "error", "no compiler here")
    table, _ = start(tmp_path, tune("on"))
    monkeypatch.setattr(Compiled, "error", None)
    encoder, _ = continue_column(table, SPEC, Settings(compile="on"), 0)
    assert not encoder.rows
