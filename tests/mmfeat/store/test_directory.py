import subprocess
import sys

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.store.directory import json_digest, lock_directory, open_run, shard_name


def test_shard_names_have_five_digits_or_follow_the_pattern():
    assert shard_name(7) == "00007"
    assert shard_name(7, "cats-%03d") == "cats-007"


def test_json_digest_does_not_depend_on_the_order_of_keys():
    assert json_digest({"a": 1, "b": [2]}) == json_digest({"b": [2], "a": 1})
    assert json_digest({"a": 1}) != json_digest({"a": 2})


def test_a_directory_belongs_to_one_configuration(folder):
    config_hash = open_run(folder, "shards", {"n": 1, "source": {"sha256": "a"}})
    assert open_run(folder, "shards", {"source": {"sha256": "a"}, "n": 1}) == config_hash
    with pytest.raises(MmfeatError, match=r"source\.sha256 was 'a', is 'b' now") as caught:
        open_run(folder, "shards", {"n": 1, "source": {"sha256": "b"}})
    assert config_hash[:12] in str(caught.value)
    with pytest.raises(MmfeatError, match="kind was shards, is features now"):
        open_run(folder, "features", {"n": 1})


def test_an_error_lists_five_differences_and_counts_the_rest(folder):
    def config(value):
        columns = [{"name": "image", "dim": value}]
        return {"columns": columns, **{f"k{i}": value for i in range(6)}}

    open_run(folder, "model", config(1))
    expected = r"columns\.image\.dim was 1, is 2 now; .*; and 2 more"
    with pytest.raises(MmfeatError, match=expected):
        open_run(folder, "model", config(2))


def test_a_directory_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.docx").write_bytes(b"")
    with pytest.raises(MmfeatError, match=r"must be empty .* got 'thesis\.docx'"):
        open_run(str(tmp_path), "shards", {})


def test_a_locked_directory_refuses_another_process(folder):
    program = f"""
from mmfeat.store.directory import lock_directory
with lock_directory({folder!r}):
    pass
"""
    command = [sys.executable, "-c", program]
    with lock_directory(folder):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "only one run at a time" in refused.stderr
    subprocess.run(command, check=True)


def test_the_lock_removes_a_directory_that_stays_empty(tmp_path):
    with lock_directory(str(tmp_path / "new")):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()
    with lock_directory(str(tmp_path)):
        pass
    assert tmp_path.is_dir()
