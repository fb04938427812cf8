import json

import pytest

from mmfeat.errors import DamagedFileError
from mmfeat.storage import files
from mmfeat.storage.json_text import has_checksum, is_damaged

VALUE = {"name": "ü\n", "list": [1, {"a": None}], "checksums": 0.5}


@pytest.fixture
def path(tmp_path):
    files.write_json(str(tmp_path / "a.json"), VALUE)
    return tmp_path / "a.json"


def test_a_document_ends_with_a_checksum_that_readers_do_not_see(path):
    assert [*json.loads(path.read_bytes())] == [*VALUE, "checksum"]
    assert files.read_json(str(path)) == VALUE
    assert has_checksum(path.read_bytes())
    assert not is_damaged(path.read_bytes())


def test_no_flipped_bit_gives_other_content(path):
    data = path.read_bytes()
    refused = 0
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            value = files.read_json(str(path))
        except DamagedFileError:
            refused += 1
        else:  # the flipped bit is in the word `checksum` or in the space around it
            assert {name: value[name] for name in VALUE} == VALUE
    assert refused > 8 * len(data) * 0.75


@pytest.mark.parametrize("indent", [None, 4])
def test_documents_without_a_checksum_or_in_another_layout_are_read(path, indent):
    path.write_text(json.dumps(VALUE))
    assert files.read_json(str(path)) == VALUE
    path.write_text(json.dumps(VALUE | {"checksum": "0" * 32}, indent=indent))
    assert files.read_json(str(path)) == VALUE


@pytest.mark.parametrize("value", [[1, 2], 3, "text", {}])
def test_other_values_have_no_checksum(tmp_path, value):
    path = str(tmp_path / "a.json")
    files.write_json(path, value)
    assert files.read_json(path) == value
    assert json.loads((tmp_path / "a.json").read_bytes()) == value
