"""Fixtures of made-up feature stores (see `stores.py`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.stores import Records, with_gaps, write_store, xor_records


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """The weights of a run depend on the number of threads."""
    torch.set_num_threads(1)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., str]:
    """Writes a store of the given features, metadata, … (see `Records`); returns its path."""

    def make(name: str = "features", **records: Any) -> str:
        return write_store(str(tmp_path / name), Records(**records))

    return make


@pytest.fixture(scope="session")
def xor_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two modalities that tell nothing alone, everything together. Not to be written to."""
    return write_store(str(tmp_path_factory.mktemp("xor") / "features"), xor_records())


@pytest.fixture(scope="session")
def big_xor_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Enough test rows (1,600) that chance is 50 ± 1.25 %. Not to be written to."""
    return write_store(str(tmp_path_factory.mktemp("xor") / "features"), xor_records(8000))


@pytest.fixture(scope="session")
def gap_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three shards with holes in everything (see `with_gaps`). Not to be written to."""
    return write_store(str(tmp_path_factory.mktemp("gaps") / "features"), with_gaps(), shards=3)
