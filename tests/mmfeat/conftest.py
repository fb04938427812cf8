import pytest


@pytest.fixture
def folder(tmp_path):
    """The path of a store that does not exist yet."""
    return str(tmp_path / "store")
