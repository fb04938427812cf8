from pathlib import Path

import numpy as np
import pytest

import mmfeat
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.exporting.formats import FORMATS
from tests.mmfeat.exporting.exports import ROWS, export
from tests.training.stores import Records, write_store


def file_bytes(folder):
    return {p.relative_to(folder): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", FORMATS)
def test_a_killed_export_continues_and_ends_with_the_same_bytes(store, tmp_path, monkeypatch, name):
    export(store, tmp_path / "whole", format=name)
    write, calls = FORMATS[name].write, []

    def die(self, attempt, rows):
        calls.append(rows.shard)
        if len(calls) == 2:
            with attempt.create("image/half.npy") as output:
                output.write(b"half")
                raise KeyboardInterrupt
        return write(self, attempt, rows)

    with monkeypatch.context() as patch:
        patch.setattr(FORMATS[name], "write", die)
        with pytest.raises(KeyboardInterrupt):
            export(store, tmp_path / "out", format=name)
    assert not (tmp_path / "out" / "manifest.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(
            FORMATS[name],
            "write",
            lambda self, a, rows: calls.append(rows.shard) or write(self, a, rows),
        )
        export(store, tmp_path / "out", format=name)
    assert calls == ["00000", "00001", "00001", "00002"]
    whole, again = file_bytes(tmp_path / "whole"), file_bytes(tmp_path / "out")
    assert whole.keys() == again.keys()
    for path, content in whole.items():
        if not path.name.endswith(".json"):  # receipts have durations
            assert again[path] == content, path


def test_a_finished_export_is_kept_and_another_one_is_refused(store, tmp_path, capsys):
    export(store, tmp_path / "out")
    before = file_bytes(tmp_path / "out")
    export(store, tmp_path / "out")
    assert "nothing to do" in capsys.readouterr().out
    assert file_bytes(tmp_path / "out") == before
    with pytest.raises(MmfeatError, match=r"another configuration.*format.*another output"):
        export(store, tmp_path / "out", format="npy")


def test_a_damaged_shard_is_refused_and_the_export_is_not_finished(store, tmp_path):
    path = Path(store, "image", "00001.arrow")
    content = bytearray(path.read_bytes())
    content[-900] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="bytes of its receipt"):
        export(store, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": "imgae"}, "Did you mean 'image'"),
        ({"columns": ("labl",)}, "Did you mean 'label'"),
    ],
)
def test_a_mistyped_column_is_named(store, tmp_path, options, message):
    with pytest.raises(MmfeatError, match=message):
        export(store, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_another_kind_of_store_is_refused(store, tmp_path):
    export(store, tmp_path / "out")
    with pytest.raises(MmfeatError, match=r"features or predictions.*'export'"):
        export(tmp_path / "out", tmp_path / "again")


def test_python_returns_the_export(store, tmp_path):
    made = mmfeat.export(store, tmp_path / "out", format="npy", modalities=["text"])
    assert {*made.files} == {
        f"{folder}/0000{shard}.{extension}"
        for shard in range(3)
        for folder, extension in (("text", "npy"), ("metadata", "parquet"))
    }
    assert made.facts == {"format": "npy", "records": ROWS, "exported": ROWS}
    assert isinstance(mmfeat.open(tmp_path / "out"), type(made))


def test_memory_holds_one_shard(tmp_path):
    """The peak with eight times as many shards is that with two."""
    import tracemalloc

    peaks = []
    for shards in (2, 16):
        rows = 2000 * shards
        features = np.ones((rows, 64), np.float16)
        store = write_store(str(tmp_path / f"{shards}"), Records({"image": features}, {}), shards)
        tracemalloc.start()
        export(store, tmp_path / f"out-{shards}", dtype="float16")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
