import hashlib

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.store import files


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "store")
    return f"memory://{tmp_path.name}/store"


def test_a_file_appears_whole_with_its_size_and_hash(folder):
    path = files.join(folder, "a.bin")
    with files.create(path) as output:
        output.write(b"one ")
        assert not files.exists(path)
        output.write(memoryview(b"two"))
    assert files.open_input(path).read() == b"one two"
    assert output.describe() == {"bytes": 7, "sha256": hashlib.sha256(b"one two").hexdigest()}
    assert files.size(path) == 7
    assert files.names_in(folder) == ["a.bin"]


def test_a_file_whose_writing_fails_never_appears_and_leaves_nothing(folder):
    path = files.join(folder, "a.bin")
    with pytest.raises(ValueError, match="half"), files.create(path) as output:
        output.write(b"one")
        raise ValueError("half way")
    assert files.names_in(folder) == []


def test_an_older_file_stays_until_the_new_one_is_whole(folder):
    path = files.join(folder, "a.bin")
    files.write_json(path, 1)
    with pytest.raises(ValueError, match="half"), files.create(path):
        raise ValueError("half way")
    assert files.read_json(path) == 1


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / "column").mkdir()
    (tmp_path / "column" / ".00000.arrow.tmp-0123").write_bytes(b"half")
    (tmp_path / "column" / ".keep").write_bytes(b"mine")
    files.remove_temporaries(str(tmp_path))
    assert [path.name for path in (tmp_path / "column").iterdir()] == [".keep"]


def test_what_is_not_there_reads_as_nothing(folder):
    assert files.names_in(folder) == []
    assert files.read_json(files.join(folder, "x.json")) is None
    assert files.size(files.join(folder, "x.json")) is None
    assert not files.exists(folder)


def test_an_unknown_protocol_is_one_clear_error():
    with pytest.raises(MmfeatError, match=r"cannot open nowhere://x"):
        files.exists("nowhere://x")
