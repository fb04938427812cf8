"""Fixtures: synthetic feature stores (see `stores.py`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.stores import Records, gap_records, write_store, xor_records


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Use one thread: the weights depend on the number of threads."""
    torch.set_num_threads(1)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a store of `Records` and returns its path."""

    def make(name: str = "features", **records: Any) -> str:
        return write_store(str(tmp_path / name), Records(**records))

    return make


@pytest.fixture(scope="session")
def xor_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store whose label needs both modalities (see `xor_records`). Read-only."""
    return write_store(str(tmp_path_factory.mktemp("xor") / "features"), xor_records())


@pytest.fixture(scope="session")
def big_xor_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with 1,600 test rows, so that chance is 50 ± 1.25 %. Read-only."""
    return write_store(str(tmp_path_factory.mktemp("xor") / "features"), xor_records(8000))


@pytest.fixture(scope="session")
def gap_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three shards with missing features, labels and splits (see `gap_records`). Read-only."""
    return write_store(str(tmp_path_factory.mktemp("gaps") / "features"), gap_records(), shards=3)
