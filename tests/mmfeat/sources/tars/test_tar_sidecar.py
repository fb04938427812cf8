import pytest

from mmfeat.errors import DamagedFileError
from mmfeat.sources.tars import tar_sidecar


def test_a_manifest_with_fewer_kinds_than_columns_is_refused(monkeypatch):
    manifest = {
        "config_hash": "0",
        "shards": [],
        "columns": {"a": "string", "b": "string"},
        "kinds": {"a": "string"},
    }
    monkeypatch.setattr(tar_sidecar, "_read_own_manifest", lambda folder: manifest)
    with pytest.raises(DamagedFileError, match="a kind for each of its 2 columns; got 1"):
        tar_sidecar.TarStore("store", [])


def test_reasons_and_errors_that_are_no_texts_are_left_out(tmp_path):
    row = {"__key__": "a", "status": "partial", "reason": "image:missing", "error": b"image: x"}
    store = tar_sidecar.TarStore(str(tmp_path), [])
    assert store.parse_row(row) == ({}, {"image": ("missing", "")})
    assert store.parse_row({**row, "reason": 3}) == ({}, {})
