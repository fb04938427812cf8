from pathlib import Path

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.store.directory import (
    check_output,
    json_digest,
    match_run,
    open_run,
    shard_name,
)


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


def test_a_check_writes_nothing(folder):
    assert check_output(folder, "shards") is None
    config_hash = match_run(folder, "shards", {"n": 1})
    assert not Path(folder).exists()
    assert open_run(folder, "shards", {"n": 1}) == config_hash
    with pytest.raises(MmfeatError, match="n was 1, is 2 now"):
        match_run(folder, "shards", {"n": 2})


@pytest.mark.parametrize("content", ['{"model_type": "bert"}', "[1, 2]"])
def test_the_config_of_another_program_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(MmfeatError, match=r"must be empty .* got 'config\.json'"):
        open_run(str(tmp_path), "model", {})
    assert (tmp_path / "config.json").read_text() == content


def test_details_say_what_a_digest_stands_for(folder):
    def claim(dim):
        config = {"columns": {"text": f"{dim:064}"}}
        open_run(folder, "predictions", config, {"columns": {"text": {"dim": dim}}})

    claim(4096)
    claim(4096)
    with pytest.raises(MmfeatError, match=r"columns\.text\.dim was 4096, is 512 now"):
        claim(512)
