"""A store to export."""

import pytest

from tests.mmfeat.exporting.exports import make_records
from tests.training.stores import write_store


@pytest.fixture
def store(tmp_path):
    return write_store(str(tmp_path / "features"), make_records(), shards=3)
